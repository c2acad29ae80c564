//! Sums up the decisions of a replay.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::report::{Agreement, Changed, Example, ExampleDeniedBy};
use super::simulator::{SimulatedDecision, SimulatedDenial};
use super::timeline::Units;
use crate::domain::reporting::ledger::DenyingCounter;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{EventName, GroupId, UserId};
use crate::domain::values::number::Number;

/// The number of examples of each kind.
const EXAMPLES: usize = 10;

impl Changed {
    fn add(&mut self, reason: &str, groups: impl Iterator<Item = String>, example: impl FnOnce() -> Example) {
        self.calls += 1;
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
        for group in groups {
            *self.by_group.entry(group).or_default() += 1;
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// The reason of a denial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Denial {
    reason: &'static str,
    /// The groups over their limit, by name.
    groups: Vec<GroupId>,
}

/// A decision about a call; None if it is allowed.
pub type Verdict = Option<Arc<Denial>>;

impl Denial {
    fn of(refused: &SimulatedDenial) -> Self {
        let mut groups: Vec<GroupId> = denying_groups(refused).cloned().collect();
        groups.sort();
        Self { reason: reason(refused), groups }
    }
}

/// The result of a replay of the present rules, compared with the record.
#[derive(Debug, Default)]
pub struct PresentSums {
    pub agreement: Agreement,
    pub denied: u64,
    /// Calls share equal denials.
    denials: HashSet<Arc<Denial>>,
}

impl PresentSums {
    /// Returns the verdict that a draft is compared with.
    pub fn add(&mut self, decision: &SimulatedDecision<'_>) -> Verdict {
        let Agreement { calls, agree, denied_otherwise } = &mut self.agreement;
        *calls += 1;
        *agree += u64::from(decision.was_denied.is_some() == decision.refused.is_some());
        let refused = decision.refused.as_ref()?;
        self.denied += 1;
        let denial = Denial::of(refused);
        if let Some((was, groups)) = &decision.was_denied {
            let mut then = groups.to_vec();
            then.sort();
            // Calls whose decision is kept were not evaluated.
            let same_groups = denial.groups.is_empty() || denial.groups == then;
            let same = same_groups && was.is_none_or(|was| was.as_str() == denial.reason);
            *denied_otherwise += u64::from(!same);
        }
        if let Some(known) = self.denials.get(&denial) {
            return Some(Arc::clone(known));
        }
        let denial = Arc::new(denial);
        self.denials.insert(Arc::clone(&denial));
        Some(denial)
    }
}

/// The result of a replay of a draft, compared with one of the present rules.
#[derive(Debug, Default)]
pub struct OutcomeSums {
    /// The number of calls to be decided.
    pub calls: u64,
    /// When they were made.
    pub were_denied: u64,
    pub denied: u64,
    pub newly_denied: Changed,
    pub newly_allowed: Changed,
    /// Allowed, and groups of the draft that only observe would have denied it.
    pub observed: Changed,
    observing_users: HashSet<usize>,
    /// Denied under both, but for another reason or by other groups.
    pub denied_otherwise: u64,
    /// By the user's index: newly denied, newly allowed.
    pub of_users: BTreeMap<usize, (u64, u64)>,
}

impl OutcomeSums {
    /// `before`: how the present rules decide the call.
    pub fn add(&mut self, decision: &SimulatedDecision<'_>, before: &Verdict, units: &Units) {
        self.calls += 1;
        self.were_denied += u64::from(decision.was_denied.is_some());
        self.denied += u64::from(decision.refused.is_some());
        if let Some(observed) = &decision.observed {
            if self.observing_users.insert(decision.call.user) {
                self.observed.users += 1;
            }
            let groups = denying_groups(observed).map(|group| group.to_string());
            self.observed.add(reason(observed), groups, || example(decision, observed, units));
        }
        match (before, &decision.refused) {
            (None, None) => {}
            (None, Some(refused)) => {
                self.of_users.entry(decision.call.user).or_default().0 += 1;
                let groups = denying_groups(refused).map(|group| group.to_string());
                self.newly_denied.add(reason(refused), groups, || example(decision, refused, units));
            }
            (Some(denial), None) => {
                self.of_users.entry(decision.call.user).or_default().1 += 1;
                let groups = denial.groups.iter().map(ToString::to_string);
                let made = || made(decision, denial.reason.to_owned(), Vec::new());
                self.newly_allowed.add(denial.reason, groups, made);
            }
            (Some(denial), Some(refused)) => {
                self.denied_otherwise += u64::from(**denial != Denial::of(refused));
            }
        }
    }

    /// Adds the result of another bucket, which has other users.
    pub fn merge(&mut self, other: Self) {
        self.calls += other.calls;
        self.were_denied += other.were_denied;
        self.denied += other.denied;
        self.denied_otherwise += other.denied_otherwise;
        for (own, other) in [
            (&mut self.newly_denied, other.newly_denied),
            (&mut self.newly_allowed, other.newly_allowed),
            (&mut self.observed, other.observed),
        ] {
            own.calls += other.calls;
            own.users += other.users;
            for (sums, more) in [(&mut own.by_group, other.by_group), (&mut own.by_reason, other.by_reason)] {
                for (name, count) in more {
                    *sums.entry(name).or_default() += count;
                }
            }
            own.examples.extend(other.examples);
            own.examples.sort_by(|one, other| one.at.cmp(&other.at));
            own.examples.truncate(EXAMPLES);
        }
    }
}

fn reason(refused: &SimulatedDenial) -> &'static str {
    match refused {
        SimulatedDenial::For { reason, .. } => reason.as_str(),
        SimulatedDenial::Invalid(_) => "invalid_request",
    }
}

fn denying(refused: &SimulatedDenial) -> &[DenyingCounter] {
    match refused {
        SimulatedDenial::For { denying, .. } => denying,
        SimulatedDenial::Invalid(_) => &[],
    }
}

fn denying_groups(refused: &SimulatedDenial) -> impl Iterator<Item = &GroupId> {
    denying(refused).iter().map(|denying_counter| &denying_counter.group)
}

fn example(decision: &SimulatedDecision<'_>, refused: &SimulatedDenial, units: &Units) -> Example {
    let view = |denying_counter: &DenyingCounter| {
        let unit = units.get(&denying_counter.group).copied().unwrap_or(Unit::Count);
        let number = |amount: Amount| Number(amount.to_decimal(unit));
        ExampleDeniedBy {
            group_id: denying_counter.group.to_string(),
            requested: number(denying_counter.requested),
            count: number(denying_counter.count),
            limit: number(denying_counter.limit),
        }
    };
    let reason = match refused {
        SimulatedDenial::For { reason, .. } => reason.as_str().to_owned(),
        SimulatedDenial::Invalid(fault) => format!("invalid_request: {}: {}", fault.field, fault.message),
    };
    made(decision, reason, denying(refused).iter().map(view).collect())
}

fn made(decision: &SimulatedDecision<'_>, reason: String, groups: Vec<ExampleDeniedBy>) -> Example {
    Example {
        at: rfc3339(decision.at_ms),
        user_id: UserId::to_string(decision.user),
        event: decision.call.event.as_ref().map(EventName::to_string),
        reason,
        groups,
    }
}
