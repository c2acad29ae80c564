//! `POST can-use`.

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{ReserveBody, call, call_faults, count_decision};
use crate::domain::metering::reason::Reason;
use crate::domain::values::ids::GroupId;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Body;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::rate_limit;
use crate::http::wire::views::{AmountView, CounterView, FittedView, ObservedView, OverflowView, TimeView};
use crate::service::metering::decision::Decision;

/// The state of one matched group.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanUseDetail {
    #[schema(value_type = String)]
    group_id: GroupId,
    /// `used + held`
    #[schema(value_type = f64)]
    current: AmountView,
    #[schema(value_type = Option<f64>)]
    quota: Option<AmountView>,
    #[schema(value_type = Option<String>)]
    resets_at: Option<TimeView>,
}

/// The answer that a reserve would get now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanUseView {
    allowed: bool,
    matched: bool,
    #[schema(value_type = Vec<String>)]
    matched_group_ids: Vec<GroupId>,
    /// For an allowed call with `fit`: the field and the value that would be held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    fitted: Option<FittedView>,
    reasons: Vec<Reason>,
    details: Vec<CanUseDetail>,
    /// Groups with the enforcement `observe` that would have denied the call; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observed: Vec<ObservedView>,
    /// What balances would take over, because it does not fit into a group's quota; absent if nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overflow: Vec<OverflowView>,
}

impl CanUseView {
    pub(in crate::http) fn new(decision: &Decision) -> Self {
        let details = CounterView::all(&decision.counters).into_iter().map(|counter| CanUseDetail {
            group_id: counter.group_id,
            current: counter.count,
            quota: counter.quota,
            resets_at: counter.resets_at,
        });
        Self {
            allowed: decision.allowed,
            matched: decision.matched,
            matched_group_ids: decision.matched_groups.clone(),
            fitted: FittedView::of(decision.fitted.as_ref()),
            reasons: decision.reasons.clone(),
            details: details.collect(),
            observed: ObservedView::all(&decision.observed),
            overflow: OverflowView::all(&decision.overflow),
        }
    }
}

/// Check whether a call would be allowed, without holding anything
#[utoipa::path(post, path = "/api/v1/can-use", tag = "Metering", request_body = ReserveBody,
    responses((status = 200, body = CanUseView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn can_use(principal: Principal, body: Body<ReserveBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let body = body.read_checked(|body| call_faults(&principal, body)).await?.value;
    let decision = decide_can_use(&principal, body).await?;
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, &decision);
    Ok(response.json(CanUseView::new(&decision)))
}

/// The decision that a reserve with this body would get.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_can_use(principal: &Principal, body: ReserveBody) -> Result<Decision, ApiError> {
    let (call, _) = call(principal, body)?;
    let decision = principal.gateway.can_use(&principal.tenant, &call).await?;
    count_decision("can-use", &decision);
    Ok(decision)
}
