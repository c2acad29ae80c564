//! Measures: the amount of a group's unit that one call takes.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::estimate::{Estimate, LearnedValues};
use crate::domain::values::amount::{Amount, AmountError, Unit, parse_decimal};
use crate::domain::values::metadata::Metadata;

/// The figures of a call: its quantity, if given, and its metadata.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    pub quantity: Option<Decimal>,
    pub metadata: &'a Metadata,
    /// What learned estimates say about figures that are missing.
    pub learned: &'a LearnedValues,
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
    pub estimate: BTreeMap<String, Estimate>,
}

/// How an amount grows with one figure of the call. Amounts are rounded up to the unit's step, so this counts in parts of
/// a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slope {
    /// What each further one of the figure adds.
    pub each: u128,
    /// How much the present amount was rounded up.
    pub spare: u64,
}

impl Slope {
    /// The parts of a step: weights have at most 12 decimal places.
    pub const PARTS: u128 = 1_000_000_000_000;

    /// What `more` of the figure add to the amount.
    pub fn added(self, more: u64) -> Amount {
        let parts = self.each.saturating_mul(u128::from(more)).saturating_sub(u128::from(self.spare));
        let steps = u64::try_from(parts.div_ceil(Self::PARTS)).ok();
        steps.and_then(|steps| Amount::from_steps(steps).ok()).unwrap_or(Amount::LARGEST)
    }

    /// How much more of the figure fits into `room`.
    pub fn fitting(self, room: Amount) -> u64 {
        let parts = u128::from(room.steps()) * Self::PARTS + u128::from(self.spare);
        parts.checked_div(self.each).and_then(|more| u64::try_from(more).ok()).unwrap_or(u64::MAX)
    }
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

    /// How the amount grows with the figure `field`; None if it does not depend on it.
    ///
    /// # Errors
    /// As [`Self::amount`].
    pub fn slope(&self, unit: Unit, figures: Figures<'_>, field: &str) -> Result<Option<Slope>, MeasureError> {
        match self {
            Self::Quantity => Ok((field == "quantity").then(|| Slope { each: parts(Decimal::ONE, unit), spare: 0 })),
            Self::Event => Ok(None),
            Self::Weighted(weighted) => {
                let Some(weight) = weighted.per.get(field) else { return Ok(None) };
                Ok(Some(Slope { each: parts(*weight, unit), spare: weighted.spare(unit, figures)? }))
            }
        }
    }

    /// The estimate for a figure.
    pub fn estimate(&self, field: &str, learned: &LearnedValues) -> Option<Decimal> {
        match self {
            Self::Quantity | Self::Event => None,
            Self::Weighted(weighted) => weighted.estimate.get(field).map(|estimate| estimate.value(field, learned)),
        }
    }

    /// Counts calls: charged once per reservation, refunded only with everything else.
    pub fn counts_calls(&self) -> bool {
        matches!(self, Self::Event)
    }
}

/// A weight in parts of the unit's step.
fn parts(weight: Decimal, unit: Unit) -> u128 {
    let weight = weight.normalize();
    // An amount with a weight too large for this is rejected before.
    let scale = 10_u128.checked_pow((12 + unit.decimals()).saturating_sub(weight.scale()));
    let parts = u128::try_from(weight.mantissa()).ok().zip(scale).and_then(|(digits, scale)| digits.checked_mul(scale));
    parts.unwrap_or(u128::MAX)
}

/// An unrounded amount, and the figure that contributes most to it.
struct Sum<'a> {
    total: Decimal,
    largest: &'a str,
}

impl Weighted {
    fn amount(&self, unit: Unit, figures: Figures<'_>, missing: Missing) -> Result<Amount, MeasureError> {
        if let Some(amount) = self.of_whole_figures(unit, figures) {
            return Ok(amount);
        }
        let Sum { total, largest } = self.sum(figures, missing)?;
        Amount::rounded_up(total, unit).map_err(|error| MeasureError::new(largest, error.to_string()))
    }

