//! How a difference reads.

use std::fmt::Write as _;

use serde_json::Value;

use crate::service::configuration::apply::Applied;
use crate::service::configuration::draft::ChangeAction;
use crate::service::configuration::preview::{ChangeView, OverLimit};

/// A longer value is cut.
const MOST_CHARS: usize = 120;

pub fn difference(applied: &Applied, dry_run: bool) -> String {
    let mut text = String::new();
    let preview = &applied.preview;
    preview.changes.iter().for_each(|change| tell_change(change, &mut text));
    preview.over_limit.iter().for_each(|over| tell_over(over, &mut text));
    if !preview.complete {
        text.push_str("There were too many users to look at all of them: more may be over their limit.\n");
    }
    text.push_str(match (preview.changes.is_empty(), dry_run) {
        (true, _) => "Nothing to change: the configuration matches the file.\n",
        (false, true) => "Dry run: nothing was changed.\n",
        (false, false) => "Applied.\n",
    });
    text
}

fn tell_change(change: &ChangeView, text: &mut String) {
    let sign = match change.action {
        ChangeAction::Create => '+',
        ChangeAction::Update => '~',
        ChangeAction::Delete => '-',
    };
    let _ = writeln!(text, "{sign} {}", change.target);
    for field in &change.fields {
        let (before, after) = (value(field.before.as_ref()), value(field.after.as_ref()));
        let _ = writeln!(text, "    {}: {before} → {after}", field.path);
    }
}

fn tell_over(over: &OverLimit, text: &mut String) {
    let number = |number: &crate::domain::values::number::Number| number.0.to_string();
    let before = over.quota_before.as_ref().map_or_else(|| "no limit".to_owned(), number);
    let users = match over.users {
        0 => "no user is over it".to_owned(),
        1 => "1 user is over it".to_owned(),
        users => format!("{users} users are over it"),
    };
    let (group, plan, after) = (&over.group_id, &over.plan_id, number(&over.quota_after));
    let _ = writeln!(text, "! {group} of plan {plan}: {before} → {after}, {users}");
}

fn value(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "(none)".to_owned(), Value::to_string);
    match text.char_indices().nth(MOST_CHARS) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_reads_line_by_line() {
        let applied: Applied = serde_json::from_value(json!({
            "applied": true, "complete": false,
            "changes": [
                {"target": "plan:free", "action": "create", "fields": []},
                {"target": "plan:pro", "action": "update", "fields": [
                    {"path": "groups.images.quota", "before": 40, "after": 20}, {"path": "name", "after": "x".repeat(200)}]},
                {"target": "plan:old", "action": "delete", "fields": []}],
            "overLimit": [{"planId": "pro", "groupId": "images", "quotaBefore": 40, "quotaAfter": 20, "users": 3}],
        }))
        .unwrap();
        let long = format!("\"{}…", "x".repeat(119));
        let expected = format!(
            "+ plan:free\n~ plan:pro\n    groups.images.quota: 40 → 20\n    name: (none) → {long}\n- plan:old\n\
             ! images of plan pro: 40 → 20, 3 users are over it\n\
             There were too many users to look at all of them: more may be over their limit.\n"
        );
        assert_eq!(difference(&applied, false), format!("{expected}Applied.\n"));
        assert_eq!(difference(&applied, true), format!("{expected}Dry run: nothing was changed.\n"));
    }
}
