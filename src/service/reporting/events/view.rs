//! The form of an event in the API and in exports.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::id::EventId;
use crate::domain::metering::reservation::ReservationId;
use crate::domain::reporting::ledger::{Charge, DeniedCall, DenyingCounter, Entry, EntryKind, Held, Outcome};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::service::configuration::app_config::AppConfig;
use crate::service::metering::track::tracked_id;

/// A change of counters, the end of a reservation, or a denied call. Times are RFC 3339, UTC.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// A stable ID.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// When it happened, by the test clock in a sandbox; for an expiry, when the hold ended.
    pub timestamp: String,
    /// When it was recorded, in real time; events are sorted by this time.
    pub recorded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The first event of a call with several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<String>,
    /// The ID that `track` returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// When the reservation was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// The charge came after the reservation had expired.
    pub late: bool,
    /// For a denial: the call that was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<DeniedCall>,
    /// The requested quantity, or the actual one; for a draw or refund, its own. For a call with several events, that
    /// of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub quantity: Option<Number>,
    /// The request's metadata, overridden by the actual metadata. For a call with several events, that of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub metadata: Option<Metadata>,
    /// For a call with several events: all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<EventItem>,
    /// For a reservation with `fit`: the field and the value that was held.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fitted: BTreeMap<String, u64>,
    /// The plan version in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u64>,
    /// The policies that matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<EventPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The outcome that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome_before: Option<Outcome>,
    /// For a denial: the category, such as `limit_reached`. For a release: the reason given by the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For a denial: the call was allowed, since the groups that would have denied it have the enforcement `observe`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The call was allowed while Redis was unavailable, and counted later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// Every counter that matched, even if it did not change.
    pub charges: Vec<EventCharge>,
    /// For a denial: the counters whose limit was reached, and those that only observe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<EventDeniedBy>,
    /// For an expiry: the amounts that had been held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<EventHeld>,
}

/// One event of a call with several.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventItem {
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub quantity: Option<Number>,
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventPolicy {
    pub id: String,
    pub version: u64,
}

/// The change of one counter. Amounts are in the unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventCharge {
    pub group_id: String,
    /// The group whose quota was exceeded, if the group is the balance that took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub scope: BTreeMap<String, String>,
    pub unit: Unit,
    /// Negative for a refund.
    #[schema(value_type = f64)]
    pub amount: Number,
    /// `used` after the change.
    #[schema(value_type = f64)]
    pub balance: Number,
    /// Sequence number of the counter's window, ascending. `GET usage/history` has its times. Of a balance `b` and the
    /// number of the credit, with `.credited`, `.lapsed` or `.voided` if nothing was used.
    pub window: String,
    /// For a rollover: the extra quota of the window, which was unused in the window before. For a reset: what it has
    /// kept of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub rolled: Option<Number>,
}

/// A counter whose limit denied the call, or would have denied it. Amounts are in the unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventDeniedBy {
    pub group_id: String,
    pub scope: BTreeMap<String, String>,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub requested: Number,
    /// Used plus held at the time of the denial.
    #[schema(value_type = f64)]
    pub count: Number,
    /// Quota, grants and rolled quota, minus blocked amounts.
    #[schema(value_type = f64)]
    pub limit: Number,
    /// The group has the enforcement `observe`: it would have denied the call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
}

/// The amount of a group that an expired reservation held, in the unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventHeld {
    pub group_id: String,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub amount: Number,
    pub window: String,
}

fn number(amount: Amount, unit: Unit) -> Number {
    Number(amount.to_decimal(unit))
}

/// Signed steps, in the unit.
fn signed(steps: i64, unit: Unit) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(steps), unit.decimals()).normalize())
}

impl EventCharge {
    fn new(charge: &Charge, config: &AppConfig) -> Self {
        let unit = config.unit_of(&charge.group);
        Self {
            group_id: charge.group.to_string(),
            from: charge.from.as_ref().map(ToString::to_string),
            scope: charge.owner.to_map(),
            unit,
            amount: signed(charge.change, unit),
            balance: number(charge.balance, unit),
            window: charge.window_seq.to_string(),
            rolled: charge.rolled.as_ref().map(|rolled| number(rolled.amount, unit)),
        }
    }
}