    /// The amount of most calls, computed with integers: all figures are in the metadata and have up to 15 digits. None
    /// for other calls.
    fn of_whole_figures(&self, unit: Unit, figures: Figures<'_>) -> Option<Amount> {
        let mut total = 0_u128;
        for (field, weight) in &self.per {
            let figure = match field.as_str() {
                "event" => 1,
                "quantity" => return None,
                _ => whole(figures.metadata.get(field)?)?,
            };
            total = total.checked_add(parts(*weight, unit).checked_mul(figure.into())?)?;
        }
        let steps = u64::try_from(total.div_ceil(Slope::PARTS)).ok()?;
        Amount::from_steps(steps).ok().filter(|amount| *amount <= unit.most())
    }

    /// How much the amount is rounded up, in parts of a step.
    fn spare(&self, unit: Unit, figures: Figures<'_>) -> Result<u64, MeasureError> {
        let Sum { total, largest } = self.sum(figures, Missing::Estimate)?;
        let steps = total.checked_mul(Decimal::from(Amount::one(unit).steps()));
        let steps = steps.ok_or_else(|| MeasureError::new(largest, AmountError::TooLarge.to_string()))?;
        let spare = (steps.ceil() - steps).checked_mul(Decimal::from_i128_with_scale(1_000_000_000_000, 0));
        Ok(spare.and_then(|spare| u64::try_from(spare.floor()).ok()).unwrap_or(0))
    }

