//! Shared by metering routes: events in requests, the lifetime of holds, and the metric of decisions.

use std::cell::RefCell;

use actix_web::http::header::HeaderName;
use actix_web::{HttpResponse, HttpResponseBuilder};
use metrics::Counter;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::metering::fit::{Fit, set_figure};
use crate::domain::metering::reservation::ONE;
use crate::domain::time::window::TimeMs;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{EventName, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::Principal;
use crate::http::wire::plain_json::answer;
use crate::http::wire::problem::ApiError;
use crate::http::wire::views::DecisionView;
use crate::http::wire::{plain_json, rate_limit};
use crate::service::metering::call::{Call, CallItem};
use crate::service::metering::decision::Decision;

pub(in crate::http) fn one() -> Number {
    ONE
}

const fn default_ttl() -> u64 {
    60
}

/// The lifetime of a hold in seconds: 1 to 3600.
pub(super) fn ttl_ms(seconds: u64, faults: &mut Faults) -> Option<TimeMs> {
    let seconds = TimeMs::try_from(seconds).ok().filter(|seconds| (1..=3600).contains(seconds));
    if seconds.is_none() {
        faults.add("ttlSeconds", "must be between 1 and 3600");
    }
    seconds.map(|seconds| seconds * 1000)
}

/// `null` is not a quantity: only a field that is left out gets its default.
fn optional_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    Number::deserialize(deserializer).map(Some)
}

/// The maximum number of events in one call.
const MOST_ITEMS: usize = 10;

/// One `event` with its quantity and metadata, or `items`: several events that are allowed together or not at all.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveBody {
    /// 1 to 256 bytes.
    #[schema(value_type = String)]
    pub(in crate::http) user_id: UserId,
    /// 1 to 128 bytes.
    #[schema(value_type = Option<String>)]
    event: Option<EventName>,
    /// A number or a decimal string, greater than 0; default 1.
    #[serde(default, deserialize_with = "optional_number")]
    #[schema(value_type = NumberOrText, default = 1)]
    quantity: Option<Number>,
    /// At most 32 keys with scalar values.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// 1 to 10 events; cannot be combined with `event`, `quantity`, `metadata` or `fit`.
    items: Option<Vec<ItemBody>>,
    /// Hold as much of one figure as fits.
    fit: Option<FitBody>,
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

/// The figure that the gateway may reduce to what fits. The sent or estimated value is the most that it holds.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FitBody {
    /// `quantity`, or a metadata field by which a limit measures the event.
    field: String,
    /// The smallest value that is accepted: a whole number between 1 and 1000000000000.
    #[schema(value_type = NumberOrText)]
    min: Number,
}

/// One event of a call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
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
    /// Hold as much of one figure as fits; in at most one item.
    fit: Option<FitBody>,
}

/// The caller's metadata merged with the key's, which takes precedence.
pub(in crate::http) fn claimed(principal: &Principal, metadata: Metadata) -> Result<Metadata, FieldError> {
    let merged = metadata.merged(&principal.key.metadata);
    match merged.fits() {
        true => Ok(merged),
        false => Err(FieldError::new("metadata", "must have at most 32 keys, including those of the API key")),
    }
}

/// One event with the key's metadata.
pub(in crate::http) fn item(
    principal: &Principal,
    event: EventName,
    quantity: Number,
    metadata: Metadata,
) -> Result<CallItem, FieldError> {
    Ok(CallItem { event, quantity, metadata: claimed(principal, metadata)? })
}

/// The call that the body describes, and the lifetime of its hold.
pub(super) fn call(principal: &Principal, body: ReserveBody) -> Result<(Call, TimeMs), Vec<FieldError>> {
    let ReserveBody { user_id: user, event, quantity, metadata, items, fit, ttl_seconds } = body;
    let mut faults = Faults::default();
    let found = match (event, items) {
        (Some(event), None) => {
            let body = ItemBody { event, quantity: quantity.unwrap_or(ONE), metadata, fit };
            let found = one_event(principal, body, 0).map_err(|more| faults.0.extend(more)).ok();
            found.map(|(item, fit)| (vec![item], fit))
        }
        (None, Some(items)) if quantity.is_none() && metadata.is_empty() && fit.is_none() => {
            if items.is_empty() || items.len() > MOST_ITEMS {
                faults.add("items", format!("must have 1 to {MOST_ITEMS} entries"));
            }
            several(principal, items, &mut faults)
        }
        (None, None) => {
            faults.add("event", "is required; provide `event` or `items`");
            None
        }
        (_, Some(_)) => {
            faults.add("items", "cannot be combined with `event`, `quantity`, `metadata` or `fit`");
            None
        }
    };
    let ttl_ms = ttl_ms(ttl_seconds, &mut faults);
    let call = found.zip(ttl_ms).map(|((items, fit), ttl_ms)| {
        (Call { user, items, key: principal.key.id.clone(), fit, allowed_with: Vec::new() }, ttl_ms)
    });
    faults.or(call)
}

/// The faults of a body.
pub(super) fn call_faults(principal: &Principal, body: &ReserveBody) -> Vec<FieldError> {
    call(principal, body.clone()).err().unwrap_or_default()
}

/// Several events, of which one may have `fit`. None if one of them has a fault.
fn several(principal: &Principal, bodies: Vec<ItemBody>, faults: &mut Faults) -> Option<(Vec<CallItem>, Option<Fit>)> {
    let (mut items, mut fitting, mut has_fit) = (Vec::with_capacity(bodies.len()), None, false);
    for (place, body) in bodies.into_iter().enumerate() {
        if body.fit.is_some() && std::mem::replace(&mut has_fit, true) {
            faults.add(&format!("items[{place}].fit"), "can be set in one item only");
        }
        match one_event(principal, body, place) {
            Ok((item, fit)) => {
                items.push(item);
                fitting = fitting.or(fit);
            }
            Err(more) => {
                let within = format!("items[{place}]");
                faults.0.extend(more.into_iter().map(|fault| fault.within(&within)));
            }
        }
    }
    faults.0.is_empty().then_some((items, fitting))
}

/// One event, with its least value if it has `fit`.
fn one_event(principal: &Principal, body: ItemBody, place: usize) -> Result<(CallItem, Option<Fit>), Vec<FieldError>> {
    let ItemBody { event, quantity, metadata, fit } = body;
    let mut item = item(principal, event, quantity, metadata).map_err(|fault| vec![fault])?;
    let fit = fit.map(|fit| fitted(principal, &mut item, place, fit)).transpose();
    let mut faults = Faults::default();
    let fit = fit.map_err(|more| faults.0.extend(more)).ok();
    faults.0.extend(item.faults());
    faults.or(fit.map(|fit| (item, fit)))
}

/// Gives the event its least value. A figure that the API key sets cannot be reduced.
fn fitted(principal: &Principal, item: &mut CallItem, place: usize, body: FitBody) -> Result<Fit, Vec<FieldError>> {
    if body.field != "quantity" && principal.key.metadata.get(&body.field).is_some() {
        return Err(vec![FieldError::new("fit.field", "must not be a field that the API key sets")]);
    }
    let fit = Fit::new(place, body.field, body.min, item.quantity, &item.metadata)?;
    set_figure(&fit.field, fit.min, &mut item.quantity, &mut item.metadata);
    Ok(fit)
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

/// The answer with a decision.
pub(super) fn decided(decision: &Decision) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    rate_limit::insert(&mut response, decision);
    replayed(&mut response, decision.replayed);
    answer(response, plain_json::decision(decision), || DecisionView::new(decision))
}
