//! The answer to commit and release.

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{count, replayed};
use crate::http::wire::plain_json::{self, answer};
use crate::http::wire::problem::ApiError;
use crate::http::wire::views::{CounterView, OverflowView, ThresholdView};
use crate::service::metering::settle::Settlement;

/// The state of a reservation after the call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettlementView {
    reservation_id: String,
    /// `held`, `committed` or `released`
    status: String,
    /// The amount was charged after the reservation had expired.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    /// The same call was made before; nothing changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// The counters of the reservation, in the windows in which it was held.
    counters: Vec<CounterView>,
    /// Alerts that this call triggered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<ThresholdView>,
    /// What was charged to balances, because it did not fit into a group's quota; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overflow: Vec<OverflowView>,
}

impl SettlementView {
    pub(in crate::http) fn new(settlement: &Settlement) -> Self {
        Self {
            reservation_id: settlement.id.to_string(),
            status: settlement.status.clone(),
            late: settlement.late,
            replayed: settlement.replayed,
            counters: CounterView::all(&settlement.counters),
            thresholds: ThresholdView::all(&settlement.crossed),
            overflow: OverflowView::all(&settlement.overflow),
        }
    }
}

pub(super) fn count_settlement(name: &'static str, settlement: &Settlement) {
    count(
        name,
        if settlement.replayed {
            "replayed"
        } else if settlement.late {
            "late"
        } else {
            "settled"
        },
    );
}

pub(super) fn settled(settlement: &Settlement) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    replayed(&mut response, settlement.replayed);
    answer(response, plain_json::settlement(settlement), || SettlementView::new(settlement))
}
