//! `POST reserve`, `commit`, `release`, `extend`, `track`, `can-use`.

use actix_web::http::header::HeaderName;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Access, Principal};
use super::body::{Body, Given, Query};
use super::problem::{ApiError, Problem};
use super::rate_limit;
use super::views::{CounterView, DecisionView};
use crate::domain::ids::{EventName, UserId};
use crate::domain::metadata::Metadata;
use crate::domain::number::Number;
use crate::domain::reason::Reason;
use crate::domain::reservation::{Actual, ONE};
use crate::domain::window::TimeMs;
use crate::service::decision::Decision;
use crate::service::error::ServiceError;
use crate::service::reserve::Call;
use crate::service::settle::{Commit, Extension, Settlement};
use crate::service::track::MatchStatus;

fn one() -> Number {
    ONE
}

const fn default_ttl() -> u64 {
    60
}

const fn yes() -> bool {
    true
}

/// Seconds of a hold's life: 1 to 3600.
fn ttl_ms(seconds: u64) -> Result<TimeMs, ApiError> {
    match TimeMs::try_from(seconds) {
        Ok(seconds @ 1..=3600) => Ok(seconds * 1000),
        _ => Err(ApiError::invalid("ttlSeconds", "must be 1 to 3600")),
    }
}

/// A text that is kept beside a call.
fn note(field: &str, text: Option<&str>) -> Result<(), ApiError> {
    match text {
        Some(text) if text.len() > 256 || text.chars().any(char::is_control) => {
            Err(ApiError::invalid(field, "must have at most 256 bytes without control characters"))
        }
        _ => Ok(()),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveBody {
    /// 1 to 256 bytes.
    #[schema(value_type = String)]
    user_id: UserId,
    /// 1 to 128 bytes.
    #[schema(value_type = String)]
    event: EventName,
    /// A number or a decimal string, greater than 0.
    #[serde(default = "one")]
    #[schema(value_type = f64, default = 1)]
    quantity: Number,
    /// At most 32 keys with scalar values.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// 1 to 3600.
    #[serde(default = "default_ttl")]
    #[schema(default = 60, minimum = 1, maximum = 3600)]
    ttl_seconds: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveQuery {
    on_deny: Option<String>,
}

/// The call with the key's fixed metadata, which overrides what the caller claims.
fn call(principal: &Principal, user: UserId, event: EventName, quantity: Number, metadata: &Metadata) -> Call {
    Call { user, event, quantity, metadata: metadata.merged(&principal.key.metadata), key: principal.key.id.clone() }
}

/// What a commit brings, with the key's fixed metadata over it; nothing stays nothing.
fn claimed(principal: &Principal, metadata: Metadata) -> Metadata {
    if metadata.is_empty() { metadata } else { metadata.merged(&principal.key.metadata) }
}

fn count_decision(name: &'static str, decision: &Decision) {
    let outcome = decision
        .reasons
        .first()
        .map_or(if decision.matched { "allowed" } else { "unmetered" }, |reason| reason.as_str());
    metrics::counter!("quotagate_decisions_total", "call" => name, "outcome" => outcome).increment(1);
}

fn count(name: &'static str, outcome: &'static str) {
    metrics::counter!("quotagate_decisions_total", "call" => name, "outcome" => outcome).increment(1);
}

fn replayed(response: &mut HttpResponseBuilder, replayed: bool) {
    if replayed {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), "true"));
    }
}

/// Check every limit that applies and hold in all of them, or in none
#[utoipa::path(post, path = "/api/v1/reserve", tag = "Metering", request_body = ReserveBody,
    params(("onDeny" = Option<u16>, Query, description = "429: a denial is a 429 problem"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DecisionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn reserve(
    principal: Principal,
    query: Query<ReserveQuery>,
    body: Body<ReserveBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let deny_status = match query.read()?.on_deny.as_deref() {
        None | Some("200") => false,
        Some("429") => true,
        Some(_) => return Err(ApiError::invalid("onDeny", "must be 200 or 429")),
    };
    let Given { value: given, idempotency } = body.read()?;
    let ttl_ms = ttl_ms(given.ttl_seconds)?;
    let call = call(&principal, given.user_id, given.event, given.quantity, &given.metadata);
    let decision = principal.gateway.reserve(&principal.tenant, &call, ttl_ms, idempotency.as_ref()).await?;
    count_decision("reserve", &decision);
    if deny_status && !decision.allowed {
        return Err(ApiError::Denied { user: call.user, decision: Box::new(decision) });
    }
    Ok(decided(&decision, &call.user))
}

fn decided(decision: &Decision, user: &UserId) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, decision);
    replayed(&mut response, decision.replayed);
    response.json(DecisionView::new(decision, Some(user)))
}

/// What an accepted or rejected result was worth to the end user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Accepted,
    Rejected,
}

/// What to do with a commit after the reservation's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IfExpired {
    /// Within the grace it is recorded, flagged as late: it was spent.
    #[default]
    Charge,
    /// It is refused.
    Reject,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitBody {
    reservation_id: String,
    /// The actual quantity; 0 is allowed.
    #[schema(value_type = Option<f64>)]
    quantity: Option<Number>,
    /// Actual figures, merged over the reserve's.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// False: charge that much and keep the rest of the hold.
    #[serde(default = "yes", rename = "final")]
    is_final: bool,
    #[serde(default)]
    if_expired: IfExpired,
    #[allow(dead_code)]
    outcome: Option<Outcome>,
}

/// What became of a reservation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettlementView {
    reservation_id: String,
    /// `held`, `committed` or `released`
    status: String,
    /// It was charged after its expiry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    /// The same call was made before; nothing changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// The counters it was settled in, in the windows in which it was held.
    counters: Vec<CounterView>,
}

