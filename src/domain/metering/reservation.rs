//! Reservations: their public ID, the stored request, and how actual figures are measured by the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::admission::{Caller, EffectiveLimits, Request};
use super::fit::Fitted;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::limit_group::{Enforcement, LimitGroup};
use crate::domain::configuration::measure::{Figures, Measure, Missing};
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::scope::{Dimension, OwnerName, Subject};
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::{Amount, SUM_TOO_LARGE, parse_decimal};
use crate::domain::values::digits::{base64_text, hex_text, push_hex};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{AppId, EventName, GroupId, KeyId, PlanId, PolicyId, UserId};
use crate::domain::values::metadata::{self, Metadata};
use crate::domain::values::number::Number;

/// A record outlives its reservation's expiry by this time, so that late and repeated calls get a correct answer.
pub const GRACE_MS: TimeMs = 15 * 60 * 1000;

/// A reservation ends at most this long after it was made, however often it is extended.
pub const LONGEST_LIFE_MS: TimeMs = 24 * 60 * 60 * 1000;

/// Name of an operation's record (96 bits): 16 characters of base64url if it is random, 24 lower-case hex digits if it is
/// derived from an idempotency key. Releases with layout 6 wrote all names in hex, so a repetition after an upgrade finds
/// the record of its first call, and IDs that they returned stay valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperationName(String);

impl OperationName {
    /// The lengths of names.
    pub const LENGTHS: [usize; 2] = [16, 24];

    pub fn random(bytes: [u8; 12]) -> Self {
        Self(base64_text(&bytes))
    }

    /// `digest`: begins with the name's bytes.
    pub fn derived(digest: &[u8]) -> Self {
        Self(hex_text(&digest[..12]))
    }

    /// None for a text that is not an operation's name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = match text.len() {
            16 => text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'),
            24 => is_lower_hex(text),
            _ => false,
        };
        is_name.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Another number for each name, in less memory than its text.
    pub fn number(&self) -> u128 {
        match <[u8; 16]>::try_from(self.0.as_bytes()) {
            Ok(characters) => u128::from_be_bytes(characters),
            // 96 bits, so less than the number of any 16 characters.
            Err(_) => u128::from_str_radix(&self.0, 16).unwrap_or_default(),
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Hex digits at the end of a reservation's ID: creation time and bucket.
const LAST_DIGITS: usize = 13;

/// `rsv_` + operation name + creation time (ms, 11 hex digits) + bucket (2 hex digits).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId {
    pub name: OperationName,
    pub created_at_ms: TimeMs,
    pub bucket: u8,
}

impl ReservationId {
    /// None for a text that was never returned as an ID.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("rsv_")?;
        let (name, digits) = rest.split_at_checked(rest.len().checked_sub(LAST_DIGITS)?)?;
        let (created, bucket) = digits.split_at_checked(11).filter(|_| is_lower_hex(digits))?;
        Some(Self {
            name: OperationName::parse(name)?,
            created_at_ms: TimeMs::from_str_radix(created, 16).ok()?,
            bucket: u8::from_str_radix(bucket, 16).ok()?,
        })
    }

    /// Appends the same text as [`fmt::Display`].
    pub fn push_text(&self, text: &mut String) {
        text.extend(["rsv_", &self.name.0]);
        push_hex(self.created_at_ms.cast_unsigned(), 11, text);
        push_hex(self.bucket.into(), 2, text);
    }

    /// For an ID without a record: whether it was once valid. Every reservation's record outlives the grace period.
    pub fn is_over(&self, now: TimeMs) -> bool {
        now > self.created_at_ms + GRACE_MS
    }
}

/// The maximum length of an ID's text.
const TEXT_BYTES: usize = 41;

impl fmt::Display for ReservationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(TEXT_BYTES);
        self.push_text(&mut text);
        formatter.write_str(&text)
    }
}

/// The request as stored in a reservation's record, used to measure actual figures with the same rules.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSnapshot {
    pub user: UserId,
    /// The key that reserved, if a counter belongs to a key or an approval may be requested.
    pub key: Option<KeyId>,
    /// None for a tracked event, or for a denial of a user without a plan.
    pub plan: Option<PlanId>,
    /// Version of the plan in effect.
    pub version: u64,
    /// The matched groups of a user with a custom plan, since no version of a plan has these rules. Stored separately,
    /// since the ledger does not repeat them.
    pub rules: Option<Box<PlanBody>>,
    /// The policies that matched, with their versions.
    pub policies: Vec<(PolicyId, u64)>,
    /// The requested event, or several. Shared, since many reservations are the same but for their user.
    pub items: Arc<[Item]>,
    /// The figure that was fitted; until it is enlarged, its item has this value.
    pub fitted: Option<Fitted>,
}

