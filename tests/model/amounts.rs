//! Amounts of the model: integral steps of a group's unit, and how they are written.

use serde_json::{Value, json};

/// What groups that measure by `steps` assume for a call without that value.
pub const ESTIMATE: u64 = 100;

/// The unit of a group; it is the same in every plan.
pub fn unit(group: &str) -> &'static str {
    match group {
        "render" => "seconds",
        "price" => "cents",
        _ => "count",
    }
}

/// Decimal places of the unit.
pub fn decimals(group: &str) -> usize {
    match unit(group) {
        "seconds" => 3,
        "cents" => 6,
        _ => 0,
    }
}

/// The figure in steps of the group's unit, plus a quarter if the unit has decimals.
pub fn scaled(group: &str, figure: u64) -> u64 {
    let one = 10u64.pow(u32::try_from(decimals(group)).unwrap());
    figure * one + one / 4
}

/// `1.25` for 1250 with three decimals.
pub fn text_of(steps: u64, decimals: usize) -> String {
    let digits = format!("{steps:0>width$}", width = decimals + 1);
    let (whole, rest) = digits.split_at(digits.len() - decimals);
    let text = format!("{whole}.{rest}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An amount of a group as a JSON number.
pub fn number(steps: u64, group: &str) -> Value {
    serde_json::from_str(&text_of(steps, decimals(group))).unwrap()
}

/// Parses an amount of a group from JSON into steps.
pub fn steps_of(value: &Value, group: &str) -> Option<u64> {
    let text = value.as_number()?.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let decimals = decimals(group);
    assert!(rest.len() <= decimals && !rest.ends_with('0'), "{text} of {group}");
    format!("{whole}{rest:0<decimals$}").parse().ok()
}

/// A measure that sums weighted figures and rounds up to one step. Weights are tenths of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sum {
    pub per_step: u64,
    pub per_quantity: u64,
    pub per_event: u64,
}

impl Sum {
    pub fn amount(self, quantity: u64, steps: u64) -> u64 {
        (self.per_step * steps + self.per_quantity * quantity + self.per_event).div_ceil(10)
    }

    pub fn to_json(self, decimals: usize) -> Value {
        let weights = [("steps", self.per_step), ("quantity", self.per_quantity), ("event", self.per_event)];
        let given = weights.into_iter().filter(|(_, weight)| *weight > 0);
        let per: serde_json::Map<String, Value> =
            given.map(|(name, weight)| (name.to_owned(), json!(text_of(weight, decimals + 1)))).collect();
        match self.per_step {
            0 => json!({"per": per}),
            _ => json!({"per": per, "estimate": {"steps": ESTIMATE}}),
        }
    }
}