fn settled(name: &'static str, settlement: &Settlement) -> HttpResponse {
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
    let mut response = HttpResponse::Ok();
    replayed(&mut response, settlement.replayed);
    response.json(SettlementView {
        reservation_id: settlement.id.to_string(),
        status: settlement.status.clone(),
        late: settlement.late,
        replayed: settlement.replayed,
        counters: CounterView::all(&settlement.counters, Some(&settlement.user)),
    })
}

/// Confirm what was spent
#[utoipa::path(post, path = "/api/v1/commit", tag = "Metering", request_body = CommitBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn commit(principal: Principal, body: Body<CommitBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value: given, idempotency } = body.read()?;
    let commit = Commit {
        actual: Actual { quantity: given.quantity, metadata: claimed(&principal, given.metadata) },
        is_final: given.is_final,
        reject_late: given.if_expired == IfExpired::Reject,
    };
    let settlement =
        principal.gateway.commit(&principal.tenant, &given.reservation_id, &commit, idempotency.as_ref()).await?;
    Ok(settled("commit", &settlement))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    reservation_id: String,
    reason: Option<String>,
    error_code: Option<String>,
}

/// Give back all that is still held
#[utoipa::path(post, path = "/api/v1/release", tag = "Metering", request_body = ReleaseBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn release(principal: Principal, body: Body<ReleaseBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value: given, idempotency } = body.read()?;
    note("reason", given.reason.as_deref())?;
    note("errorCode", given.error_code.as_deref())?;
    let settlement = principal.gateway.release(&principal.tenant, &given.reservation_id, idempotency.as_ref()).await?;
    Ok(settled("release", &settlement))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendBody {
    reservation_id: String,
    /// From now on; 1 to 3600.
    #[schema(minimum = 1, maximum = 3600)]
    ttl_seconds: Option<u64>,
    /// So much more; checked like a reserve.
    #[schema(value_type = Option<f64>)]
    quantity: Option<Number>,
}

/// More time, more amount, or both
#[utoipa::path(post, path = "/api/v1/extend", tag = "Metering", request_body = ExtendBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DecisionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn extend(principal: Principal, body: Body<ExtendBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value: given, idempotency } = body.read()?;
    let ttl_ms = given.ttl_seconds.map(ttl_ms).transpose()?;
    if ttl_ms.is_none() && given.quantity.is_none() {
        return Err(ApiError::invalid("ttlSeconds", "ask for more time (ttlSeconds), more amount (quantity), or both"));
    }
    let extension = Extension { ttl_ms, quantity: given.quantity };
    let (user, decision) =
        principal.gateway.extend(&principal.tenant, &given.reservation_id, extension, idempotency.as_ref()).await?;
    count_decision("extend", &decision);
    Ok(decided(&decision, &user))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrackBody {
    #[schema(value_type = String)]
    user_id: UserId,
    /// A name that ends in `.refund` gives back.
    #[schema(value_type = String)]
    event: EventName,
    #[serde(default = "one")]
    #[schema(value_type = f64, default = 1)]
    quantity: Number,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// Count only if there is room, else 429.
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
}

/// Count what has happened
#[utoipa::path(post, path = "/api/v1/track", tag = "Metering", request_body = TrackBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = TrackedView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn track(principal: Principal, body: Body<TrackBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value: given, idempotency } = body.read()?;
    let call = call(&principal, given.user_id, given.event, given.quantity, &given.metadata);
    let tracked = match principal.gateway.track(&principal.tenant, &call, given.enforce, idempotency.as_ref()).await {
        Ok(tracked) => tracked,
        Err(ServiceError::Denied(decision)) => {
            count_decision("track", &decision);
            return Err(ApiError::Denied { user: call.user, decision });
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
    let mut response = HttpResponse::Ok();
    rate_limit::insert_counters(&mut response, &tracked.counters, tracked.now_ms);
    replayed(&mut response, tracked.replayed);
    Ok(response.json(TrackedView {
        event_id: tracked.event_id,
        match_status: tracked.match_status,
        matched_group_ids: tracked.matched_groups.iter().map(ToString::to_string).collect(),
        counters: CounterView::all(&tracked.counters, Some(&call.user)),
    }))
}

/// One matched group as a reserve would find it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanUseDetail {
    group_id: String,
    /// `used + held`
    #[schema(value_type = f64)]
    current: Number,
    #[schema(value_type = Option<f64>)]
    quota: Option<Number>,
    resets_at: Option<String>,
}

/// The answer that a reserve would get now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanUseView {
    allowed: bool,
    matched: bool,
    matched_group_ids: Vec<String>,
    reasons: Vec<Reason>,
    details: Vec<CanUseDetail>,
}

/// Ask without holding anything
#[utoipa::path(post, path = "/api/v1/can-use", tag = "Metering", request_body = ReserveBody,
    responses((status = 200, body = CanUseView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn can_use(principal: Principal, body: Body<ReserveBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let given = body.read()?.value;
    ttl_ms(given.ttl_seconds)?;
    let call = call(&principal, given.user_id, given.event, given.quantity, &given.metadata);
    let decision = principal.gateway.can_use(&principal.tenant, &call).await?;
    count_decision("can-use", &decision);
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, &decision);
    let details = CounterView::all(&decision.counters, None).into_iter().map(|counter| CanUseDetail {
        group_id: counter.group_id,
        current: counter.count,
        quota: counter.quota,
        resets_at: counter.resets_at,
    });
    Ok(response.json(CanUseView {
        allowed: decision.allowed,
        matched: decision.matched,
        matched_group_ids: decision.matched_groups.iter().map(ToString::to_string).collect(),
        reasons: decision.reasons,
        details: details.collect(),
    }))
}
