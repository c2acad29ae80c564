//! JSON written as YAML, which [`crate::cli::config_file`] reads as the same JSON.

use serde_json::Value;

/// Words that some version of YAML reads as something else than a text.
const RESERVED: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// The value as a YAML document.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text
}

/// Writes a block that begins a line. A value without parts is written in the line.
fn write(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (place, (name, value)) in fields.iter().enumerate() {
                // The first field of a list's item follows its dash.
                if place > 0 || depth == 0 || text.ends_with('\n') {
                    indent(depth, text);
                }
                text.push_str(&scalar(name));
                text.push(':');
                below(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, text);
                text.push_str("- ");
                match item {
                    Value::Object(fields) if !fields.is_empty() => write(item, depth + 1, text),
                    simple => {
                        text.push_str(&inline(simple));
                        text.push('\n');
                    }
                }
            }
        }
        simple => {
            text.push_str(&inline(simple));
            text.push('\n');
        }
    }
}

/// A field's value: in its line if it is short, else indented below.
fn below(value: &Value, depth: usize, text: &mut String) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    };
    if is_block {
        text.push('\n');
        write(value, depth + 1, text);
    } else {
        text.push(' ');
        text.push_str(&inline(value));
        text.push('\n');
    }
}

fn indent(depth: usize, text: &mut String) {
    text.push_str(&"  ".repeat(depth));
}

/// A value without line breaks.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}: {}", scalar(name), inline(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A text without quotes where it needs none.
fn scalar(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    let is_word = text.starts_with(|letter: char| letter.is_ascii_alphabetic()) && text.chars().all(is_plain);
    if is_word && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word)) { text.to_owned() } else { quoted(text) }
}

/// JSON's quotes and escapes are those of YAML, which escapes more.
fn quoted(text: &str) -> String {
    let is_printable = |letter: char| !letter.is_control() && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let json = Value::from(text).to_string();
    let escape = |letter: char| {
        if is_printable(letter) && letter as u32 & 0xfffe != 0xfffe {
            letter.to_string()
        } else {
            format!("\\U{:08x}", letter as u32)
        }
    };
    json.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config_file::ConfigFile;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_document_reads_like_one_written_by_hand() {
        let plan = json!({"plans": [{"id": "free", "name": "Free: 20", "groups": [
            {"id": "images", "quota": 20, "alerts": [50, 100], "scope": ["user"], "matches": [{"event": "image.*", "metadata": {}}]}]}],
            "policies": [], "app": {"defaultPlanId": null, "true": "true"}});
        let expected = "app:\n  defaultPlanId: null\n  \"true\": \"true\"\nplans:\n  - groups:\n      - alerts: [50, 100]\n        \
                        id: images\n        matches:\n          - event: \"image.*\"\n            metadata: {}\n        quota: 20\n        \
                        scope: [user]\n    id: free\n    name: \"Free: 20\"\npolicies: []\n";
        assert_eq!(text(&plan), expected);
        assert_eq!(ConfigFile::parse(expected).unwrap().document, plan);
    }

    /// Values as configurations have them, and odder ones; numbers keep their digits.
    fn value() -> impl Strategy<Value = Value> {
        let name = "[a-z]{1,4}|true|no|\\PC{0,6}|- a|a: b|#x|[\\[{&*!|>'\"%@`]{1,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{1,6})?".prop_map(|digits| serde_json::from_str(&digits).unwrap()),
            name.prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..5)
                    .prop_map(|fields| fields.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_as_the_same(value in value()) {
            let written = text(&value);
            prop_assert_eq!(ConfigFile::parse(&written).map(|file| file.document), Ok(value), "{}", written);
        }
    }
}
