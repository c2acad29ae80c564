//! The JSON of an explained reservation.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::views::{ExplainedGroupView, estimated_map, metadata_map};
use crate::domain::configuration::limit_group::LimitKind;
use crate::domain::metering::explain::ExplainedGroup;
use crate::domain::metering::fit::Fitted;
use crate::domain::metering::reservation::Actual;
use crate::domain::metering::reservation::Item;
use crate::domain::reporting::ledger::{EntryKind, Outcome, StoredEntry};
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{GroupId, PlanId};
use crate::domain::values::number::Number;
use crate::http::wire::views::{PeriodView, number};
use crate::service::configuration::app_config::AppConfig;
use crate::service::reporting::explain_reservation::{ExplainedReservation, Status};

/// What happened to a reservation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedReservationView {
    reservation_id: String,
    status: Status,
    /// Something was charged after the reservation had expired.
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    created_at: String,
    /// Absent when the reservation's record no longer exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// ID of the key that reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// The plan in whose groups the reservation held; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<HeldVersionView>,
    /// The policies that matched.
    policies: Vec<HeldVersionView>,
    /// The figure that was reduced to what fitted, with the range that the call accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    fitted: Option<FittedFigureView>,
    /// The request, and how the groups of those versions treat it.
    items: Vec<ExplainedItemView>,
    /// What the reservation holds and was charged, per counter and window, and per credit of a balance; empty when its
    /// record no longer exists.
    counters: Vec<ReservedView>,
    /// The reservation's ledger entries, oldest first.
    entries: Vec<ReservationEntryView>,
    /// False if there were too many entries to check them all.
    entries_complete: bool,
}

/// A plan or policy at the version in effect when the reservation was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldVersionView {
    id: String,
    version: u64,
}

/// A figure of a reservation that was fitted.
#[derive(Debug, Serialize, ToSchema)]
pub struct FittedFigureView {
    /// The index of the event in `items`.
    item: usize,
    /// `quantity`, or a metadata field.
    field: String,
    min: u64,
    /// The value that was sent or estimated.
    wish: u64,
    /// The value that was held.
    value: u64,
}

impl FittedFigureView {
    fn of(fitted: &Fitted) -> Self {
        let Fitted { item, field, min, wish, value } = fitted.clone();
        Self { item, field, min, wish, value }
    }
}

/// One event of a reservation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedItemView {
    event: String,
    #[schema(value_type = f64)]
    quantity: Number,
    metadata: BTreeMap<String, String>,
    /// The learned estimates that the reserve used for figures that it did not have; absent if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, f64>)]
    estimated: BTreeMap<String, Number>,
    groups: Vec<ExplainedGroupView>,
}

/// The amounts of a reservation in one window of a counter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservedView {
    group_id: String,
    /// `balance`; absent for a group with a quota.
    #[serde(skip_serializing_if = "LimitKind::is_default")]
    kind: LimitKind,
    /// The group whose quota the call exceeds, if its balance took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The credit, if the group is a balance; absent for what no credit covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_id: Option<String>,
    unit: Unit,
    scope: BTreeMap<String, String>,
    /// Null if that window is over, and for a balance.
    period: Option<PeriodView>,
    #[schema(value_type = f64)]
    held: Number,
    #[schema(value_type = f64)]
    charged: Number,
}

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationEntryView {
    id: String,
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    kind: EntryKind,
    at: String,
    late: bool,
    charges: Vec<EntryChargeView>,
    /// For an expiry: the amount that was held until then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<EntryHeldView>,
    /// The figures of the call, per item; empty if it charged the held amounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    figures: Vec<FiguresView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
}

/// The change of one counter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryChargeView {
    group_id: String,
    /// The group whose quota the call exceeds, if its balance took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The credit, if the group is a balance; absent for what no credit covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_id: Option<String>,
    unit: Unit,
    scope: BTreeMap<String, String>,
    /// Negative for a refund.
    #[schema(value_type = f64)]
    change: Number,
    /// `used` after the change; of a credit, what was used of it.
    #[schema(value_type = f64)]
    balance: Number,
}

/// The amount that an expired reservation held.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryHeldView {
    group_id: String,
    unit: Unit,
    #[schema(value_type = f64)]
    amount: Number,
}

/// The actual figures of one item.
#[derive(Debug, Serialize, ToSchema)]
pub struct FiguresView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    quantity: Option<Number>,
    metadata: BTreeMap<String, String>,
}

