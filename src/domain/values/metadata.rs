//! Flat metadata of an event. Values are stored and compared as text: `1` = `"1"`, `true` = `"true"`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::ids::has_control;

/// At most 32 keys of 1 to 64 bytes with scalar values of at most 256 bytes, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct Metadata(BTreeMap<String, String>);

const MOST_KEYS: usize = 32;
const MOST_KEY_BYTES: usize = 64;
const MOST_VALUE_BYTES: usize = 256;

impl Metadata {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is within the limit on keys.
    pub fn fits(&self) -> bool {
        self.0.len() <= MOST_KEYS
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Removes all other keys.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| wanted(name));
    }

    /// These values, overridden by `over`.
    pub fn merged(mut self, over: &Self) -> Self {
        self.0.extend(over.0.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }
}

impl TryFrom<BTreeMap<String, Value>> for Metadata {
    type Error = String;

    fn try_from(map: BTreeMap<String, Value>) -> Result<Self, String> {
        if map.len() > MOST_KEYS {
            return Err(format!("must have at most {MOST_KEYS} keys"));
        }
        let mut metadata = BTreeMap::new();
        for (name, value) in map {
            if !is_key(&name) {
                return Err(format!("must have keys of 1 to {MOST_KEY_BYTES} bytes without control characters"));
            }
            let text = scalar_text(value).ok_or_else(|| {
                format!("must have strings, numbers or booleans of at most {MOST_VALUE_BYTES} bytes without control characters as values, unlike `{name}`")
            })?;
            metadata.insert(name, text);
        }
        Ok(Self(metadata))
    }
}

/// Deserializes metadata that was within the limits when it was stored, or was merged since. Limits are not checked
/// again.
///
/// # Errors
/// Anything but a map of texts.
pub fn stored<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    BTreeMap::deserialize(from).map(Metadata)
}

/// Whether it is a valid metadata key.
pub fn is_key(name: &str) -> bool {
    !name.is_empty() && name.len() <= MOST_KEY_BYTES && !has_control(name)
}

/// The text of a scalar, if it is a valid metadata value.
pub fn scalar_text(value: Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (text.len() <= MOST_VALUE_BYTES && !has_control(&text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Metadata, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn scalars_compare_as_text() {
        let metadata = parse(json!({"a": 1, "b": true, "c": "x", "d": 0.25})).unwrap();
        assert_eq!(metadata.get("a"), Some("1"));
        assert_eq!(metadata.get("b"), Some("true"));
        assert_eq!(metadata.get("c"), Some("x"));
        assert_eq!(metadata.get("d"), Some("0.25"));
    }

    #[test]
    fn what_is_not_flat_or_too_much_is_refused() {
        let many: serde_json::Map<String, Value> = (0..33).map(|n| (format!("k{n}"), json!(1))).collect();
        for bad in [
            Value::Object(many),
            json!({"a": {"b": 1}}),
            json!({"a": [1]}),
            json!({"a": null}),
            json!({"": 1}),
            json!({"a\n": 1}),
            json!({"a": "\u{0}"}),
            json!({"a": "x".repeat(257)}),
            json!({"x".repeat(65): 1}),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_stored_is_read_beyond_the_bounds_of_the_door() {
        #[derive(Deserialize)]
        struct Kept {
            #[serde(deserialize_with = "stored")]
            metadata: Metadata,
        }
        let many: BTreeMap<String, String> = (0..64).map(|number| (format!("k{number}"), "1".to_owned())).collect();
        let kept: Kept = serde_json::from_value(json!({"metadata": many})).unwrap();
        assert_eq!(kept.metadata.len(), 64);
    }
}
