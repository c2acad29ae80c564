//! Ratios of two sums.

use rust_decimal::Decimal;

use super::{By, known_label};
use crate::domain::reporting::rollup::{COST_DECIMALS, Count, DECIMALS, Fields, Metrics, RowName};
use crate::domain::values::glob;

/// Decimal places of a ratio, rounded half up.
const PLACES: u32 = 6;

/// What an operand sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    Count(Count),
    Quantity,
    /// In cents.
    Cost,
    /// The charge of one group, in its unit.
    Charged,
    /// A summed metadata field.
    Figure(String),
}

impl Measure {
    fn parse(name: &str) -> Self {
        match (Count::parse(name), name) {
            (Some(count), _) => Self::Count(count),
            (None, "quantity") => Self::Quantity,
            (None, "cost") => Self::Cost,
            (None, "charged") => Self::Charged,
            (None, _) => Self::Figure(name.to_owned()),
        }
    }

    /// In steps of 10^-12, so that operands can be divided by each other.
    fn of(&self, metrics: &Metrics, fields: &Fields) -> i128 {
        let scaled = |sum: i128, decimals: u32| sum.saturating_mul(10_i128.pow(DECIMALS - decimals));
        match self {
            Self::Count(count) => scaled(metrics.get(*count), 0),
            Self::Quantity => metrics.quantity,
            Self::Cost => scaled(metrics.cost, COST_DECIMALS),
            Self::Charged => {
                let charges = metrics.groups.iter().filter_map(|(group, sums)| {
                    fields.units.get(group).map(|unit| scaled(sums.charged, unit.decimals()))
                });
                charges.fold(0, i128::saturating_add)
            }
            Self::Figure(name) => metrics.figures.get(name).copied().unwrap_or(0),
        }
    }
}

/// Selects rows with this value: `event=llm.*`, `metadata.quality=final`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub by: By,
    /// A name or a glob for an event; empty for rows without a value.
    pub value: String,
}

impl Condition {
    fn holds(&self, row: &RowName) -> bool {
        let value = self.by.value(row).unwrap_or_default();
        if self.by == By::Event { glob::matches(&self.value, value) } else { self.value == value }
    }
}

/// One operand: a measure over the rows that match all conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub measure: Measure,
    pub only: Vec<Condition>,
}

impl Side {
    /// `calls`, `prompt_tokens`, `calls[metadata.cache=hit]`, `cost[event=llm.*][key=key_1]`
    fn parse(text: &str) -> Result<Self, String> {
        let (name, mut rest) = text.split_at(text.find('[').unwrap_or(text.len()));
        if name.is_empty() {
            return Err("must have a metric or a figure on both sides of the slash".to_owned());
        }
        let mut only = Vec::new();
        while !rest.is_empty() {
            let inner = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
            let condition = inner.and_then(|(condition, _)| condition.split_once('='));
            let (Some((_, after)), Some((by, value))) = (inner, condition) else {
                return Err(format!("must have filters such as [metadata.quality=final]; `{rest}` is not one"));
            };
            let by = By::parse(by)?;
            if by == By::Group {
                return Err("must filter by user, event, key or metadata.<name>; use groupId for a group".into());
            }
            only.push(Condition { by, value: value.to_owned() });
            rest = after;
        }
        Ok(Self { measure: Measure::parse(name), only })
    }

    pub fn of(&self, row: &RowName, metrics: &Metrics, fields: &Fields) -> i128 {
        let fits = self.only.iter().all(|condition| condition.holds(row));
        if fits { self.measure.of(metrics, fields) } else { 0 }
    }

    fn check(&self, fields: &Fields, of_groups: bool) -> Result<(), String> {
        for condition in &self.only {
            known_label(&condition.by, fields)?;
        }
        match &self.measure {
            Measure::Charged if !of_groups => {
                Err("can use `charged` only with by=group or groupId, since it is in the unit of a group".to_owned())
            }
            Measure::Figure(name) if !fields.figures.contains(name) => Err(format!(
                "must use metrics or figures; `{name}` is neither. Figures are: {}",
                fields.figures.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )),
            Measure::Count(Count::Calls | Count::Denials | Count::Observed) | Measure::Charged => Ok(()),
            _ if of_groups => {
                Err("must use only calls, denials, observed and charged with by=group or groupId".to_owned())
            }
            Measure::Count(_) | Measure::Quantity | Measure::Cost | Measure::Figure(_) => Ok(()),
        }
    }
}

/// `A/B`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    text: String,
    pub above: Side,
    pub below: Side,
}

impl Ratio {
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Values may contain slashes, as names of models do.
        let mut depth = 0_i32;
        let slash = text.char_indices().find(|(_, letter)| {
            depth += match letter {
                '[' => 1,
                ']' => -1,
                _ => 0,
            };
            *letter == '/' && depth == 0
        });
        let Some((slash, _)) = slash else {
            return Err(format!("must be a ratio such as completion_tokens/prompt_tokens, not `{text}`"));
        };
        let (above, below) = (Side::parse(&text[..slash])?, Side::parse(&text[slash + 1..])?);
        Ok(Self { text: text.to_owned(), above, below })
    }

    /// The text of the query.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.above.only.iter().chain(&self.below.only)
    }

    /// # Errors
    /// A sentence that says what rollups cannot answer.
    pub fn check(&self, fields: &Fields, of_groups: bool) -> Result<(), String> {
        self.above.check(fields, of_groups)?;
        self.below.check(fields, of_groups)
    }
}

/// `above / below`, both in the same steps, with 6 decimal places; None if `below` is 0.
pub fn quotient(mut above: i128, mut below: i128) -> Option<Decimal> {
    let factor = 2 * 10_i128.pow(PLACES);
    // Very large sums lose digits that would not show in the quotient.
    while above.checked_mul(factor).is_none() || below.checked_mul(2).is_none() {
        (above, below) = (above / 10, below / 10);
    }
    if below == 0 {
        return None;
    }
    let (above, below) = if below < 0 { (-above, -below) } else { (above, below) };
    let rounded = (above * factor + below).div_euclid(2 * below);
    Decimal::try_from_i128_with_scale(rounded, PLACES).ok().map(|ratio| ratio.normalize())
}
