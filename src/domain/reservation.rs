//! Reservations: their public id, what is remembered of the request, and how actual figures are measured anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::admission::Request;
use super::amount::{Amount, parse_decimal};
use super::field_error::FieldError;
use super::ids::{EventName, GroupId, PlanId, UserId};
use super::limit_group::LimitGroup;
use super::measure::{Figures, Measure, Missing};
use super::metadata::Metadata;
use super::number::Number;
use super::plan::Plan;
use super::plan_body::PlanBody;
use super::window::TimeMs;

/// A record outlives its reservation's expiry by this, so that late and repeated calls get a true answer.
pub const GRACE_MS: TimeMs = 15 * 60 * 1000;

/// However often it is extended, a reservation ends this long after it was made.
pub const LONGEST_LIFE_MS: TimeMs = 24 * 60 * 60 * 1000;

/// Name of an operation's record: 24 lower-case hex digits (96 bits).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperationName(String);

impl OperationName {
    pub fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// None for text that names no operation.
    pub fn parse(text: &str) -> Option<Self> {
        let lower_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        (text.len() == 24 && lower_hex).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `rsv_` + operation name + creation time (ms, 11 hex digits) + bucket (2 hex digits).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId {
    pub name: OperationName,
    pub created_at_ms: TimeMs,
    pub bucket: u8,
}

impl ReservationId {
    /// None for text that was never given out as an id.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("rsv_")?;
        let lower_hex = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if digits.len() != 37 || !lower_hex {
            return None;
        }
        Some(Self {
            name: OperationName(digits[..24].to_owned()),
            created_at_ms: TimeMs::from_str_radix(&digits[24..35], 16).ok()?,
            bucket: u8::from_str_radix(&digits[35..], 16).ok()?,
        })
    }

    /// The record is gone: was the id given out once? Every reservation's record lives longer than the grace.
    pub fn is_over(&self, now: TimeMs) -> bool {
        now > self.created_at_ms + GRACE_MS
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rsv_{}{:011x}{:02x}", self.name.0, self.created_at_ms, self.bucket)
    }
}

/// What a reservation's record remembers of its request, to measure actual figures with the same rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memo {
    pub user: UserId,
    pub event: EventName,
    pub plan: PlanId,
    /// Version of the plan whose rules hold.
    pub version: u64,
    /// The matched groups of a user whose plan is its own: no version of the plan has these rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Box<PlanBody>>,
    pub quantity: Number,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Running sums of what draws have brought; absent before the first draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
}

/// Running sums over all draws of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    pub quantity: Option<Number>,
    #[serde(default)]
    pub fields: BTreeMap<String, Number>,
}

/// Actual figures as a commit, a draw or a refund brings them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    pub quantity: Option<Number>,
    pub metadata: Metadata,
}

impl Actual {
    pub fn is_empty(&self) -> bool {
        self.quantity.is_none() && self.metadata.is_empty()
    }
}

/// A group's total, once the call is done.
pub type Totals = Vec<(GroupId, Amount)>;

impl Memo {
    /// `own_rules`: the plan's rules are the user's own, so that they have to be remembered.
    pub fn new(user: &UserId, plan: &Plan, own_rules: bool, request: Request<'_>) -> Self {
        let matched = |body: &PlanBody| {
            let matches =
                |place: usize| plan.groups.get(place)?.matching_rule(request.event.as_str(), request.metadata);
            let groups = body.groups.iter().enumerate().filter(|(place, _)| matches(*place).is_some());
            PlanBody { groups: groups.map(|(_, group)| group.clone()).collect(), ..body.clone() }
        };
        Self {
            rules: own_rules.then(|| Box::new(matched(&plan.body))),
            user: user.clone(),
            event: request.event.clone(),
            plan: plan.id.clone(),
            version: plan.version,
            quantity: Number(request.quantity),
            metadata: request.metadata.clone(),
            drawn: None,
        }
    }

    /// The groups that the reserve matched, each with the rule that decided: the same plan version and the same
    /// request always match the same way.
    fn held_groups<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (&'a Arc<LimitGroup>, usize)> {
        plan.groups.iter().filter_map(|group| Some((group, group.matching_rule(self.event.as_str(), &self.metadata)?)))
    }

