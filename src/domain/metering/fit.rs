//! `fit` of a reserve: one figure of the call may be reduced, down to the least value that the caller accepts.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::configuration::measure::Slope;
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::metadata::{Metadata, is_key};
use crate::domain::values::number::Number;

/// The largest value of such a figure; scripts compute exactly up to it.
pub const MOST: u64 = 1_000_000_000_000;

/// The figure of a call that may be reduced. The call itself has its least value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The index of the event whose figure it is.
    pub item: usize,
    /// `quantity`, or a metadata field.
    pub field: String,
    pub min: u64,
    /// The value that the call was sent with. None if it has to be estimated.
    pub wish: Option<u64>,
}

/// A figure of a reservation that was fitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fitted {
    /// The index of the event whose figure it is.
    #[serde(default, skip_serializing_if = "is_first")]
    pub item: usize,
    /// `quantity`, or a metadata field.
    pub field: String,
    pub min: u64,
    /// The value that was sent or estimated.
    pub wish: u64,
    /// The value that was held. The last field, since a script inserts it (`lua/lib/fit.lua`).
    pub value: u64,
}

/// How far a call may grow beyond the amounts of its least value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    pub min: u64,
    /// The value that was sent or estimated.
    pub wish: u64,
    /// How much the figure may grow: up to the wish, unless no call or no counter may have so much.
    pub most: u64,
    /// By matched group.
    pub slopes: Vec<Slope>,
}

fn is_first(item: &usize) -> bool {
    *item == 0
}

impl Fitted {
    /// Gives the event the value that was decided. Until then it has the least one; an enlarged quantity stays.
    pub fn apply(&self, quantity: &mut Number, metadata: &mut Metadata) {
        let is_least = match self.field.as_str() {
            "quantity" => quantity.0 == Decimal::from(self.min),
            field => metadata.get(field) == Some(self.min.to_string().as_str()),
        };
        if is_least {
            set_figure(&self.field, self.value, quantity, metadata);
        }
    }
}

impl Fit {
    /// Checks what the caller sent.
    ///
    /// # Errors
    /// A field, a minimum or a figure that cannot be fitted, naming each.
    pub fn new(
        item: usize,
        field: String,
        min: Number,
        quantity: Number,
        metadata: &Metadata,
    ) -> Result<Self, Vec<FieldError>> {
        let mut faults = Faults::default();
        let is_figure = field != "event" && is_key(&field);
        if !is_figure {
            faults.add("fit.field", "must be `quantity` or a metadata field");
        }
        let least = whole(min.0).filter(|min| *min > 0);
        if least.is_none() {
            faults.add("fit.min", format!("must be a whole number between 1 and {MOST}"));
        }
        let figure = figure_name(&field);
        let sent = match field.as_str() {
            "quantity" => Some(quantity.0),
            _ if !is_figure => None,
            _ => metadata.get(&field).and_then(|sent| faults.check(&figure, parse_decimal(sent))),
        };
        let wish = sent.and_then(|sent| {
            let unfit = || format!("must be a whole number of at most {MOST}, since `fit` names it");
            faults.check(&figure, whole(sent).ok_or_else(unfit))
        });
        if let (Some(wish), Some(least)) = (wish, least)
            && wish < least
        {
            faults.add("fit.min", format!("must be at most `{figure}`, which is {wish}"));
        }
        faults.or(least.map(|min| Self { item, field, min, wish }))
    }

    /// The figure with the value that was decided.
    pub fn fitted(&self, wish: u64, value: u64) -> Fitted {
        Fitted { item: self.item, field: self.field.clone(), min: self.min, wish, value }
    }

    /// The figure with its least value, for a decision without counters.
    pub fn least(&self) -> Fitted {
        self.fitted(self.wish.unwrap_or(self.min), self.min)
    }

    /// How errors name the figure.
    pub fn figure(&self) -> String {
        figure_name(&self.field)
    }

    /// The value that the caller wishes: the sent one, or the estimate, but at least `min`.
    pub fn wish(&self, estimate: Option<Decimal>) -> Option<u64> {
        let estimated = |estimate: Decimal| u64::try_from(estimate.floor()).unwrap_or(MOST).clamp(self.min, MOST);
        self.wish.or(estimate.map(estimated))
    }
}

