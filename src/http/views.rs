//! JSON that several resources answer.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::amount::{Amount, Unit};
use crate::domain::counter::Counter;
use crate::domain::ids::UserId;
use crate::domain::number::Number;
use crate::domain::reason::Reason;
use crate::domain::window::{TimeMs, Window, rfc3339};
use crate::service::decision::{Decision, DeniedBy};

/// An amount in its unit.
pub fn number(amount: Amount, unit: Unit) -> Number {
    Number(amount.to_decimal(unit))
}

/// Where a window begins and ends; RFC 3339, UTC.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodView {
    pub start: String,
    /// Null if it never ends.
    pub end: Option<String>,
}

impl PeriodView {
    pub fn of(window: Window) -> Self {
        Self { start: rfc3339(window.start_ms), end: window.end_ms.map(rfc3339) }
    }
}

/// One limit group × one scope value × one period window. Amounts are in the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CounterView {
    pub group_id: String,
    pub label: String,
    pub unit: Unit,
    /// Null counts without limit.
    #[schema(value_type = Option<f64>)]
    pub quota: Option<Number>,
    #[schema(value_type = f64)]
    pub granted: Number,
    /// `used + held`
    #[schema(value_type = f64)]
    pub count: Number,
    #[schema(value_type = f64)]
    pub used: Number,
    #[schema(value_type = f64)]
    pub held: Number,
    #[schema(value_type = f64)]
    pub blocked: Number,
    /// Null without quota.
    #[schema(value_type = Option<f64>)]
    pub remaining: Option<Number>,
    #[schema(value_type = f64)]
    pub overage: Number,
    /// Whole percent of `used` in quota and grants; null for quota null or 0.
    pub percent_used: Option<u64>,
    /// Null for lifetime.
    pub resets_at: Option<String>,
    /// Null while a fixed period does not cover the time.
    pub period: Option<PeriodView>,
    pub scope: BTreeMap<String, String>,
}

impl CounterView {
    pub fn new(counter: &Counter, user: Option<&UserId>) -> Self {
        let group = &counter.group;
        let told = |amount: Amount| number(amount, group.unit);
        let end = counter.window.and_then(|window| window.end_ms).map(rfc3339);
        Self {
            group_id: group.id.to_string(),
            label: group.label.clone(),
            unit: group.unit,
            quota: group.quota.map(told),
            granted: told(counter.granted),
            count: told(counter.count()),
            used: told(counter.used),
            held: told(counter.held),
            blocked: told(counter.blocked),
            remaining: counter.remaining().map(told),
            overage: told(counter.overage()),
            percent_used: counter.percent_used(),
            resets_at: end,
            period: counter.window.map(PeriodView::of),
            scope: user.map(|user| ("user".to_owned(), user.to_string())).into_iter().collect(),
        }
    }

    pub fn all(counters: &[Counter], user: Option<&UserId>) -> Vec<Self> {
        counters.iter().map(|counter| Self::new(counter, user)).collect()
    }
}

/// A group that refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeniedByView {
    pub group_id: String,
    pub label: String,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub requested: Number,
    #[schema(value_type = Option<f64>)]
    pub remaining: Option<Number>,
    pub resets_at: Option<String>,
    /// As configured in the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub on_limit: Option<std::sync::Arc<serde_json::Value>>,
}

impl DeniedByView {
    fn new(denied: &DeniedBy) -> Self {
        let group = &denied.group;
        Self {
            group_id: group.id.to_string(),
            label: group.label.clone(),
            unit: group.unit,
            requested: number(denied.requested, group.unit),
            remaining: denied.remaining.map(|remaining| number(remaining, group.unit)),
            resets_at: denied.resets_at_ms.map(rfc3339),
            on_limit: group.on_limit.clone(),
        }
    }
}

/// The answer to reserve and extend.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    pub allowed: bool,
    pub matched: bool,
    pub matched_group_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The first category of refusal; empty if allowed.
    pub reasons: Vec<Reason>,
    pub denied_by: Vec<DeniedByView>,
    /// Tightest first.
    pub counters: Vec<CounterView>,
    /// Until the last of the refusing windows ends; absent if time will not lift the denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<TimeMs>,
}

impl DecisionView {
    pub fn new(decision: &Decision, user: Option<&UserId>) -> Self {
        Self {
            allowed: decision.allowed,
            matched: decision.matched,
            matched_group_ids: decision.matched_groups.iter().map(ToString::to_string).collect(),
            reservation_id: decision.reservation.as_ref().map(|(id, _)| id.to_string()),
            expires_at: decision.reservation.as_ref().map(|(_, expires_at_ms)| rfc3339(*expires_at_ms)),
            reasons: decision.reasons.clone(),
            denied_by: decision.denied_by.iter().map(DeniedByView::new).collect(),
            counters: CounterView::all(&decision.counters, user),
            retry_after_ms: decision.retry_after_ms,
        }
    }
}

/// A list: `{data, nextCursor}`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListView<T> {
    pub data: Vec<T>,
    /// Null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> ListView<T> {
    pub fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}
