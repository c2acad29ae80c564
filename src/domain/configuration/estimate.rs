//! Estimates of figures that a call does not have yet: a number, or a quantile of earlier figures.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::values::number::Number;

/// The estimate for a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimate {
    Fixed(Decimal),
    Learned(LearnedEstimate),
}

/// A quantile of the figures that were committed in the last seven days.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnedEstimate {
    /// Between 0 and 1.
    pub quantile: Decimal,
    /// The metadata fields whose values are learned separately, sorted.
    pub by: Vec<String>,
    /// The estimate while there are too few figures.
    pub start: Decimal,
    /// The largest estimate.
    pub max: Option<Decimal>,
}

/// A figure that is learned, and the events that have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LearnedFigure {
    /// The event pattern of the match rule.
    pub event: String,
    /// The name of the metadata field.
    pub field: String,
    pub estimate: LearnedEstimate,
}

/// The learned estimates of one event, by metadata field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LearnedValues(BTreeMap<String, Number>);

static NONE: LearnedValues = LearnedValues(BTreeMap::new());

impl LearnedValues {
    /// Without values every learned estimate is its `start`.
    pub fn none() -> &'static Self {
        &NONE
    }

    pub fn get(&self, field: &str) -> Option<Decimal> {
        self.0.get(field).map(|value| value.0)
    }

    /// Of several values for a field, the largest stays.
    pub fn raise(&mut self, field: &str, value: Decimal) {
        let known = self.0.entry(field.to_owned()).or_insert(Number(value));
        *known = Number(known.0.max(value));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Number)> {
        self.0.iter().map(|(field, value)| (field.as_str(), *value))
    }
}

impl LearnedEstimate {
    /// The estimate, given the quantile, if there are enough figures.
    pub fn value(&self, quantile: Option<Decimal>) -> Decimal {
        let value = quantile.unwrap_or(self.start);
        self.max.map_or(value, |max| value.min(max))
    }
}

impl Estimate {
    /// The estimate for `field`.
    pub fn value(&self, field: &str, learned: &LearnedValues) -> Decimal {
        match self {
            Self::Fixed(value) => *value,
            Self::Learned(estimate) => learned.get(field).unwrap_or(estimate.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_its_start_until_something_is_learned_and_never_above_its_maximum() {
        let estimate = LearnedEstimate {
            quantile: Decimal::new(95, 2),
            by: Vec::new(),
            start: Decimal::from(4000),
            max: Some(Decimal::from(16_000)),
        };
        assert_eq!(estimate.value(None), Decimal::from(4000));
        assert_eq!(estimate.value(Some(Decimal::from(700))), Decimal::from(700));
        assert_eq!(estimate.value(Some(Decimal::from(20_000))), Decimal::from(16_000));
        let mut learned = LearnedValues::default();
        let estimate = Estimate::Learned(estimate);
        assert_eq!(estimate.value("tokens", &learned), Decimal::from(4000));
        learned.raise("tokens", Decimal::from(700));
        learned.raise("tokens", Decimal::from(900));
        learned.raise("tokens", Decimal::from(800));
        assert_eq!(estimate.value("tokens", &learned), Decimal::from(900));
        assert_eq!(estimate.value("seconds", &learned), Decimal::from(4000));
        assert_eq!(Estimate::Fixed(Decimal::TEN).value("tokens", &learned), Decimal::TEN);
    }
}