    /// Measures a final commit's figures: the request with what is known now. Call only before any draw.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn settle(&self, plan: &Plan, actual: &Actual) -> Result<Totals, FieldError> {
        let metadata = self.metadata.merged(&actual.metadata);
        let figures = Figures { quantity: Some(actual.quantity.unwrap_or(self.quantity).0), metadata: &metadata };
        self.totals(plan, &metadata, figures, Missing::Estimate)
    }

    /// Adds a draw's figures to the running sums and measures those. Answers the memo that remembers them.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn draw(&self, plan: &Plan, actual: &Actual) -> Result<(Self, Totals), FieldError> {
        let mut drawn = self.drawn.clone().unwrap_or_default();
        if let Some(quantity) = actual.quantity {
            let sum = drawn.quantity.map_or(Some(quantity.0), |sum| sum.0.checked_add(quantity.0));
            drawn.quantity = Some(Number(sum.ok_or_else(|| FieldError::new("quantity", "sums up to too much"))?));
        }
        for field in self.weighted_fields(plan) {
            if let Some(text) = actual.metadata.get(&field) {
                let name = format!("metadata.{field}");
                let value = parse_decimal(text).map_err(|error| FieldError::new(&name, error.to_string()))?;
                let sum = drawn.fields.get(&field).map_or(Some(value), |sum| sum.0.checked_add(value));
                let sum = sum.ok_or_else(|| FieldError::new(name, "sums up to too much"))?;
                drawn.fields.insert(field, Number(sum));
            }
        }
        let mut sums = Metadata::default();
        for (name, sum) in &drawn.fields {
            sums.set(name, sum.0.to_string());
        }
        let labels = self.metadata.merged(&actual.metadata);
        let figures = Figures { quantity: drawn.quantity.map(|sum| sum.0), metadata: &sums };
        let totals = self.totals(plan, &labels, figures, Missing::Zero)?;
        Ok((Self { drawn: Some(drawn), ..self.clone() }, totals))
    }

    /// Measures more quantity. Answers the memo with the sum and each held group's further amount.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn enlarge(&self, plan: &Plan, more: Number) -> Result<(Self, Totals), FieldError> {
        let sum =
            self.quantity.0.checked_add(more.0).ok_or_else(|| FieldError::new("quantity", "sums up to too much"))?;
        let before = self.settle(plan, &Actual::default())?;
        let enlarged = Self { quantity: Number(sum), ..self.clone() };
        let after = enlarged.settle(plan, &Actual::default())?;
        let further =
            after.into_iter().zip(before).map(|((id, after), (_, before))| (id, after.saturating_sub(before)));
        Ok((enlarged, further.collect()))
    }

    /// Measures what a refund gives back, and names the groups that count calls: they are given back last.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn refund(&self, plan: &Plan, actual: &Actual) -> Result<(Totals, Vec<GroupId>), FieldError> {
        let figures = Figures { quantity: actual.quantity.map(|quantity| quantity.0), metadata: &actual.metadata };
        let mut amounts = Vec::new();
        let mut whole = Vec::new();
        for (group, rule) in self.held_groups(plan) {
            if group.measure_of(rule).counts_calls() {
                whole.push(group.id.clone());
            } else {
                amounts.push((group.id.clone(), amount(group, group.measure_of(rule), figures, Missing::Zero)?));
            }
        }
        Ok((amounts, whole))
    }

    /// Within each held group the first rule that matches the merged metadata decides, else the rule of the reserve.
    fn totals(
        &self,
        plan: &Plan,
        labels: &Metadata,
        figures: Figures<'_>,
        missing: Missing,
    ) -> Result<Totals, FieldError> {
        self.held_groups(plan)
            .filter(|(group, _)| !group.is_concurrent())
            .map(|(group, reserved_by)| {
                let rule = group.matching_rule(self.event.as_str(), labels).unwrap_or(reserved_by);
                Ok((group.id.clone(), amount(group, group.measure_of(rule), figures, missing)?))
            })
            .collect()
    }

    fn weighted_fields(&self, plan: &Plan) -> BTreeSet<String> {
        let measures =
            self.held_groups(plan).flat_map(|(group, _)| (0..group.matches.len()).map(|rule| group.measure_of(rule)));
        let fields = measures.filter_map(|measure| match measure {
            Measure::Weighted(weighted) => Some(weighted.per.keys()),
            Measure::Quantity | Measure::Event => None,
        });
        fields.flatten().filter(|field| !matches!(field.as_str(), "quantity" | "event")).cloned().collect()
    }

    /// The request as reserved.
    pub fn request(&self) -> Request<'_> {
        Request { event: &self.event, quantity: self.quantity.0, metadata: &self.metadata }
    }
}

fn amount(group: &LimitGroup, measure: &Measure, figures: Figures<'_>, missing: Missing) -> Result<Amount, FieldError> {
    measure
        .amount(group.unit, figures, missing)
        .map_err(|error| FieldError::new(error.field, format!("group `{}`: {}", group.id, error.message)))
}

/// Default quantity of a call.
pub const ONE: Number = Number(Decimal::ONE);