fn whole(value: Decimal) -> Option<u64> {
    let whole = value.is_integer().then(|| u64::try_from(value).ok()).flatten();
    whole.filter(|value| *value <= MOST)
}

fn figure_name(field: &str) -> String {
    if field == "quantity" { field.to_owned() } else { format!("metadata.{field}") }
}

/// Sets a figure of an event.
pub fn set_figure(field: &str, value: u64, quantity: &mut Number, metadata: &mut Metadata) {
    match field {
        "quantity" => *quantity = Number(Decimal::from(value)),
        _ => metadata.set(field, value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fit(field: &str, min: &str, quantity: &str, metadata: serde_json::Value) -> Result<Option<u64>, String> {
        let metadata: Metadata = serde_json::from_value(metadata).unwrap();
        let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
        let fit = Fit::new(0, field.to_owned(), number(min), number(quantity), &metadata);
        fit.map(|fit| fit.wish).map_err(|faults| faults[0].field.clone())
    }

    #[test]
    fn what_cannot_be_fitted_is_refused_by_its_name() {
        let tokens = |value: serde_json::Value| json!({"tokens": value});
        let long = "x".repeat(65);
        for (field, min, quantity, metadata, expected) in [
            ("tokens", "256", "1", tokens(json!(4000)), Ok(Some(4000))),
            ("tokens", "256", "1", tokens(json!("256")), Ok(Some(256))),
            ("tokens", "256", "1", json!({}), Ok(None)),
            ("quantity", "1", "1", json!({}), Ok(Some(1))),
            ("quantity", "\"2.0\"", "7.0", json!({}), Ok(Some(7))),
            ("event", "1", "1", json!({"event": 5}), Err("fit.field")),
            ("", "1", "1", json!({}), Err("fit.field")),
            ("a\n", "1", "1", json!({}), Err("fit.field")),
            (long.as_str(), "1", "1", json!({}), Err("fit.field")),
            ("tokens", "0", "1", tokens(json!(10)), Err("fit.min")),
            ("tokens", "1.5", "1", tokens(json!(10)), Err("fit.min")),
            ("tokens", "1000000000001", "1", tokens(json!(10)), Err("fit.min")),
            ("tokens", "1e27", "1", tokens(json!(10)), Err("fit.min")),
            ("tokens", "11", "1", tokens(json!(10)), Err("fit.min")),
            ("quantity", "2", "1", json!({}), Err("fit.min")),
            ("tokens", "1", "1", tokens(json!("many")), Err("metadata.tokens")),
            ("tokens", "1", "1", tokens(json!(10.5)), Err("metadata.tokens")),
            ("tokens", "1", "1", tokens(json!(-1)), Err("metadata.tokens")),
            ("tokens", "1", "1", tokens(json!("1000000000001")), Err("metadata.tokens")),
            ("quantity", "1", "2.5", json!({}), Err("quantity")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(fit(field, min, quantity, metadata.clone()), expected, "{field} {min} {quantity} {metadata}");
        }
    }

    #[test]
    fn all_faults_of_a_fit_are_named_at_once() {
        let fields = |field: &str, min: i64, metadata: serde_json::Value| -> Vec<String> {
            let metadata: Metadata = serde_json::from_value(metadata).unwrap();
            let number = Number(Decimal::from(min));
            let faults = Fit::new(0, field.to_owned(), number, Number(Decimal::ONE), &metadata).unwrap_err();
            faults.into_iter().map(|fault| fault.field).collect()
        };
        assert_eq!(fields("event", 0, json!({})), ["fit.field", "fit.min"]);
        assert_eq!(fields("tokens", 0, json!({"tokens": "many"})), ["fit.min", "metadata.tokens"]);
    }

    #[test]
    fn an_estimate_is_a_wish_of_at_least_the_minimum() {
        let fit = Fit { item: 0, field: "tokens".to_owned(), min: 256, wish: None };
        let wish = |text: &str| fit.wish(Some(parse_decimal(text).unwrap()));
        assert_eq!(wish("4000.7"), Some(4000));
        assert_eq!(wish("180"), Some(256));
        assert_eq!(wish("1e20"), Some(MOST));
        assert_eq!(fit.wish(None), None);
        assert_eq!(Fit { wish: Some(300), ..fit }.wish(Some(Decimal::TEN)), Some(300));
    }
}
