//! Measures: the amount of a group's unit that one call takes.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::domain::values::amount::{Amount, AmountError, Unit, parse_decimal};
use crate::domain::values::metadata::Metadata;

/// The figures of a call: its quantity, if given, and its metadata.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    pub quantity: Option<Decimal>,
    pub metadata: &'a Metadata,
}

/// How to treat a figure that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Use the rule's estimate; without one the call is rejected.
    Estimate,
    /// Use 0: increments measure only the figures that they have.
    Zero,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    Quantity,
    /// 1 per call.
    Event,
    Weighted(Weighted),
}

/// A sum of numeric metadata fields (or the words `quantity`, `event`) times exact weights, rounded up to the unit's
/// step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    pub per: BTreeMap<String, Decimal>,
    pub estimate: BTreeMap<String, Decimal>,
}

/// A figure that is missing or not a valid amount of the unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MeasureError {
    /// `quantity` or `metadata.<name>`.
    pub field: String,
    pub message: String,
}

impl MeasureError {
    fn new(field: &str, message: impl Into<String>) -> Self {
        let field = if field == "quantity" { field.to_owned() } else { format!("metadata.{field}") };
        Self { field, message: message.into() }
    }
}

impl Measure {
    /// # Errors
    /// A needed figure is neither given nor estimated, is not a number, is too fine for the unit, or too large.
    pub fn amount(&self, unit: Unit, figures: Figures<'_>, missing: Missing) -> Result<Amount, MeasureError> {
        match self {
            Self::Quantity => {
                let quantity = figures.quantity.unwrap_or_default();
                Amount::exactly(quantity, unit)
                    .map_err(|error| MeasureError::new("quantity", format!("{error} (unit {unit})")))
            }
            Self::Event => Ok(Amount::one(unit)),
            Self::Weighted(weighted) => weighted.amount(unit, figures, missing),
        }
    }

    /// Counts calls: charged once per reservation, refunded only with everything else.
    pub fn counts_calls(&self) -> bool {
        matches!(self, Self::Event)
    }
}

impl Weighted {
    fn amount(&self, unit: Unit, figures: Figures<'_>, missing: Missing) -> Result<Amount, MeasureError> {
        let mut sum = Decimal::ZERO;
        let mut largest = (Decimal::ZERO, "quantity");
        for (field, weight) in &self.per {
            let value = match self.given(field, figures)? {
                Some(value) => value,
                None => match (missing, self.estimate.get(field)) {
                    (Missing::Zero, _) => Decimal::ZERO,
                    (Missing::Estimate, Some(estimate)) => *estimate,
                    (Missing::Estimate, None) => {
                        return Err(MeasureError::new(
                            field,
                            "is required to measure this call, since it has no estimate",
                        ));
                    }
                },
            };
            let too_large = || MeasureError::new(field, AmountError::TooLarge.to_string());
            let product = exact_product(value, *weight).ok_or_else(too_large)?;
            sum = sum.checked_add(product).ok_or_else(too_large)?;
            if product > largest.0 && field != "event" {
                largest = (product, field);
            }
        }
        Amount::rounded_up(sum, unit).map_err(|error| MeasureError::new(largest.1, error.to_string()))
    }

    fn given(&self, field: &str, figures: Figures<'_>) -> Result<Option<Decimal>, MeasureError> {
        match field {
            "event" => Ok(Some(Decimal::ONE)),
            "quantity" => Ok(figures.quantity),
            _ => figures
                .metadata
                .get(field)
                .map(|text| parse_decimal(text).map_err(|error| MeasureError::new(field, error.to_string())))
                .transpose(),
        }
    }
}

/// None if the product is too large to be exact (28 digits).
fn exact_product(left: Decimal, right: Decimal) -> Option<Decimal> {
    let (left, right) = (left.normalize(), right.normalize());
    let product = left.checked_mul(right)?;
    let exact = product.is_zero() || product.scale() == left.scale() + right.scale();
    exact.then_some(product)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn weights(pairs: &[(&str, &str)]) -> BTreeMap<String, Decimal> {
        pairs.iter().map(|(name, weight)| ((*name).to_owned(), parse_decimal(weight).unwrap())).collect()
    }

    fn priced() -> Measure {
        Measure::Weighted(Weighted {
            per: weights(&[("prompt_tokens", "0.00025"), ("completion_tokens", "0.001"), ("event", "0.1")]),
            estimate: weights(&[("completion_tokens", "4000")]),
        })
    }

    fn measure(
        measure: &Measure,
        unit: Unit,
        quantity: Option<i64>,
        metadata: serde_json::Value,
        missing: Missing,
    ) -> Result<u64, String> {
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        let figures = Figures { quantity: quantity.map(Decimal::from), metadata: &metadata };
        measure.amount(unit, figures, missing).map(Amount::steps).map_err(|error| error.field)
    }

    #[test]
    fn measures_take_what_they_name() {
        let weighted = priced();
        for (given, unit, quantity, metadata, missing, expected) in [
            (&Measure::Quantity, Unit::Tokens, Some(4000), json!({}), Missing::Estimate, Ok(4000)),
            (&Measure::Quantity, Unit::Tokens, None, json!({}), Missing::Zero, Ok(0)),
            (&Measure::Event, Unit::Count, Some(4000), json!({}), Missing::Estimate, Ok(1)),
            (&Measure::Event, Unit::Seconds, Some(4000), json!({}), Missing::Estimate, Ok(1000)),
            // 100 × 0.00025 + 4000 × 0.001 + 0.1 = 4.125 cents
            (&weighted, Unit::Cents, Some(1), json!({"prompt_tokens": 100}), Missing::Estimate, Ok(4_125_000)),
            (
                &weighted,
                Unit::Cents,
                Some(1),
                json!({"prompt_tokens": "100", "completion_tokens": 10}),
                Missing::Estimate,
                Ok(135_000),
            ),
            (&weighted, Unit::Cents, None, json!({"completion_tokens": 10}), Missing::Zero, Ok(110_000)),
            (&weighted, Unit::Cents, Some(1), json!({}), Missing::Estimate, Err("metadata.prompt_tokens".to_owned())),
            (
                &weighted,
                Unit::Cents,
                Some(1),
                json!({"prompt_tokens": "x"}),
                Missing::Estimate,
                Err("metadata.prompt_tokens".to_owned()),
            ),
            (
                &weighted,
                Unit::Cents,
                Some(1),
                json!({"prompt_tokens": -1}),
                Missing::Zero,
                Err("metadata.prompt_tokens".to_owned()),
            ),
            // rounded up to whole tokens
            (&weighted, Unit::Tokens, Some(1), json!({"prompt_tokens": 1}), Missing::Estimate, Ok(5)),
        ] {
            assert_eq!(measure(given, unit, quantity, metadata.clone(), missing), expected, "{given:?} {metadata}");
        }
    }

    #[test]
    fn a_product_that_would_be_rounded_is_refused() {
        let fine = Measure::Weighted(Weighted { per: weights(&[("a", "0.000000000009")]), estimate: BTreeMap::new() });
        let huge = json!({"a": "9999999999999999999.000000001"});
        assert!(measure(&fine, Unit::Cents, None, huge, Missing::Zero).is_err());
    }
}