impl ExplainedReservationView {
    pub fn new(config: &AppConfig, explained: &ExplainedReservation) -> Self {
        let snapshot = explained.snapshot.as_ref();
        let version = |id: &str, version: u64| HeldVersionView { id: id.to_owned(), version };
        let plan = snapshot
            .and_then(|snapshot| snapshot.plan.as_ref().map(|plan| version(PlanId::as_str(plan), snapshot.version)));
        let policies = snapshot.iter().flat_map(|snapshot| &snapshot.policies);
        let counters = explained.accounts.iter().map(|(entry, window)| {
            let unit = unit_of(config, &entry.group);
            ReservedView {
                group_id: entry.group.to_string(),
                kind: config.groups.get(&entry.group).map_or(LimitKind::Quota, |kind| kind.limit),
                from: entry.from.as_ref().map(ToString::to_string),
                credit_id: explained.credit_id(&entry.owner, &entry.group, &entry.window_seq).map(str::to_owned),
                unit,
                scope: entry.owner.to_map(),
                period: window.map(PeriodView::of),
                held: number(entry.held, unit),
                charged: number(entry.charged, unit),
            }
        });
        Self {
            reservation_id: explained.id.to_string(),
            status: explained.status,
            late: explained.late,
            outcome: explained.outcome,
            created_at: rfc3339(explained.id.created_at_ms),
            expires_at: explained.expires_at_ms.map(rfc3339),
            user_id: explained.user.as_ref().map(ToString::to_string),
            key_id: explained.key.as_ref().map(ToString::to_string),
            event: explained.event.as_ref().map(ToString::to_string),
            plan,
            policies: policies.map(|(id, at)| version(id.as_str(), *at)).collect(),
            fitted: snapshot.and_then(|snapshot| snapshot.fitted.as_ref()).map(FittedFigureView::of),
            items: explained.items.iter().map(|(item, traced)| item_view(item, traced)).collect(),
            counters: counters.collect(),
            entries: explained.entries.iter().map(|entry| entry_view(config, explained, entry)).collect(),
            entries_complete: !explained.search_cut,
        }
    }
}

fn item_view(item: &Item, traced: &[ExplainedGroup]) -> ExplainedItemView {
    let event = item.event.to_string();
    ExplainedItemView {
        quantity: item.quantity,
        metadata: metadata_map(&item.metadata),
        estimated: estimated_map(&item.estimated),
        groups: traced.iter().map(|traced| ExplainedGroupView::traced(&event, traced).of_an_allowed_call()).collect(),
        event,
    }
}

/// Amounts are shown in the unit of their group's ID, which the configuration never forgets.
fn unit_of(config: &AppConfig, group: &GroupId) -> Unit {
    config.groups.get(group).map_or(Unit::Count, |kind| kind.unit)
}

fn entry_view(
    config: &AppConfig,
    explained: &ExplainedReservation,
    StoredEntry { id, entry }: &StoredEntry,
) -> ReservationEntryView {
    let charges = entry.charges.iter().map(|charge| {
        let unit = unit_of(config, &charge.group);
        let size = Amount::from_steps(charge.change.unsigned_abs()).unwrap_or(Amount::LARGEST).to_decimal(unit);
        EntryChargeView {
            group_id: charge.group.to_string(),
            from: charge.from.as_ref().map(ToString::to_string),
            credit_id: explained.credit_id(&charge.owner, &charge.group, &charge.window_seq).map(str::to_owned),
            unit,
            scope: charge.owner.to_map(),
            change: Number(if charge.change < 0 { -size } else { size }),
            balance: number(charge.balance, unit),
        }
    });
    let held = entry.held.iter().map(|held| {
        let unit = unit_of(config, &held.group);
        EntryHeldView { group_id: held.group.to_string(), unit, amount: number(held.amount, unit) }
    });
    let figures = |actual: &Actual| FiguresView { quantity: actual.quantity, metadata: metadata_map(&actual.metadata) };
    ReservationEntryView {
        id: format!("led_{:02x}_{}-{}", explained.id.bucket, id.time_ms, id.number),
        kind: entry.kind,
        at: rfc3339(entry.at_ms),
        late: entry.late,
        charges: charges.collect(),
        held: held.collect(),
        figures: entry.details.actual.iter().map(figures).collect(),
        outcome: entry.details.outcome,
        reason: entry.details.reason.clone(),
        error_code: entry.details.error_code.clone(),
    }
}
