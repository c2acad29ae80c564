//! Exact decimals in JSON: numbers stay text on the way in and out, never floats.

use std::fmt;

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decimal that is a JSON number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Exact(pub Decimal);

impl Exact {
    /// Parses `"0.00025"`, `"12"` or `"2.5e-4"`; None for anything that a decimal would have to round.
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::from_str_exact(text)
            .or_else(|_| Decimal::from_scientific(text))
            .ok()
            .map(|value| Self(value.normalize()))
    }
}

impl From<u64> for Exact {
    fn from(value: u64) -> Self {
        Self(Decimal::from(value))
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::String(text) => text,
            other => return Err(D::Error::custom(format!("{other} is not a decimal"))),
        };
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text} is not a decimal")))
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.normalize().to_string();
        let number: serde_json::Number = text.parse().map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

/// For people: `22,361,870` or `9,679.1325`.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.normalize().to_string();
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text.as_str(), None),
        };
        let digits = whole.trim_start_matches('-');
        let mut out = String::from(if whole.len() > digits.len() { "-" } else { "" });
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        if let Some(fraction) = fraction {
            out.push('.');
            out.push_str(fraction);
        }
        f.pad(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_grouped_digits() {
        for (text, shown) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("22361870", "22,361,870"),
            ("9679.132500", "9,679.1325"),
            ("-1234567.5", "-1,234,567.5"),
        ] {
            assert_eq!(Exact::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn json_numbers_and_strings_are_read_without_loss() {
        for text in ["9007199254740991", "0.000001", "\"0.00025\"", "1000000000.000001"] {
            let exact: Exact = serde_json::from_str(text).unwrap();
            let back = serde_json::to_string(&exact).unwrap();
            assert_eq!(back, text.trim_matches('"'));
        }
        let exact: Exact = serde_json::from_str("2.5e-4").unwrap();
        assert_eq!(serde_json::to_string(&exact).unwrap(), "0.00025");
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["\"abc\"", "true", "null", "1e400", "\"0.1234567890123456789012345678901\""] {
            assert!(serde_json::from_str::<Exact>(text).is_err(), "{text}");
        }
    }
}
