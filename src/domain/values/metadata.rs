//! Flat metadata of an event. Values are stored and compared as text: `1` = `"1"`, `true` = `"true"`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::ids::has_control;

/// At most 32 keys of 1 to 64 bytes with scalar values of at most 256 bytes, without control characters. Copies share
/// their values until one changes, since many entries of the ledger have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(
    /// None without keys.
    Option<Arc<BTreeMap<String, String>>>,
);

static NO_KEYS: BTreeMap<String, String> = BTreeMap::new();

const MOST_KEYS: usize = 32;
const MOST_KEY_BYTES: usize = 64;
const MOST_VALUE_BYTES: usize = 256;

impl Metadata {
    fn of(map: BTreeMap<String, String>) -> Self {
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }

    fn map(&self) -> &BTreeMap<String, String> {
        self.0.as_deref().unwrap_or(&NO_KEYS)
    }

    /// To insert; others that share the values keep theirs.
    fn own_map(&mut self) -> &mut BTreeMap<String, String> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.map().get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: String) {
        self.own_map().insert(name.to_owned(), value);
    }

    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether it is within the limit on keys.
    pub fn fits(&self) -> bool {
        self.len() <= MOST_KEYS
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.map().iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Removes all other keys.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        if self.iter().all(|(name, _)| wanted(name)) {
            return;
        }
        let rest = self.iter().filter(|(name, _)| wanted(name));
        *self = Self::of(rest.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    }

    /// These values, overridden by `over`.
    pub fn merged(mut self, over: &Self) -> Self {
        match (self.is_empty(), over.is_empty()) {
            (_, true) => {}
            (true, false) => self = over.clone(),
            (false, false) => {
                self.own_map().extend(over.map().iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        self
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.map().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries)
    }
}

/// Checks each entry where it is read.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Metadata;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Metadata, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, Box<RawValue>>()? {
            if !is_key(&name) {
                let message = format!("must have keys of 1 to {MOST_KEY_BYTES} bytes without control characters");
                return Err(A::Error::custom(message));
            }
            let text = text_of(&value).ok_or_else(|| {
                A::Error::custom(format_args!("must have strings, numbers or booleans of at most {MOST_VALUE_BYTES} bytes without control characters as values, unlike `{name}`"))
            })?;
            map.insert(name, text);
        }
        if map.len() > MOST_KEYS {
            return Err(A::Error::custom(format_args!("must have at most {MOST_KEYS} keys")));
        }
        Ok(Metadata::of(map))
    }
}

/// Deserializes metadata that was within the limits when it was stored, or was merged since. Limits are not checked
/// again.
///
/// # Errors
/// Anything but a map of texts.
pub fn stored<'de, D: Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    BTreeMap::deserialize(from).map(Metadata::of)
}

/// Whether it is a valid metadata key.
pub fn is_key(name: &str) -> bool {
    !name.is_empty() && name.len() <= MOST_KEY_BYTES && !has_control(name)
}

/// The text of a scalar in JSON, if it is a valid metadata value. Most numbers are kept as they were sent; those with an
/// exponent are written in one way.
fn text_of(json: &RawValue) -> Option<String> {
    let json = json.get();
    let is_plain = json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && !json.contains(['e', 'E']);
    match is_plain {
        true => Some(json.to_owned()).filter(|text| text.len() <= MOST_VALUE_BYTES),
        false => scalar_text(serde_json::from_str(json).ok()?),
    }
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
    fn a_number_is_kept_as_it_was_sent_but_for_its_exponent() {
        for (sent, kept) in [("7", "7"), ("-0", "-0"), ("1.50", "1.50"), ("1E2", "1e+2"), ("25e-1", "25e-1")] {
            let metadata: Metadata = serde_json::from_str(&format!("{{\"a\": {sent} }}")).unwrap();
            assert_eq!(metadata.get("a"), Some(kept));
            let value: Value = serde_json::from_str(sent).unwrap();
            assert_eq!(scalar_text(value).as_deref(), Some(kept));
        }
        let long = format!("{{\"a\": {}}}", "1".repeat(257));
        assert!(serde_json::from_str::<Metadata>(&long).is_err());
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
    fn a_copy_changes_alone() {
        let whole = parse(json!({"a": 1, "b": 2})).unwrap();
        let (mut set, mut cut, mut rest) = (whole.clone(), whole.clone(), whole.clone());
        set.set("a", "3".to_owned());
        cut.retain(|name| name == "a");
        rest.retain(|_| true);
        let merged = whole.clone().merged(&parse(json!({"b": 4, "c": 5})).unwrap());
        for (metadata, expected) in [
            (&whole, json!({"a": "1", "b": "2"})),
            (&set, json!({"a": "3", "b": "2"})),
            (&cut, json!({"a": "1"})),
            (&rest, json!({"a": "1", "b": "2"})),
            (&merged, json!({"a": "1", "b": "4", "c": "5"})),
            (&whole.clone().merged(&Metadata::default()), json!({"a": "1", "b": "2"})),
            (&Metadata::default().merged(&whole), json!({"a": "1", "b": "2"})),
        ] {
            assert_eq!(serde_json::to_value(metadata).unwrap(), expected);
        }
        cut.retain(|_| false);
        assert_eq!((cut.is_empty(), &cut), (true, &Metadata::default()));
        assert_eq!(parse(json!({})).unwrap(), Metadata::default());
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
