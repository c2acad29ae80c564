//! Decimal numbers in JSON: read from JSON numbers or decimal strings, written as JSON numbers, always exact.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::amount::{AmountError, parse_decimal};

/// A decimal number with at most 12 decimal places; input must not be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub Decimal);

/// How a [`Number`] may be written.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum NumberOrText {
    Number(f64),
    /// Decimal digits, such as `"0.00025"`.
    Text(String),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parsed = match Value::deserialize(deserializer)? {
            Value::Number(number) => parse_decimal(number.as_str()),
            Value::String(text) => parse_decimal(&text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(AmountError::NotANumber),
        };
        parsed.map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(whole) if self.0.is_integer() => serializer.serialize_u64(whole),
            _ => serde_json::Number::from_str(&self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer),
        }
    }
}

/// For fields where `null` differs from absence: `Some(None)` is an explicit null.
pub fn explicit_null<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_as_numbers_or_text_and_go_out_as_numbers() {
        for (given, text) in [("4", "4"), ("\"4\"", "4"), ("0.25", "0.25"), ("\"1e2\"", "100"), ("1000.50", "1000.5")] {
            let number: Number = serde_json::from_str(given).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
        for bad in ["true", "null", "[]", "\"x\"", "-1", "1e400"] {
            assert!(serde_json::from_str::<Number>(bad).is_err(), "{bad}");
        }
    }
}