impl EventDeniedBy {
    fn new(denying_counter: &DenyingCounter, config: &AppConfig) -> Self {
        let unit = config.unit_of(&denying_counter.group);
        Self {
            group_id: denying_counter.group.to_string(),
            scope: denying_counter.owner.to_map(),
            unit,
            requested: number(denying_counter.requested, unit),
            count: number(denying_counter.count, unit),
            limit: number(denying_counter.limit, unit),
            observed: denying_counter.observed,
        }
    }
}

impl EventHeld {
    fn new(held: &Held, config: &AppConfig) -> Self {
        let unit = config.unit_of(&held.group);
        let amount = number(held.amount, unit);
        Self { group_id: held.group.to_string(), unit, amount, window: held.window_seq.clone() }
    }
}

/// The public IDs of the entry's reservation and of its tracked event.
fn ids(id: EventId, entry: &Entry) -> (Option<String>, Option<String>) {
    match (&entry.operation, entry.created_at_ms) {
        (Some(name), Some(created_at_ms)) => {
            (Some(ReservationId { name: name.clone(), created_at_ms, bucket: id.bucket }.to_string()), None)
        }
        (Some(name), None) => (None, Some(tracked_id(name, entry.at_ms))),
        (None, _) => (None, None),
    }
}

impl EventView {
    /// `config` must contain the groups that the entry names.
    pub fn new(id: EventId, entry: &Entry, config: &AppConfig) -> Self {
        let text = |name: &dyn std::fmt::Display| name.to_string();
        let (reservation_id, event_id) = ids(id, entry);
        let snapshot = entry.snapshot.as_ref();
        let items: Vec<EventItem> = entry
            .entry_items()
            .map(|entry_items| EventItem {
                event: entry_items.event.to_string(),
                quantity: entry_items.quantity.map(Number),
                metadata: entry_items.metadata,
            })
            .collect();
        let first = items.first();
        Self {
            id: id.to_string(),
            kind: entry.kind,
            timestamp: rfc3339(entry.at_ms),
            recorded_at: rfc3339(TimeMs::try_from(id.at.time_ms).unwrap_or(TimeMs::MAX)),
            user_id: entry.user.as_ref().map(|user| text(user)),
            event: entry.event.as_ref().map(|event| text(event)),
            key_id: entry.key.as_ref().map(|key| text(key)),
            reservation_id,
            event_id,
            created_at: entry.created_at_ms.map(rfc3339),
            late: entry.late,
            call: entry.call,
            quantity: first.and_then(|item| item.quantity),
            metadata: first.map(|item| item.metadata.clone()),
            fitted: snapshot
                .filter(|_| entry.kind != EntryKind::Denial)
                .and_then(|snapshot| snapshot.fitted.as_ref())
                .map(|fitted| (fitted.field.clone(), fitted.value))
                .into_iter()
                .collect(),
            plan_id: snapshot.and_then(|snapshot| snapshot.plan.as_ref()).map(|plan| text(plan)),
            plan_version: snapshot.filter(|snapshot| snapshot.plan.is_some()).map(|snapshot| snapshot.version),
            policies: snapshot
                .iter()
                .flat_map(|snapshot| &snapshot.policies)
                .map(|(id, version)| EventPolicy { id: id.to_string(), version: *version })
                .collect(),
            outcome: entry.details.outcome,
            outcome_before: entry.details.before,
            reason: entry.reason.map(|reason| reason.as_str().to_owned()).or_else(|| entry.details.reason.clone()),
            observed: entry.observed,
            error_code: entry.details.error_code.clone(),
            degraded: entry.details.degraded,
            charges: entry.charges.iter().map(|charge| EventCharge::new(charge, config)).collect(),
            denied: entry.denying.iter().map(|denying_counter| EventDeniedBy::new(denying_counter, config)).collect(),
            held: entry.held.iter().map(|held| EventHeld::new(held, config)).collect(),
            items: if items.len() > 1 { items } else { Vec::new() },
        }
    }

    /// Whether `config` contains the groups of the entry. Their units never change, so such a configuration is never
    /// too old.
    pub(super) fn is_described_by(entry: &Entry, config: &AppConfig) -> bool {
        let charged = entry.charges.iter().map(|charge| &charge.group);
        let denying = entry.denying.iter().map(|denying_counter| &denying_counter.group);
        let held = entry.held.iter().map(|held| &held.group);
        charged.chain(denying).chain(held).all(|group| config.groups.contains_key(group))
    }
}
