//! `POST commit`, `release`, `track`: calls after the work is done.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reserve::{claimed, count, count_decision, item, replayed};
use crate::domain::metering::reservation::Actual;
use crate::domain::reporting::ledger::Outcome;
use crate::domain::values::ids::{EventName, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, Given};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{CounterView, ThresholdView, answer};
use crate::http::wire::{plain_json, rate_limit};
use crate::service::error::ServiceError;
use crate::service::metering::reserve::Call;
use crate::service::metering::settle::{Commit, Release, Settlement};
use crate::service::metering::track::{MatchStatus, Tracked};
use crate::store::metering::operation::Idempotency;

const fn yes() -> bool {
    true
}

/// Checks a text that is stored with a call.
fn note(field: &str, text: Option<&str>) -> Result<(), ApiError> {
    match text {
        Some(text) if text.len() > 256 || text.chars().any(char::is_control) => {
            Err(ApiError::invalid(field, "must have at most 256 bytes without control characters"))
        }
        _ => Ok(()),
    }
}

/// How to treat a commit after the reservation has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IfExpired {
    /// Within 15 minutes after expiry it is charged and flagged as late, since the amount was spent.
    #[default]
    Charge,
    /// The commit fails with 410.
    Reject,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitBody {
    pub(in crate::http) reservation_id: String,
    /// The actual quantity; 0 is allowed.
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
    /// Actual figures, merged over the metadata of the reserve.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// With false, this amount is charged and the rest stays held.
    #[serde(default = "yes", rename = "final")]
    is_final: bool,
    #[serde(default)]
    if_expired: IfExpired,
    /// How useful the result was; can also be sent later with `POST reservations/{id}/outcome`.
    outcome: Option<Outcome>,
    /// Figures of a reservation with several items, in the same order; cannot be combined with `quantity` or
    /// `metadata`.
    items: Option<Vec<ActualBody>>,
}

/// Actual figures of one item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActualBody {
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
}

/// The figures of a commit: none, one set for the reservation, or one set per item. The key's metadata overrides the
/// caller's; without figures from the caller there are none.
fn figures(
    principal: &Principal,
    quantity: Option<Number>,
    metadata: Metadata,
    items: Option<Vec<ActualBody>>,
) -> Result<Vec<Actual>, ApiError> {
    let actual = |quantity: Option<Number>, metadata: Metadata| {
        let metadata = if metadata.is_empty() { metadata } else { claimed(principal, metadata)? };
        Ok(Actual { quantity, metadata })
    };
    match items {
        None if quantity.is_none() && metadata.is_empty() => Ok(Vec::new()),
        None => Ok(vec![actual(quantity, metadata)?]),
        Some(items) if quantity.is_none() && metadata.is_empty() => {
            items.into_iter().map(|item| actual(item.quantity, item.metadata)).collect()
        }
        Some(_) => Err(ApiError::invalid("items", "cannot be combined with `quantity` or `metadata`")),
    }
}

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
}

impl SettlementView {
    pub(in crate::http) fn new(settlement: &Settlement) -> Self {
        Self {
            reservation_id: settlement.id.to_text(),
            status: settlement.status.clone(),
            late: settlement.late,
            replayed: settlement.replayed,
            counters: CounterView::all(&settlement.counters),
            thresholds: ThresholdView::all(&settlement.passed),
        }
    }
}

fn count_settlement(name: &'static str, settlement: &Settlement) {
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

fn settled(settlement: &Settlement) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    replayed(&mut response, settlement.replayed);
    answer(response, plain_json::settlement(settlement), || SettlementView::new(settlement))
}

/// Charge what was spent, and return the rest of the hold
#[utoipa::path(post, path = "/api/v1/commit", tag = "Metering", request_body = CommitBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn commit(principal: Principal, body: Body<CommitBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value, idempotency } = body.read().await?;
    settled(&settle_commit(&principal, value, idempotency.as_ref()).await?)
}

