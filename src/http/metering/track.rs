//! `POST track`.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{count, count_decision, item, replayed};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{EventName, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::rate_limit;
use crate::http::wire::views::{CounterView, ObservedView, OverflowView, ThresholdView};
use crate::service::error::ServiceError;
use crate::service::metering::call::{Call, CallItem};
use crate::service::metering::track::{MatchStatus, Tracked};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrackBody {
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// A name that ends in `.refund` refunds an earlier charge.
    #[schema(value_type = String)]
    event: EventName,
    #[serde(default = "super::call::one")]
    #[schema(value_type = NumberOrText, default = 1)]
    quantity: Number,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// Count only if the limit allows it; otherwise the call fails with 429.
    #[serde(default)]
    enforce: bool,
}

/// What was counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackedView {
    event_id: String,
    match_status: MatchStatus,
    matched_group_ids: Vec<String>,
    counters: Vec<CounterView>,
    /// Alerts that this call triggered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<ThresholdView>,
    /// With `enforce`: groups with the enforcement `observe` that would have denied the call; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<ObservedView>,
    /// What balances took over, because it did not fit into a group's quota; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overflow: Vec<OverflowView>,
}

impl TrackedView {
    pub(in crate::http) fn new(tracked: &Tracked) -> Self {
        Self {
            event_id: tracked.event_id.clone(),
            match_status: tracked.match_status,
            matched_group_ids: tracked.matched_groups.iter().map(ToString::to_string).collect(),
            counters: CounterView::all(&tracked.counters),
            thresholds: ThresholdView::all(&tracked.crossed),
            observed: ObservedView::all(&tracked.observed),
            overflow: OverflowView::all(&tracked.overflow),
        }
    }
}

/// Count usage that has already happened
#[utoipa::path(post, path = "/api/v1/track", tag = "Metering", request_body = TrackBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = TrackedView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn track(principal: Principal, body: Body<TrackBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let ParsedBody { value, idempotency } = body.read_checked(|body| track_faults(&principal, body)).await?;
    let tracked = count_event(&principal, value, idempotency.as_ref()).await?;
    let mut response = HttpResponse::Ok();
    rate_limit::insert_counters(&mut response, &tracked.counters, tracked.now_ms);
    replayed(&mut response, tracked.replayed);
    Ok(response.json(TrackedView::new(&tracked)))
}

/// The event with the key's metadata.
fn checked(
    principal: &Principal,
    event: EventName,
    quantity: Number,
    metadata: Metadata,
) -> Result<CallItem, Vec<FieldError>> {
    let mut faults = Faults::default();
    if quantity.0.is_zero() {
        faults.add("quantity", "must be greater than 0");
    }
    let item = faults.take(item(principal, event, quantity, metadata));
    faults.or(item)
}

/// The faults of a body.
pub(super) fn track_faults(principal: &Principal, body: &TrackBody) -> Vec<FieldError> {
    checked(principal, body.event.clone(), body.quantity, body.metadata.clone()).err().unwrap_or_default()
}

/// Counts as the body says.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn count_event(
    principal: &Principal,
    body: TrackBody,
    idempotency: Option<&Idempotency>,
) -> Result<Tracked, ApiError> {
    let item = checked(principal, body.event, body.quantity, body.metadata)?;
    let (items, key) = (vec![item], principal.key.id.clone());
    let call = Call { user: body.user_id, items, key, fit: None, allowed_with: Vec::new() };
    let tracked = match principal.gateway.track(&principal.tenant, &call, body.enforce, idempotency).await {
        Ok(tracked) => tracked,
        Err(ServiceError::Denied(decision)) => {
            count_decision("track", &decision);
            return Err(ApiError::Denied { decision });
        }
        Err(error) => return Err(error.into()),
    };
    count(
        "track",
        match tracked.match_status {
            MatchStatus::Matched => "matched",
            MatchStatus::Unmatched => "unmatched",
            MatchStatus::NoSubscription => "no_subscription",
            MatchStatus::OverLimit => "over_limit",
        },
    );
    Ok(tracked)
}
