//! The price table: cents per token and model, in exact decimals.

use std::collections::BTreeMap;
use std::path::Path;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Deserialize;

use super::exact::Exact;

/// Decimal places of cents in the gateway.
const CENTS_DECIMALS: u32 = 6;
/// Limits that keep every product with a token count exact.
const MAX_PRICE: Decimal = Decimal::ONE_THOUSAND;
const MAX_PRICE_DECIMALS: u32 = 12;

/// The text about the table in `--help`; a test compares it with the table.
pub const DEFAULT_TABLE_HELP: &str = "\
Price table: a JSON file of cents per token,
{\"chat-large\": {\"prompt_tokens\": \"0.00025\", \"completion_tokens\": \"0.001\"}}.

Default (example prices, those of examples/demo; cents per token):
  chat-large   prompt_tokens 0.00025    completion_tokens 0.001
  chat-small   prompt_tokens 0.000015   completion_tokens 0.00006

Each call is rounded up to 0.000001 cent, as the gateway does";

/// Prices of one model, in cents per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    prompt_tokens: Exact,
    completion_tokens: Exact,
}

/// Prices by model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTable(BTreeMap<String, Price>);

/// Why there is no price, in one line.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    #[error("cannot read the price table {path}: {why}")]
    Unreadable { path: String, why: String },
    #[error("price table {path}: {why}")]
    Bad { path: String, why: String },
    #[error("no price for model {model:?}; the price table has {known}")]
    UnknownModel { model: String, known: String },
}

impl PriceTable {
    /// Reads a table from a JSON file.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| PriceError::Unreadable { path: name.clone(), why: error.to_string() })?;
        Self::parse(&text).map_err(|why| PriceError::Bad { path: name, why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let prices: BTreeMap<String, Price> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (model, price) in &prices {
            for (field, Exact(value)) in
                [("prompt_tokens", price.prompt_tokens), ("completion_tokens", price.completion_tokens)]
            {
                if value.is_sign_negative() && !value.is_zero() || value > MAX_PRICE {
                    return Err(format!("{model}.{field} must be from 0 to {MAX_PRICE}"));
                }
                if value.scale() > MAX_PRICE_DECIMALS {
                    return Err(format!("{model}.{field} has more than {MAX_PRICE_DECIMALS} decimals"));
                }
            }
        }
        Ok(Self(prices))
    }

    /// The price of a model, or an error with the known models.
    pub fn price(&self, model: &str) -> Result<Price, PriceError> {
        self.0.get(model).copied().ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            PriceError::UnknownModel {
                model: model.to_owned(),
                known: match known.join(", ") {
                    names if names.is_empty() => "no models".to_owned(),
                    names => names,
                },
            }
        })
    }
}

/// The table documented in `--help`.
impl Default for PriceTable {
    fn default() -> Self {
        let price = |model: &str, prompt: Decimal, completion: Decimal| {
            let price = Price { prompt_tokens: Exact(prompt), completion_tokens: Exact(completion) };
            (model.to_owned(), price)
        };
        Self(BTreeMap::from([
            price("chat-large", Decimal::new(25, 5), Decimal::new(1, 3)),
            price("chat-small", Decimal::new(15, 6), Decimal::new(6, 5)),
        ]))
    }
}

impl Price {
    /// The cost of one call in cents, rounded up to the gateway's step.
    pub fn cents(&self, prompt_tokens: u32, completion_tokens: u32) -> Decimal {
        let exact = Decimal::from(prompt_tokens) * self.prompt_tokens.0
            + Decimal::from(completion_tokens) * self.completion_tokens.0;
        exact.round_dp_with_strategy(CENTS_DECIMALS, RoundingStrategy::ToPositiveInfinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cents(table: &PriceTable, model: &str, prompt: u32, completion: u32) -> String {
        let cents = table.price(model).unwrap().cents(prompt, completion);
        cents.normalize().to_string()
    }

    #[test]
    fn a_call_costs_its_tokens_times_the_prices() {
        let table = PriceTable::default();
        assert_eq!(cents(&table, "chat-large", 374, 44), "0.1375");
        assert_eq!(cents(&table, "chat-small", 374, 44), "0.00825");
        assert_eq!(cents(&table, "chat-large", 0, 0), "0");
    }

    #[test]
    fn the_whole_trace_costs_what_a_pocket_calculator_says() {
        let table = PriceTable::default();
        assert_eq!(cents(&table, "chat-large", 22_361_870, 4_088_665), "9679.1325");
    }

    #[test]
    fn a_finer_price_is_rounded_up_per_call() {
        let table = PriceTable::parse(r#"{"m": {"prompt_tokens": 0.0000003, "completion_tokens": "0"}}"#).unwrap();
        assert_eq!(cents(&table, "m", 1, 9), "0.000001");
        assert_eq!(cents(&table, "m", 10, 9), "0.000003");
        assert_eq!(cents(&table, "m", 11, 9), "0.000004");
    }

    #[test]
    fn the_dearest_call_stays_exact() {
        let table =
            PriceTable::parse(r#"{"m": {"prompt_tokens": "999.999999999999", "completion_tokens": "1000"}}"#).unwrap();
        assert_eq!(cents(&table, "m", u32::MAX, u32::MAX), "8589934589999.995706");
    }

    #[test]
    fn a_bad_table_is_refused_with_the_place() {
        for (text, expected) in [
            (r#"{"m": {"prompt_tokens": 1}}"#, "missing field `completion_tokens`"),
            (r#"{"m": {"prompt_tokens": 1, "completion_tokens": -1}}"#, "m.completion_tokens must be from 0 to 1000"),
            (r#"{"m": {"prompt_tokens": 1001, "completion_tokens": 1}}"#, "m.prompt_tokens must be from 0 to 1000"),
            (
                r#"{"m": {"prompt_tokens": "0.0000000000001", "completion_tokens": 1}}"#,
                "m.prompt_tokens has more than 12 decimals",
            ),
            (r#"{"m": {"prompt_tokens": "x", "completion_tokens": 1}}"#, "x is not a decimal"),
            (r#"{"m": {"prompt": 1}}"#, "unknown field `prompt`"),
            ("[]", "invalid type"),
        ] {
            let error = PriceTable::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_model_is_an_error_that_lists_the_known_ones() {
        assert_eq!(
            PriceTable::default().price("chat-huge").unwrap_err().to_string(),
            "no price for model \"chat-huge\"; the price table has chat-large, chat-small"
        );
    }

    #[test]
    fn help_states_the_default_table() {
        let PriceTable(prices) = PriceTable::default();
        for (model, price) in prices {
            let line = DEFAULT_TABLE_HELP.lines().find(|line| line.trim_start().starts_with(&model)).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (prompt, completion) = (price.prompt_tokens.0, price.completion_tokens.0);
            assert_eq!(words[2], prompt.to_string());
            assert_eq!(words[4], completion.to_string());
        }
    }
}
