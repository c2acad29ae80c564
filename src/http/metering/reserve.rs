//! `POST reserve`, `extend`, `can-use`: calls before the work is done.

use std::cell::RefCell;

use actix_web::http::header::HeaderName;
use actix_web::{HttpResponse, HttpResponseBuilder};
use metrics::Counter;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::metering::reason::Reason;
use crate::domain::metering::reservation::ONE;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{EventName, GroupId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, Given, Query};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{AmountView, CounterView, DecisionView, TimeView, answer};
use crate::http::wire::{plain_json, rate_limit};
use crate::service::metering::decision::Decision;
use crate::service::metering::extend::Extension;
use crate::service::metering::reserve::{Call, CallItem};
use crate::store::metering::operation::Idempotency;

pub(in crate::http) fn one() -> Number {
    ONE
}

const fn default_ttl() -> u64 {
    60
}

/// The lifetime of a hold in seconds: 1 to 3600.
fn ttl_ms(seconds: u64) -> Result<TimeMs, ApiError> {
    match TimeMs::try_from(seconds) {
        Ok(seconds @ 1..=3600) => Ok(seconds * 1000),
        _ => Err(ApiError::invalid("ttlSeconds", "must be between 1 and 3600")),
    }
}

/// `null` is not a quantity: only a field that is left out gets its default.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    Number::deserialize(deserializer).map(Some)
}

/// The maximum number of events in one call.
const MOST_ITEMS: usize = 10;

/// One `event` with its quantity and metadata, or `items`: several events that are allowed together or not at all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveBody {
    /// 1 to 256 bytes.
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// 1 to 128 bytes.
    #[schema(value_type = Option<String>)]
    event: Option<EventName>,
    /// A number or a decimal string, greater than 0; default 1.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = NumberOrText, default = 1)]
    quantity: Option<Number>,
    /// At most 32 keys with scalar values.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// 1 to 10 events; cannot be combined with `event`, `quantity` or `metadata`.
    items: Option<Vec<ItemBody>>,
    /// 1 to 3600.
    #[serde(default = "default_ttl")]
    #[schema(default = 60, minimum = 1, maximum = 3600)]
    ttl_seconds: u64,
}

impl ReserveBody {
    /// The number of events.
    pub(in crate::http) fn events(&self) -> usize {
        self.items.as_ref().map_or(1, Vec::len)
    }
}

/// One event of a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemBody {
    /// 1 to 128 bytes.
    #[schema(value_type = String)]
    event: EventName,
    /// A number or a decimal string, greater than 0.
    #[serde(default = "one")]
    #[schema(value_type = NumberOrText, default = 1)]
    quantity: Number,
    /// At most 32 keys with scalar values.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveQuery {
    on_deny: Option<String>,
}

/// The caller's metadata merged with the key's, which takes precedence.
pub(in crate::http) fn claimed(principal: &Principal, metadata: Metadata) -> Result<Metadata, ApiError> {
    let merged = metadata.merged(&principal.key.metadata);
    match merged.fits() {
        true => Ok(merged),
        false => Err(ApiError::invalid("metadata", "must have at most 32 keys, including those of the API key")),
    }
}

/// One event with the key's metadata.
pub(in crate::http) fn item(
    principal: &Principal,
    event: EventName,
    quantity: Number,
    metadata: Metadata,
) -> Result<CallItem, ApiError> {
    Ok(CallItem { event, quantity, metadata: claimed(principal, metadata)? })
}

fn call(principal: &Principal, given: ReserveBody) -> Result<Call, ApiError> {
    let ReserveBody { user_id: user, event, quantity, metadata, items, .. } = given;
    let items = match (event, items) {
        (Some(event), None) => vec![item(principal, event, quantity.unwrap_or(ONE), metadata)?],
        (None, Some(items)) if quantity.is_none() && metadata.is_empty() => {
            if items.is_empty() || items.len() > MOST_ITEMS {
                return Err(ApiError::invalid("items", format!("must have 1 to {MOST_ITEMS} entries")));
            }
            let items = items.into_iter();
            items.map(|given| item(principal, given.event, given.quantity, given.metadata)).collect::<Result<_, _>>()?
        }
        (None, None) => return Err(ApiError::invalid("event", "is required; provide `event` or `items`")),
        (_, Some(_)) => {
            return Err(ApiError::invalid("items", "cannot be combined with `event`, `quantity` or `metadata`"));
        }
    };
    Ok(Call { user, items, key: principal.key.id.clone() })
}

