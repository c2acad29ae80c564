//! Differences of two JSON documents, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One field that differs; absent on the side that does not have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// A path such as `groups.lg_pro.quota`: items of a list are named by their ID if they have one.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub after: Option<Value>,
}

/// The fields that differ, in the order of `before`, then those that only `after` has.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let parts = before.zip(after).and_then(|(before, after)| Some((children(before)?, children(after)?)));
    let Some((old, new)) = parts else {
        found.push(Difference { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        return;
    };
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let (olds, news) = (&old, &new);
    let find = |side: &[(String, &'_ Value)], name: &str| side.iter().position(|(known, _)| known == name);
    for (name, value) in olds {
        let other = find(news, name).map(|place| news[place].1);
        compare(&at(name), Some(value), other, found);
    }
    for (name, value) in news.iter().filter(|(name, _)| find(olds, name).is_none()) {
        compare(&at(name), None, Some(value), found);
    }
    // Both sides have the same items in a different order.
    let order = |side: &[(String, &Value)]| side.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if before.is_some_and(Value::is_array) && same_members(&order(olds), &order(news)) && order(olds) != order(news) {
        let list = |names: Vec<String>| Some(Value::from(names));
        found.push(Difference { path: at("(order)"), before: list(order(olds)), after: list(order(news)) });
    }
}

fn same_members(one: &[String], other: &[String]) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    sorted(one) == sorted(other)
}

/// An object's fields, or a list's items by their IDs; None for values that are compared as a whole.
fn children(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Object(fields) => Some(fields.iter().map(|(name, value)| (name.clone(), value)).collect()),
        Value::Array(items) => {
            items.iter().map(|item| Some((item.get("id")?.as_str()?.to_owned(), item))).collect::<Option<Vec<_>>>()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(before: Value, after: Value) -> Vec<String> {
        let text = |side: Option<Value>| side.map_or_else(|| "–".to_owned(), |value| value.to_string());
        let line = |found: Difference| format!("{}: {} → {}", found.path, text(found.before), text(found.after));
        differences(&before, &after).into_iter().map(line).collect()
    }

    #[test]
    fn differing_fields_are_reported_by_their_path() {
        let plan =
            |quota: u64| json!({"name": "a", "groups": [{"id": "x", "quota": quota, "matches": [{"event": "e"}]}]});
        for (before, after, expected) in [
            (plan(20), plan(20), vec![]),
            (plan(20), plan(40), vec!["groups.x.quota: 20 → 40"]),
            (json!({"a": 1}), json!({"b": null}), vec!["a: 1 → –", "b: – → null"]),
            (json!({"a": [1, 2]}), json!({"a": [2]}), vec!["a: [1,2] → [2]"]),
            (
                json!({"g": [{"id": "x"}, {"id": "y"}]}),
                json!({"g": [{"id": "y"}, {"id": "x"}]}),
                vec![r#"g.(order): ["x","y"] → ["y","x"]"#],
            ),
            (json!({"g": []}), json!({"g": [{"id": "x"}]}), vec![r#"g.x: – → {"id":"x"}"#]),
        ] {
            assert_eq!(found(before.clone(), after.clone()), expected, "{before} {after}");
        }
    }
}
