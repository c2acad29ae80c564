//! The result of a replay as data, without formatting.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::values::amount::Unit;
use crate::domain::values::number::Number;

/// Decimal places of amounts in cents.
const CENT_DECIMALS: u32 = 6;

/// How calls were or would be decided.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifSide)]
pub struct Side {
    pub allowed: u64,
    pub denied: u64,
    /// Charges in cents: for each call its largest charge in a group of cents.
    #[schema(value_type = Option<f64>)]
    pub cents: Option<Number>,
}

/// The usage of a group, in its unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifGroup)]
pub struct GroupSum {
    pub group_id: String,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub recorded: Number,
    /// Under the present rules, replayed in the same way; null for a trace.
    #[schema(value_type = Option<f64>)]
    pub present: Option<Number>,
    #[schema(value_type = f64)]
    pub draft: Number,
}

/// A user whose calls the draft would decide differently.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifUser)]
pub struct UserSum {
    pub user_id: String,
    pub newly_denied: u64,
    pub newly_allowed: u64,
    /// Under the present rules; for a trace as if nothing were denied.
    #[schema(value_type = f64)]
    pub cents_present: Number,
    #[schema(value_type = f64)]
    pub cents_draft: Number,
}

/// How closely a replay of the present rules matches the recorded decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifAgreement)]
pub struct Agreement {
    pub calls: u64,
    /// Allowed or denied as they were.
    pub agree: u64,
    /// Denied as they were, but by other groups or for another reason.
    pub denied_otherwise: u64,
}

/// A call that the draft decides differently from the present rules.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifExample)]
pub struct Example {
    /// RFC 3339, UTC.
    pub at: String,
    pub user_id: String,
    pub event: Option<String>,
    /// Why the draft denies it, or why the present rules deny it.
    pub reason: String,
    pub groups: Vec<ExampleDeniedBy>,
}

/// A group over its limit, with its state at the time of the call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifDeniedBy)]
pub struct ExampleDeniedBy {
    pub group_id: String,
    #[schema(value_type = f64)]
    pub requested: Number,
    /// `used + held`
    #[schema(value_type = f64)]
    pub count: Number,
    #[schema(value_type = f64)]
    pub limit: Number,
}

/// Calls that the draft decides differently from the present rules.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifChanged)]
pub struct Changed {
    pub calls: u64,
    pub users: u64,
    /// A call that several groups deny counts for each of them.
    pub by_group: BTreeMap<String, u64>,
    pub by_reason: BTreeMap<String, u64>,
    /// The first examples.
    pub examples: Vec<Example>,
}

/// How a draft would have changed decisions.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifReport)]
pub struct Report {
    /// The name of the draft.
    pub draft: String,
    /// The source of the calls.
    pub source: String,
    /// Times of the first and last replayed call; null if there was none.
    pub since: Option<String>,
    pub until: Option<String>,
    /// Number of ledger and denial entries, or rows of the trace.
    pub entries: u64,
    /// False if older entries are missing, so counters begin with the amounts before the first stored entry.
    pub whole: bool,
    /// The number of calls: allowed reservations and denials.
    pub calls: u64,
    /// What was recorded. For a trace: as if nothing were denied.
    pub recorded: Side,
    /// The present rules, replayed in the same way: what the draft is compared with. Null for a trace.
    pub present: Option<Side>,
    pub under_draft: Side,
    pub newly_denied: Changed,
    pub newly_allowed: Changed,
    /// Calls that the draft allows, and that its groups with the enforcement `observe` would have denied.
    pub observed: Changed,
    /// Denied under both, but by other groups or for another reason.
    pub denied_otherwise: u64,
    /// Commits whose figures the draft cannot measure; the held amounts were charged.
    pub unmeasured: u64,
    /// Owners beyond the first 20000, whose own limits were not read: the quota of the limit group applies to them.
    pub unread_owners: u64,
    pub groups: Vec<GroupSum>,
    pub most_affected: Vec<UserSum>,
    /// Null for a trace.
    pub present_rules: Option<Agreement>,
    pub seconds: f64,
}

/// Steps as an amount in the unit.
pub fn in_unit(steps: i64, unit: Unit) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(steps), unit.decimals()).normalize())
}

pub fn cents(steps: i64) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(steps), CENT_DECIMALS).normalize())
}