/// One event of a reservation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub event: EventName,
    pub quantity: Number,
    #[serde(default, skip_serializing_if = "Metadata::is_empty", deserialize_with = "metadata::stored")]
    pub metadata: Metadata,
    /// The learned estimates that the reserve used.
    #[serde(default, skip_serializing_if = "LearnedValues::is_empty")]
    pub estimated: LearnedValues,
    /// Running sums of all draws; absent before the first draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
}

/// The rules in effect when a reservation was made.
#[derive(Clone, Debug)]
pub struct Rules {
    pub plan: Option<Arc<Plan>>,
    pub policies: Vec<Arc<Policy>>,
}

impl Rules {
    fn groups(&self) -> impl Iterator<Item = &Arc<LimitGroup>> {
        self.plan.iter().flat_map(|plan| &plan.groups).chain(self.policies.iter().flat_map(|policy| &policy.groups))
    }

    pub fn group(&self, id: &GroupId) -> Option<&Arc<LimitGroup>> {
        self.groups().find(|group| group.id == *id)
    }
}

/// Running sums over all draws of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    pub quantity: Option<Number>,
    #[serde(default)]
    pub fields: BTreeMap<String, Number>,
}

/// Actual figures of one item, from a commit, a draw or a refund.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actual {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Number>,
    #[serde(skip_serializing_if = "Metadata::is_empty", deserialize_with = "metadata::stored")]
    pub metadata: Metadata,
}

impl Actual {
    pub fn is_empty(&self) -> bool {
        self.quantity.is_none() && self.metadata.is_empty()
    }
}

/// The total of a counter after the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    pub owner: OwnerName,
    pub group: GroupId,
    pub amount: Amount,
    /// The balance that is charged with what does not fit into the group.
    pub overflow: Option<GroupId>,
}

/// The amounts of a refund, and the groups that are refunded in full once all others are.
pub type GivenBack = (Vec<(GroupId, Amount)>, Vec<GroupId>);

/// Adds to the total of the same counter.
fn add(totals: &mut Vec<Total>, total: Total) -> Result<(), FieldError> {
    match totals.iter_mut().find(|known| known.owner == total.owner && known.group == total.group) {
        None => totals.push(total),
        Some(known) => {
            let sum = known.amount.checked_add(total.amount);
            known.amount = sum.ok_or_else(|| FieldError::new("quantity", SUM_TOO_LARGE))?;
        }
    }
    Ok(())
}

impl RequestSnapshot {
    /// `own_rules`: the user has a custom plan, whose rules must be stored.
    pub fn new(
        caller: Caller<'_>,
        effective_limits: EffectiveLimits<'_>,
        own_rules: bool,
        requests: &[Request<'_>],
    ) -> Self {
        let plan = effective_limits.plan;
        let matches = |group: &LimitGroup| {
            requests.iter().any(|request| group.matching_rule(request.event.as_str(), request.metadata).is_some())
        };
        // A balance is stored with the groups that overflow onto it.
        let is_stored = |plan: &Plan, group: &LimitGroup| {
            let onto = |other: &&Arc<LimitGroup>| other.overflow.as_ref().is_some_and(|known| known.id == group.id);
            matches(group) || plan.groups.iter().filter(onto).any(|other| matches(other))
        };
        let own_groups = |plan: &Plan| {
            let groups = plan.body.groups.iter().zip(&plan.groups).filter(|(_, group)| is_stored(plan, group));
            Box::new(PlanBody { groups: groups.map(|(body, _)| body.clone()).collect(), ..plan.body.clone() })
        };
        let policies =
            effective_limits.policies.iter().filter(|policy| policy.groups.iter().any(|group| matches(group)));
        // An approval request that an extend opens names the requesting key.
        let knows_key = |group: &LimitGroup| {
            group.scope.dimensions().contains(&Dimension::Key) || group.enforcement == Enforcement::Approval
        };
        let by_key = effective_limits.groups().any(|group| knows_key(group) && matches(group));
        let item = |request: &Request<'_>| Item {
            event: request.event.clone(),
            quantity: Number(request.quantity),
            metadata: request.metadata.clone(),
            estimated: request.learned.clone(),
            drawn: None,
        };
        Self {
            rules: plan.filter(|_| own_rules).map(own_groups),
            user: caller.user.clone(),
            key: caller.key.filter(|_| by_key).cloned(),
            plan: plan.map(|plan| plan.id.clone()),
            version: plan.map_or(0, |plan| plan.version),
            policies: policies.map(|policy| (policy.id.clone(), policy.version)).collect(),
            items: requests.iter().map(item).collect(),
            fitted: None,
        }
    }

