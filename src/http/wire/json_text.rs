//! Appends values as JSON to a text.

use crate::domain::time::window::{TimeMs, TimeText};
use crate::domain::values::amount::{Amount, Unit};

/// Appends a field's name and its amount.
pub(super) fn push_amount(name: &str, amount: Option<Amount>, unit: Unit, json: &mut String) {
    json.push_str(name);
    match amount {
        // A decimal number is always valid JSON.
        Some(amount) => amount.push_text(unit, json),
        None => json.push_str("null"),
    }
}

pub(super) fn push_optional_time(time_ms: Option<TimeMs>, json: &mut String) {
    match time_ms {
        Some(time_ms) => push_time(time_ms, json),
        None => json.push_str("null"),
    }
}

pub(super) fn push_time(time_ms: TimeMs, json: &mut String) {
    json.push('"');
    json.push_str(TimeText::of(time_ms).as_str());
    json.push('"');
}

pub(super) fn push_string(text: &str, json: &mut String) {
    let is_plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if is_plain {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        // A text is always valid JSON.
        json.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}