/// Commits as the body says.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn settle_commit(
    principal: &Principal,
    body: CommitBody,
    idempotency: Option<&Idempotency>,
) -> Result<Settlement, ApiError> {
    let commit = Commit {
        actual: figures(principal, body.quantity, body.metadata, body.items)?,
        is_final: body.is_final,
        reject_late: body.if_expired == IfExpired::Reject,
        outcome: body.outcome,
    };
    let settlement = principal.gateway.commit(&principal.tenant, &body.reservation_id, &commit, idempotency).await?;
    count_settlement("commit", &settlement);
    Ok(settlement)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    pub(in crate::http) reservation_id: String,
    reason: Option<String>,
    error_code: Option<String>,
}

/// Return everything that is still held
#[utoipa::path(post, path = "/api/v1/release", tag = "Metering", request_body = ReleaseBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn release(principal: Principal, body: Body<ReleaseBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value, idempotency } = body.read().await?;
    settled(&settle_release(&principal, value, idempotency.as_ref()).await?)
}

/// Releases the reservation that the body names.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn settle_release(
    principal: &Principal,
    body: ReleaseBody,
    idempotency: Option<&Idempotency>,
) -> Result<Settlement, ApiError> {
    note("reason", body.reason.as_deref())?;
    note("errorCode", body.error_code.as_deref())?;
    let release = Release { reason: body.reason, error_code: body.error_code };
    let settlement = principal.gateway.release(&principal.tenant, &body.reservation_id, release, idempotency).await?;
    count_settlement("release", &settlement);
    Ok(settlement)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseByHandBody {
    /// The reason; recorded in the ledger and in the audit log. At most 256 bytes.
    reason: Option<String>,
}

/// Release a reservation as an operator
///
/// For example when a worker hangs and its hold blocks other calls. If the application is still working, its commit
/// then fails with 409 `reservation_not_pending`.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/release", tag = "Users", request_body = ReleaseByHandBody,
    operation_id = "release_reservation", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn release_by_hand(
    principal: Principal,
    id: web::Path<String>,
    body: Body<ReleaseByHandBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let Given { value, idempotency } = body.read().await?;
    note("reason", value.reason.as_deref())?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let released = gateway.release_by_hand(&principal.tenant, &id, value.reason, by, idempotency.as_ref()).await?;
    count_settlement("release_by_hand", &released);
    settled(&released)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeBody {
    outcome: Outcome,
}

/// The outcome of a commit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeView {
    reservation_id: String,
    outcome: Outcome,
    /// The same outcome was recorded before; nothing changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// Record whether the result was accepted or rejected
///
/// For reports such as the cost per accepted result. Possible until 15 minutes after the reservation's expiry; a later
/// call replaces the outcome.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/outcome", tag = "Metering", request_body = OutcomeBody,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = OutcomeView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn outcome(
    principal: Principal,
    id: web::Path<String>,
    body: Body<OutcomeBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value: OutcomeBody { outcome }, idempotency } = body.read().await?;
    let reservation_id = id.into_inner();
    let (gateway, tenant) = (&principal.gateway, &principal.tenant);
    let was = gateway.outcome(tenant, &reservation_id, outcome, idempotency.as_ref()).await?;
    count("outcome", outcome.as_str());
    let mut response = HttpResponse::Ok();
    replayed(&mut response, was);
    Ok(response.json(OutcomeView { reservation_id, outcome, replayed: was }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrackBody {
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// A name that ends in `.refund` refunds an earlier charge.
    #[schema(value_type = String)]
    event: EventName,
    #[serde(default = "super::reserve::one")]
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
}

impl TrackedView {
    pub(in crate::http) fn new(tracked: &Tracked) -> Self {
        Self {
            event_id: tracked.event_id.clone(),
            match_status: tracked.match_status,
            matched_group_ids: tracked.matched_groups.iter().map(ToString::to_string).collect(),
            counters: CounterView::all(&tracked.counters),
            thresholds: ThresholdView::all(&tracked.passed),
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
    let Given { value, idempotency } = body.read().await?;
    let tracked = count_event(&principal, value, idempotency.as_ref()).await?;
    let mut response = HttpResponse::Ok();
    rate_limit::insert_counters(&mut response, &tracked.counters, tracked.now_ms);
    replayed(&mut response, tracked.replayed);
    Ok(response.json(TrackedView::new(&tracked)))
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
    let item = item(principal, body.event, body.quantity, body.metadata)?;
    let call = Call { user: body.user_id, items: vec![item], key: principal.key.id.clone() };
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