pub(in crate::http) fn count_decision(name: &'static str, decision: &Decision) {
    let allowed = match (decision.degraded, decision.matched) {
        (true, _) => "degraded",
        (false, true) => "allowed",
        (false, false) => "unmetered",
    };
    let outcome = decision.reasons.first().map_or(allowed, |reason| reason.as_str());
    count(name, outcome);
}

thread_local! {
    /// By call and outcome; looked up once per thread.
    static DECISIONS: RefCell<Vec<((&'static str, &'static str), Counter)>> = const { RefCell::new(Vec::new()) };
}

pub(in crate::http) fn count(name: &'static str, outcome: &'static str) {
    DECISIONS.with_borrow_mut(|counters| {
        let place = counters.iter().position(|(of, _)| *of == (name, outcome)).unwrap_or_else(|| {
            let counter = metrics::counter!("quotagate_decisions_total", "call" => name, "outcome" => outcome);
            counters.push(((name, outcome), counter));
            counters.len() - 1
        });
        counters[place].1.increment(1);
    });
}

pub(in crate::http) fn replayed(response: &mut HttpResponseBuilder, replayed: bool) {
    if replayed {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), "true"));
    }
}

/// Check every limit that applies, and hold the amount in all of them or in none
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
    let Given { value, idempotency } = body.read().await?;
    let decision = decide_reserve(&principal, value, idempotency.as_ref()).await?;
    if deny_status && !decision.allowed {
        return Err(ApiError::Denied { decision: Box::new(decision) });
    }
    decided(&decision)
}

/// Reserves as the body requests.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_reserve(
    principal: &Principal,
    body: ReserveBody,
    idempotency: Option<&Idempotency>,
) -> Result<Decision, ApiError> {
    let ttl_ms = ttl_ms(body.ttl_seconds)?;
    let call = call(principal, body)?;
    let decision = principal.gateway.reserve(&principal.tenant, &call, ttl_ms, idempotency).await?;
    count_decision("reserve", &decision);
    Ok(decision)
}

fn decided(decision: &Decision) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, decision);
    replayed(&mut response, decision.replayed);
    answer(response, plain_json::decision(decision), || DecisionView::new(decision))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendBody {
    pub(in crate::http) reservation_id: String,
    /// Counted from now; 1 to 3600.
    #[schema(minimum = 1, maximum = 3600)]
    ttl_seconds: Option<u64>,
    /// Additional amount, checked like a reserve.
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
}

/// Extend the time of a reservation, its amount, or both
#[utoipa::path(post, path = "/api/v1/extend", tag = "Metering", request_body = ExtendBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DecisionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn extend(principal: Principal, body: Body<ExtendBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let Given { value, idempotency } = body.read().await?;
    decided(&decide_extend(&principal, value, idempotency.as_ref()).await?)
}

/// Extends the reservation that the body names.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_extend(
    principal: &Principal,
    body: ExtendBody,
    idempotency: Option<&Idempotency>,
) -> Result<Decision, ApiError> {
    let ttl_ms = body.ttl_seconds.map(ttl_ms).transpose()?;
    if ttl_ms.is_none() && body.quantity.is_none() {
        return Err(ApiError::invalid("ttlSeconds", "is required; provide `ttlSeconds`, `quantity` or both"));
    }
    let extension = Extension { ttl_ms, quantity: body.quantity };
    let decision = principal.gateway.extend(&principal.tenant, &body.reservation_id, extension, idempotency).await?;
    count_decision("extend", &decision);
    Ok(decision)
}

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
    reasons: Vec<Reason>,
    details: Vec<CanUseDetail>,
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
            reasons: decision.reasons.clone(),
            details: details.collect(),
        }
    }
}

/// Check whether a call would be allowed, without holding anything
#[utoipa::path(post, path = "/api/v1/can-use", tag = "Metering", request_body = ReserveBody,
    responses((status = 200, body = CanUseView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn can_use(principal: Principal, body: Body<ReserveBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let decision = decide_can_use(&principal, body.read().await?.value).await?;
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, &decision);
    Ok(response.json(CanUseView::new(&decision)))
}

/// The decision that a reserve with this body would get.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_can_use(principal: &Principal, body: ReserveBody) -> Result<Decision, ApiError> {
    ttl_ms(body.ttl_seconds)?;
    let call = call(principal, body)?;
    let decision = principal.gateway.can_use(&principal.tenant, &call).await?;
    count_decision("can-use", &decision);
    Ok(decision)
}