    fn sum(&self, figures: Figures<'_>, missing: Missing) -> Result<Sum<'_>, MeasureError> {
        let mut sum = Decimal::ZERO;
        let mut largest = (Decimal::ZERO, "quantity");
        for (field, weight) in &self.per {
            let value = match self.given(field, figures)? {
                Some(value) => value,
                None => match (missing, self.estimate.get(field)) {
                    (Missing::Zero, _) => Decimal::ZERO,
                    (Missing::Estimate, Some(estimate)) => estimate.value(field, figures.learned),
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
        Ok(Sum { total: sum, largest: largest.1 })
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

/// A number of up to 15 digits and nothing else.
fn whole(text: &str) -> Option<u64> {
    let is_plain = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
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
    use crate::domain::configuration::estimate::LearnedEstimate;
    use proptest::prelude::*;
    use serde_json::json;

    fn weights(pairs: &[(&str, &str)]) -> BTreeMap<String, Decimal> {
        pairs.iter().map(|(name, weight)| ((*name).to_owned(), parse_decimal(weight).unwrap())).collect()
    }

    fn priced() -> Measure {
        Measure::Weighted(Weighted {
            per: weights(&[("prompt_tokens", "0.00025"), ("completion_tokens", "0.001"), ("event", "0.1")]),
            estimate: [("completion_tokens".to_owned(), Estimate::Fixed(Decimal::from(4000)))].into(),
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
        let learned = LearnedValues::none();
        let figures = Figures { quantity: quantity.map(Decimal::from), metadata: &metadata, learned };
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

    proptest! {
        #[test]
        fn a_slope_says_what_each_further_figure_adds(
            (weight, places) in (0..4_000_u64, 0..=12_u32), other in (0..2_000_000_u64, 0..=12_u32),
            least in 1..100_000_u64, more in 0..100_000_u64, room in 0..10_000_000_u64,
            unit in prop::sample::select(vec![Unit::Count, Unit::Tokens, Unit::Seconds, Unit::Cents]),
        ) {
            let decimal = |(digits, places): (u64, u32)| Decimal::from_i128_with_scale(i128::from(digits), places);
            let per = [("event".to_owned(), decimal(other)), ("tokens".to_owned(), decimal((weight, places)))];
            let measure = Measure::Weighted(Weighted { per: per.into(), estimate: BTreeMap::new() });
            let amount = |tokens: u64| {
                let metadata: Metadata = serde_json::from_value(json!({"tokens": tokens})).unwrap();
                let figures = Figures { quantity: None, metadata: &metadata, learned: LearnedValues::none() };
                let slope = measure.slope(unit, figures, "tokens").unwrap().unwrap();
                (measure.amount(unit, figures, Missing::Estimate).unwrap().steps(), slope)
            };
            let (present, slope) = amount(least);
            prop_assert_eq!(present + slope.added(more).steps(), amount(least + more).0);
            let fits = slope.fitting(Amount::from_steps(room).unwrap());
            if weight == 0 {
                prop_assert_eq!(fits, u64::MAX);
            } else {
                prop_assert!(slope.added(fits).steps() <= room);
                prop_assert!(slope.added(fits + 1).steps() > room);
            }
        }
    }

    proptest! {
        #[test]
        fn integers_and_decimals_make_the_same_amount(
            figures in prop::collection::vec((0..10_000_000_000_u64, 0..4_000_000_000_u64, 0..=12_u32), 1..4),
            unit in prop::sample::select(vec![Unit::Count, Unit::Tokens, Unit::Seconds, Unit::Cents]),
        ) {
            let weights = figures.iter().enumerate().map(|(at, (_, digits, places))| {
                (format!("figure_{at}"), Decimal::from_i128_with_scale(i128::from(*digits), *places))
            });
            let weighted = Weighted { per: weights.collect(), estimate: BTreeMap::new() };
            let metadata = figures.iter().enumerate().map(|(at, (figure, ..))| (format!("figure_{at}"), json!(figure)));
            let metadata: Metadata = serde_json::from_value(serde_json::Value::Object(metadata.collect())).unwrap();
            let figures = Figures { quantity: None, metadata: &metadata, learned: LearnedValues::none() };
            let by_decimals = weighted.sum(figures, Missing::Zero).ok();
            let by_decimals = by_decimals.and_then(|sum| Amount::rounded_up(sum.total, unit).ok());
            prop_assert_eq!(weighted.of_whole_figures(unit, figures), by_decimals);
        }
    }

    #[test]
    fn a_measure_grows_only_with_the_figures_that_it_measures() {
        let metadata: Metadata = serde_json::from_value(json!({"prompt_tokens": 3, "completion_tokens": 5})).unwrap();
        let learned = LearnedValues::none();
        let figures = Figures { quantity: Some(Decimal::ONE), metadata: &metadata, learned };
        let each = |measure: &Measure, unit: Unit, field: &str| {
            measure.slope(unit, figures, field).unwrap().map(|slope| slope.each / Slope::PARTS)
        };
        assert_eq!(each(&Measure::Quantity, Unit::Seconds, "quantity"), Some(1000));
        assert_eq!(each(&Measure::Quantity, Unit::Seconds, "completion_tokens"), None);
        assert_eq!(each(&Measure::Event, Unit::Count, "quantity"), None);
        assert_eq!(each(&priced(), Unit::Cents, "completion_tokens"), Some(1000));
        assert_eq!(each(&priced(), Unit::Cents, "quantity"), None);
        assert_eq!(priced().estimate("completion_tokens", learned), Some(Decimal::from(4000)));
        assert_eq!(priced().estimate("prompt_tokens", learned), None);
    }

    #[test]
    fn a_missing_figure_is_what_was_learned() {
        let start =
            LearnedEstimate { quantile: Decimal::new(95, 2), by: Vec::new(), start: Decimal::from(4000), max: None };
        let estimate = [("completion_tokens".to_owned(), Estimate::Learned(start))].into();
        let measure = Measure::Weighted(Weighted { per: weights(&[("completion_tokens", "2")]), estimate });
        let mut learned = LearnedValues::default();
        let amount = |metadata: serde_json::Value, learned: &LearnedValues| {
            let metadata: Metadata = serde_json::from_value(metadata).unwrap();
            let figures = Figures { quantity: None, metadata: &metadata, learned };
            measure.amount(Unit::Tokens, figures, Missing::Estimate).unwrap().steps()
        };
        assert_eq!(amount(json!({}), &learned), 8000);
        learned.raise("completion_tokens", Decimal::from(700));
        assert_eq!(amount(json!({}), &learned), 1400);
        assert_eq!(amount(json!({"completion_tokens": 5}), &learned), 10);
    }

    #[test]
    fn a_product_that_would_be_rounded_is_refused() {
        let fine = Measure::Weighted(Weighted { per: weights(&[("a", "0.000000000009")]), estimate: BTreeMap::new() });
        let huge = json!({"a": "9999999999999999999.000000001"});
        assert!(measure(&fine, Unit::Cents, None, huge, Missing::Zero).is_err());
    }
}
