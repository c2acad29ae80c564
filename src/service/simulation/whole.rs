//! Replays a timeline with several sets of rules, and sums up the results of all buckets.

use std::collections::BTreeMap;
use std::time::Instant;

use super::past::{Past, Units};
use super::rehearsal::{Enforced, Rehearsal, Sums};
use super::report::{self, Agreement, GroupSum, Report, Side, UserSum};
use super::rules::Rules;
use super::tally::{Changed, OutcomeSums};
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::simulation::in_memory_counters::{Account, Book};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{AppId, GroupId, PlanId, UserId};
use crate::service::configuration::app_config::AppConfig;

/// The number of users that are listed as most affected.
const MOST_AFFECTED: usize = 10;
/// The number of moments between two progress reports.
const TOLD_EVERY: usize = 10_000;

/// The input of a replay, apart from the rules.
pub struct Work<'a> {
    pub past: &'a Past,
    pub units: &'a Units,
    pub app: &'a AppId,
    /// In the order of the timeline's users.
    pub subscribed: &'a [Subscribed],
    pub since_ms: TimeMs,
    /// If false, calls over the limit are allowed too.
    pub refuses: bool,
}

/// The result of a replay.
pub struct Replayed {
    tally: OutcomeSums,
    pub sums: Sums,
    accounts: Vec<Account>,
}

impl Replayed {
    /// Drops the counters, which reports do not need.
    pub fn without_accounts(self) -> Self {
        Self { accounts: Vec::new(), ..self }
    }
}

/// A report, and the counters as the draft would leave them.
pub struct Rehearsed {
    pub report: Report,
    pub accounts: Vec<Account>,
}

impl Work<'_> {
    /// `instead`: users of the first plan get the second. `told` is called from time to time with the number of
    /// replayed moments.
    pub fn replay(
        &self,
        config: &AppConfig,
        instead: Option<(&PlanId, &PlanId)>,
        book: Book,
        told: impl Fn(usize),
    ) -> Replayed {
        let rules = Rules::new(self.app, config, instead, self.subscribed);
        let enforced = Enforced { since_ms: self.since_ms, refuses: self.refuses };
        let mut rehearsal = Rehearsal::new(self.past, rules, self.units, book, enforced);
        let mut tally = OutcomeSums::default();
        for (place, moment) in self.past.moments.iter().enumerate() {
            if place % TOLD_EVERY == 0 {
                told(place);
            }
            if let Some(judgement) = rehearsal.step(moment) {
                tally.add(&judgement, self.units);
            }
        }
        Replayed { tally, sums: rehearsal.sums, accounts: rehearsal.book.into_accounts() }
    }
}

/// The sums over all buckets.
#[derive(Default)]
pub struct Whole {
    tally: OutcomeSums,
    present: Option<Agreement>,
    span: Option<(TimeMs, TimeMs)>,
    cents: (i64, i64),
    used: BTreeMap<GroupId, (i64, i64)>,
    unmeasured: u64,
    affected: Vec<UserSum>,
    users: (u64, u64),
    accounts: Vec<Account>,
}

/// The source of the replayed calls.
pub struct Source {
    pub name: String,
    pub entries: u64,
    /// Whether no entry was ever dropped there.
    pub whole: bool,
}

impl Whole {
    /// `free`: used in place of the recorded side where nothing is recorded.
    pub fn add(
        &mut self,
        past: &Past,
        draft: Replayed,
        present: Option<Replayed>,
        free: Option<Sums>,
        since_ms: TimeMs,
    ) {
        let judged = || past.moments.iter().filter(|moment| moment.at_ms >= since_ms);
        for at_ms in judged().next().into_iter().chain(past.moments.last()).map(|moment| moment.at_ms) {
            let (first, last) = self.span.unwrap_or((at_ms, at_ms));
            self.span = Some((first.min(at_ms), last.max(at_ms)));
        }
        let mut recorded_of = vec![0; past.users.len()];
        for moment in judged() {
            self.cents.0 += moment.cost;
            if let Some(sum) = past.calls.get(moment.call).and_then(|call| recorded_of.get_mut(call.user)) {
                *sum += moment.cost;
            }
        }
        let (recorded, recorded_of) = match free {
            Some(free) => {
                self.cents.0 += free.cost;
                (free.used, free.cost_of)
            }
            None => (past.used.clone(), recorded_of),
        };
        self.cents.1 += draft.sums.cost;
        for (group, used) in &recorded {
            self.used.entry(group.clone()).or_default().0 += used;
        }
        for (group, used) in &draft.sums.used {
            self.used.entry(group.clone()).or_default().1 += used;
        }
        self.unmeasured += draft.sums.unmeasured;
        for (user, (denied, allowed)) in &draft.tally.of_users {
            self.users.0 += u64::from(*denied > 0);
            self.users.1 += u64::from(*allowed > 0);
            let cents = |of: &[i64]| report::cents(of.get(*user).copied().unwrap_or(0));
            self.affected.push(UserSum {
                user_id: past.users.get(*user).map(UserId::to_string).unwrap_or_default(),
                newly_denied: *denied,
                newly_allowed: *allowed,
                cents_recorded: cents(&recorded_of),
                cents_draft: cents(&draft.sums.cost_of),
            });
        }
        self.affected.sort_by(|one, other| {
            let weight = |user: &UserSum| (user.newly_denied, user.newly_allowed);
            weight(other).cmp(&weight(one)).then_with(|| one.user_id.cmp(&other.user_id))
        });
        self.affected.truncate(MOST_AFFECTED);
        if let Some(Replayed { tally, .. }) = present {
            let sum = self.present.get_or_insert(Agreement { calls: 0, agree: 0 });
            sum.calls += tally.calls;
            sum.agree += tally.calls - tally.newly_denied.calls - tally.newly_allowed.calls;
        }
        self.tally.merge(draft.tally);
        self.accounts.extend(draft.accounts);
    }

    /// `draft`: the name of the draft.
    pub fn rehearsed(self, draft: String, source: Source, units: &Units, began: Instant) -> Rehearsed {
        let Source { name: source, entries, whole } = source;
        let OutcomeSums { calls, were_denied, denied, newly_denied, newly_allowed, denied_otherwise, .. } = self.tally;
        let group = |(group, (recorded, drafted)): (&GroupId, &(i64, i64))| {
            let unit = *units.get(group)?;
            let (recorded, draft) = (report::in_unit(*recorded, unit), report::in_unit(*drafted, unit));
            Some(GroupSum { group_id: group.to_string(), unit, recorded, draft })
        };
        let side = |denied, cents| Side { allowed: calls - denied, denied, cents: Some(report::cents(cents)) };
        let report = Report {
            draft,
            source,
            since: self.span.map(|(first, _)| rfc3339(first)),
            until: self.span.map(|(_, last)| rfc3339(last)),
            entries,
            whole,
            calls,
            recorded: side(were_denied, self.cents.0),
            under_draft: side(denied, self.cents.1),
            newly_denied: Changed { users: self.users.0, ..newly_denied },
            newly_allowed: Changed { users: self.users.1, ..newly_allowed },
            denied_otherwise,
            unmeasured: self.unmeasured,
            groups: self.used.iter().filter_map(group).collect(),
            most_affected: self.affected,
            present_rules: self.present,
            seconds: began.elapsed().as_secs_f64(),
        };
        Rehearsed { report, accounts: self.accounts }
    }
}