    /// The first event, for reports.
    pub fn event(&self) -> Option<&EventName> {
        self.items.first().map(|item| &item.event)
    }

    /// The counters in which the reserve held for an item, each with the rule that matched. The same versions and the
    /// same request always match in the same way.
    fn held<'a>(
        &'a self,
        app: &'a AppId,
        rules: &'a Rules,
        item: &'a Item,
    ) -> impl Iterator<Item = (OwnerName, &'a Arc<LimitGroup>, usize)> {
        let subject = Subject { user: Some(&self.user), app, key: self.key.as_ref(), metadata: &item.metadata };
        rules.groups().filter_map(move |group| {
            let rule = group.matching_rule(item.event.as_str(), &item.metadata)?;
            Some((group.scope.owner(subject)?, group, rule))
        })
    }

    /// Pairs items with their figures, which may be empty.
    ///
    /// # Errors
    /// The number of figures does not fit the number of items.
    fn each<'a>(&'a self, actuals: &'a [Actual]) -> Result<impl Iterator<Item = (&'a Item, &'a Actual)>, FieldError> {
        if actuals.len() != self.items.len() {
            let message = match self.items.len() {
                1 => "must be left out: this reservation has a single event; send `quantity` and `metadata` instead"
                    .to_owned(),
                items => {
                    format!("must have {items} entries, one per item of the reservation, in the same order")
                }
            };
            return Err(FieldError::new("items", message));
        }
        Ok(self.items.iter().zip(actuals))
    }

    /// Measures a final commit's figures: the request with what is known now. Must not be called after a draw.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn settle(&self, app: &AppId, rules: &Rules, actuals: &[Actual]) -> Result<Vec<Total>, FieldError> {
        let mut totals = Vec::new();
        for (item, actual) in self.each(actuals)? {
            let metadata = item.metadata.clone().merged(&actual.metadata);
            let quantity = Some(actual.quantity.unwrap_or(item.quantity).0);
            let figures = Figures { quantity, metadata: &metadata, learned: &item.estimated };
            let measured = Remeasurement { labels: &metadata, figures, missing: Missing::Estimate };
            self.totals(app, rules, item, measured, &mut totals)?;
        }
        Ok(totals)
    }

    /// Adds a draw's figures to the running sums and measures the sums. Also returns the updated request.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn draw(&self, app: &AppId, rules: &Rules, actuals: &[Actual]) -> Result<(Self, Vec<Total>), FieldError> {
        let mut totals = Vec::new();
        let mut items = Vec::new();
        for (item, actual) in self.each(actuals)? {
            let drawn = self.drawn(app, rules, item, actual)?;
            let mut sums = Metadata::default();
            for (name, sum) in &drawn.fields {
                sums.set(name, sum.0.to_string());
            }
            let labels = item.metadata.clone().merged(&actual.metadata);
            let quantity = drawn.quantity.map(|sum| sum.0);
            let figures = Figures { quantity, metadata: &sums, learned: LearnedValues::none() };
            let measured = Remeasurement { labels: &labels, figures, missing: Missing::Zero };
            self.totals(app, rules, item, measured, &mut totals)?;
            items.push(Item { drawn: Some(drawn), ..item.clone() });
        }
        Ok((Self { items: items.into(), ..self.clone() }, totals))
    }

    /// The running sums with one more draw.
    fn drawn(&self, app: &AppId, rules: &Rules, item: &Item, actual: &Actual) -> Result<Drawn, FieldError> {
        let mut drawn = item.drawn.clone().unwrap_or_default();
        if let Some(quantity) = actual.quantity {
            let sum = drawn.quantity.map_or(Some(quantity.0), |sum| sum.0.checked_add(quantity.0));
            drawn.quantity = Some(Number(sum.ok_or_else(|| FieldError::new("quantity", SUM_TOO_LARGE))?));
        }
        for field in self.weighted_fields(app, rules, item) {
            if let Some(text) = actual.metadata.get(&field) {
                let name = format!("metadata.{field}");
                let value = parse_decimal(text).map_err(|error| FieldError::new(&name, error.to_string()))?;
                let sum = drawn.fields.get(&field).map_or(Some(value), |sum| sum.0.checked_add(value));
                let sum = sum.ok_or_else(|| FieldError::new(name, SUM_TOO_LARGE))?;
                drawn.fields.insert(field, Number(sum));
            }
        }
        Ok(drawn)
    }

    /// Measures an additional quantity. Returns the updated request and each counter's additional amount.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field; a reservation of several items.
    pub fn enlarge(&self, app: &AppId, rules: &Rules, more: Number) -> Result<(Self, Vec<Total>), FieldError> {
        let [item] = &*self.items else {
            return Err(FieldError::new(
                "quantity",
                "cannot be extended for a reservation of several items; only `ttlSeconds` can",
            ));
        };
        let sum = item.quantity.0.checked_add(more.0).ok_or_else(|| FieldError::new("quantity", SUM_TOO_LARGE))?;
        let before = self.settle(app, rules, &[Actual::default()])?;
        let enlarged = Self { items: [Item { quantity: Number(sum), ..item.clone() }].into(), ..self.clone() };
        let after = enlarged.settle(app, rules, &[Actual::default()])?;
        let further = after.into_iter().zip(before).map(|(after, before)| {
            let amount = after.amount.saturating_sub(before.amount);
            Total { amount, ..after }
        });
        Ok((enlarged, further.collect()))
    }

    /// Measures the amounts of a refund, and names the groups that count calls, which are refunded last.
    ///
    /// # Errors
    /// Figures that cannot be measured, naming group and field.
    pub fn refund(&self, app: &AppId, rules: &Rules, actual: &Actual) -> Result<GivenBack, FieldError> {
        let quantity = actual.quantity.map(|quantity| quantity.0);
        let figures = Figures { quantity, metadata: &actual.metadata, learned: LearnedValues::none() };
        let mut amounts: Vec<(GroupId, Amount)> = Vec::new();
        let mut whole: Vec<GroupId> = Vec::new();
        for (_, group, rule) in self.items.iter().flat_map(|item| self.held(app, rules, item)) {
            if amounts.iter().any(|(known, _)| *known == group.id) || whole.contains(&group.id) {
                continue;
            }
            if group.measure_of(rule).counts_calls() {
                whole.push(group.id.clone());
            } else {
                amounts.push((group.id.clone(), amount(group, group.measure_of(rule), figures, Missing::Zero)?));
            }
        }
        Ok((amounts, whole))
    }

    /// In each group, the first rule that matches the merged metadata decides; if none does, the rule of the reserve.
    fn totals(
        &self,
        app: &AppId,
        rules: &Rules,
        item: &Item,
        measured: Remeasurement<'_>,
        totals: &mut Vec<Total>,
    ) -> Result<(), FieldError> {
        let Remeasurement { labels, figures, missing } = measured;
        for (owner, group, reserved_by) in self.held(app, rules, item).filter(|(_, group, _)| !group.is_concurrent()) {
            let rule = group.matching_rule(item.event.as_str(), labels).unwrap_or(reserved_by);
            let amount = amount(group, group.measure_of(rule), figures, missing)?;
            let overflow = group.overflow.as_ref().map(|balance| balance.id.clone());
            add(totals, Total { owner, group: group.id.clone(), amount, overflow })?;
        }
        Ok(())
    }

    fn weighted_fields(&self, app: &AppId, rules: &Rules, item: &Item) -> BTreeSet<String> {
        let groups = self.held(app, rules, item);
        let measures = groups.flat_map(|(_, group, _)| (0..group.matches.len()).map(|rule| group.measure_of(rule)));
        let fields = measures.filter_map(|measure| match measure {
            Measure::Weighted(weighted) => Some(weighted.per.keys()),
            Measure::Quantity | Measure::Event => None,
        });
        fields.flatten().filter(|field| !matches!(field.as_str(), "quantity" | "event")).cloned().collect()
    }

    /// Whether there was a draw.
    pub fn is_drawn(&self) -> bool {
        self.items.iter().any(|item| item.drawn.is_some())
    }
}

/// The input of a new measurement when a reservation is settled.
#[derive(Clone, Copy)]
struct Remeasurement<'a> {
    /// The metadata that chooses the rule.
    labels: &'a Metadata,
    figures: Figures<'a>,
    missing: Missing,
}

fn amount(group: &LimitGroup, measure: &Measure, figures: Figures<'_>, missing: Missing) -> Result<Amount, FieldError> {
    measure
        .amount(group.unit, figures, missing)
        .map_err(|error| FieldError::new(error.field, format!("{} (group `{}`)", error.message, group.id)))
}

/// Default quantity of a call.
pub const ONE: Number = Number(Decimal::ONE);
