//! What a draft would have changed: figures, without how they are printed.

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::tally::Changed;
use crate::domain::values::amount::Unit;
use crate::domain::values::number::Number;

/// Decimals of a cent that amounts are exact to.
const CENT_DECIMALS: u32 = 6;

/// How calls were, or would be, decided.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifSide)]
pub struct Side {
    pub allowed: u64,
    pub denied: u64,
    /// What was charged, in cents: of each call the largest charge in a group of cents.
    #[schema(value_type = Option<f64>)]
    pub cents: Option<Number>,
}

/// A group's use, in its unit.
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

/// A user whom the draft would have met.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifUser)]
pub struct UserSum {
    pub user_id: String,
    pub newly_denied: u64,
    pub newly_allowed: u64,
    /// Under the present rules; of a trace as if nothing were denied.
    #[schema(value_type = f64)]
    pub cents_present: Number,
    #[schema(value_type = f64)]
    pub cents_draft: Number,
}

/// How far the replay itself is from what happened: the present rules, replayed in the same way.
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

/// What a draft would have changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhatifReport)]
pub struct Report {
    /// What was tried.
    pub draft: String,
    /// Where the calls come from.
    pub source: String,
    /// The first and the last thing that was replayed; null if there was nothing.
    pub since: Option<String>,
    pub until: Option<String>,
    /// Entries of the ledger and of the denials, or rows of the trace.
    pub entries: u64,
    /// False: older entries are gone, so counters begin with what stood in them before the first that is left.
    pub whole: bool,
    /// Calls that asked: allowed reservations and denials.
    pub calls: u64,
    /// What happened. Of a trace: as if nothing were denied.
    pub recorded: Side,
    /// The present rules, replayed in the same way: what the draft is compared with. Null for a trace.
    pub present: Option<Side>,
    pub under_draft: Side,
    pub newly_denied: Changed,
    pub newly_allowed: Changed,
    /// Denied under both, but by other groups or for another reason.
    pub denied_otherwise: u64,
    /// Settled figures that the draft cannot measure: what was held was charged.
    pub unmeasured: u64,
    pub groups: Vec<GroupSum>,
    pub most_affected: Vec<UserSum>,
    /// Null for a trace.
    pub present_rules: Option<Agreement>,
    pub seconds: f64,
}

/// Steps in the unit.
pub fn in_unit(steps: i64, unit: Unit) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(steps), unit.decimals()).normalize())
}

pub fn cents(steps: i64) -> Number {
    Number(Decimal::from_i128_with_scale(i128::from(steps), CENT_DECIMALS).normalize())
}
