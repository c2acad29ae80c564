//! Formats a difference for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::remote::table::harmless;
use crate::service::configuration::apply::Applied;
use crate::service::configuration::draft::ChangeAction;
use crate::service::configuration::preview::{ChangeView, OverLimit};

/// The whole difference: what is created (`+`), changed (`~`) and deleted (`-`), what stays although the file does not
/// name it (`=`), and whom a lowered quota puts over the limit (`!`).
pub fn difference(applied: &Applied) -> String {
    let mut text = String::new();
    let preview = &applied.preview;
    preview.changes.iter().for_each(|change| report_change(change, &mut text));
    for target in &applied.unlisted {
        let _ = writeln!(text, "= {target} is not in the file and stays; --prune deletes it");
    }
    preview.over_limit.iter().for_each(|over| report_over(over, &mut text));
    if !preview.complete && !preview.over_limit.is_empty() {
        text.push_str("Not all users could be checked in time: more may be over their limit.\n");
    }
    text
}

fn report_change(change: &ChangeView, text: &mut String) {
    let sign = match change.action {
        ChangeAction::Create => '+',
        ChangeAction::Update => '~',
        ChangeAction::Delete => '-',
    };
    let _ = writeln!(text, "{sign} {}", change.target);
    for field in &change.fields {
        let (before, after) = (value(field.before.as_ref()), value(field.after.as_ref()));
        let _ = writeln!(text, "    {}: {before} → {after}", harmless(&field.path));
    }
}

fn report_over(over: &OverLimit, text: &mut String) {
    let number = |number: &crate::domain::values::number::Number| number.0.to_string();
    let before = over.quota_before.as_ref().map_or_else(|| "no limit".to_owned(), number);
    let users = match over.users {
        0 => "no user is over the limit".to_owned(),
        1 => "1 user is over the limit".to_owned(),
        users => format!("{users} users are over the limit"),
    };
    let (group, plan, after) = (&over.group_id, &over.plan_id, number(&over.quota_after));
    let _ = writeln!(text, "! {group} of plan {plan}: {before} → {after}, {users}");
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "(none)".to_owned(), |value| harmless(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_reads_line_by_line() {
        let applied: Applied = serde_json::from_value(json!({
            "applied": true, "complete": false, "unlisted": ["plan:other"],
            "changes": [
                {"target": "plan:free", "action": "create", "fields": []},
                {"target": "plan:pro", "action": "update", "fields": [
                    {"path": "groups.images.quota", "before": 40, "after": 20}, {"path": "name", "after": "x".repeat(200)}]},
                {"target": "plan:old", "action": "delete", "fields": []}],
            "overLimit": [{"planId": "pro", "groupId": "images", "quotaBefore": 40, "quotaAfter": 20, "users": 3}],
        }))
        .unwrap();
        let long = format!("\"{}\"", "x".repeat(200));
        let expected = format!(
            "+ plan:free\n~ plan:pro\n    groups.images.quota: 40 → 20\n    name: (none) → {long}\n- plan:old\n\
             = plan:other is not in the file and stays; --prune deletes it\n\
             ! images of plan pro: 40 → 20, 3 users are over the limit\n\
             Not all users could be checked in time: more may be over their limit.\n"
        );
        assert_eq!(difference(&applied), expected);
    }
}
