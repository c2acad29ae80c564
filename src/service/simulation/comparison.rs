//! Replays a timeline with several sets of rules, and sums up the results of all buckets.

use std::collections::BTreeMap;
use std::time::Instant;

use super::report::{self, Agreement, Changed, GroupSum, Report, Side, UserSum};
use super::rules::Rules;
use super::simulator::{DecidedCalls, SimulatedDecision, SimulationSums, Simulator};
use super::tally::{OutcomeSums, PresentSums, Verdict};
use super::timeline::{Timeline, Units};
use crate::domain::accounts::subscription::Subscribed;
use crate::domain::simulation::in_memory_counters::{Account, InMemoryCounters};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{AppId, GroupId, PlanId, UserId};
use crate::service::configuration::app_config::AppConfig;

/// The number of users that are listed as most affected.
const MOST_AFFECTED: usize = 10;
/// The number of moments between two progress reports.
const PROGRESS_EVERY: usize = 10_000;

/// The input of a replay, apart from the rules.
pub struct SimulationInput<'a> {
    pub timeline: &'a Timeline,
    pub units: &'a Units,
    pub app: &'a AppId,
    /// In the order of the timeline's users.
    pub subscribed: &'a [Subscribed],
    pub since_ms: TimeMs,
    /// If false, calls over the limit are allowed too.
    pub refuses: bool,
}

/// The result of a replay of the present rules.
pub struct PresentSimulation {
    tally: PresentSums,
    sums: SimulationSums,
}

/// The result of a replay of a draft.
pub struct DraftSimulation {
    tally: OutcomeSums,
    sums: SimulationSums,
    accounts: Vec<Account>,
}

impl DraftSimulation {
    /// Drops the counters, which reports do not need.
    pub fn without_accounts(self) -> Self {
        Self { accounts: Vec::new(), ..self }
    }
}

/// A report, and the counters as the draft would leave them.
pub struct SimulationResult {
    pub report: Report,
    pub accounts: Vec<Account>,
}

/// A configuration to replay calls with.
#[derive(Clone, Copy)]
pub struct RuleSet<'a> {
    pub config: &'a AppConfig,
    /// Users of the first plan get the second.
    pub instead: Option<(&'a PlanId, &'a PlanId)>,
}

impl SimulationInput<'_> {
    /// Replays the present rules. `progress` is called from time to time with the number of replayed moments, `verdict` with
    /// the decision about each call, in order.
    pub fn present(
        &self,
        config: &AppConfig,
        counters: InMemoryCounters,
        progress: impl Fn(usize),
        mut verdict: impl FnMut(Verdict),
    ) -> PresentSimulation {
        let mut tally = PresentSums::default();
        let (sums, _) =
            self.replay(RuleSet { config, instead: None }, counters, progress, |decision| verdict(tally.add(decision)));
        PresentSimulation { tally, sums }
    }

    /// Replays a draft. `before`: the verdicts of the present rules.
    pub fn draft(
        &self,
        drafted: RuleSet<'_>,
        counters: InMemoryCounters,
        progress: impl Fn(usize),
        mut before: impl Iterator<Item = Verdict>,
    ) -> DraftSimulation {
        let mut tally = OutcomeSums::default();
        let add = |decision: &SimulatedDecision<'_>| tally.add(decision, &before.next().flatten(), self.units);
        let (sums, accounts) = self.replay(drafted, counters, progress, add);
        DraftSimulation { tally, sums, accounts }
    }

    /// Usage and charges of a replay that nothing is compared with.
    pub fn sums(&self, config: &AppConfig, counters: InMemoryCounters) -> SimulationSums {
        self.replay(RuleSet { config, instead: None }, counters, |_| {}, |_| {}).0
    }

    fn replay(
        &self,
        rules: RuleSet<'_>,
        counters: InMemoryCounters,
        progress: impl Fn(usize),
        mut on_decision: impl FnMut(&SimulatedDecision<'_>),
    ) -> (SimulationSums, Vec<Account>) {
        let rules = Rules::new(self.app, rules.config, rules.instead, self.subscribed);
        let enforced = DecidedCalls { since_ms: self.since_ms, refuses: self.refuses };
        let mut simulator = Simulator::new(self.timeline, rules, self.units, counters, enforced);
        for (place, moment) in self.timeline.moments.iter().enumerate() {
            if place % PROGRESS_EVERY == 0 {
                progress(place);
            }
            if let Some(decision) = simulator.step(moment) {
                on_decision(&decision);
            }
        }
        (simulator.sums, simulator.counters.into_accounts())
    }
}

/// A figure as recorded, under the present rules, and under the draft; in steps.
#[derive(Clone, Copy, Default)]
struct ComparedFigure {
    recorded: i64,
    present: i64,
    draft: i64,
}

/// The sums over all buckets.
#[derive(Default)]
pub struct Comparison {
    tally: OutcomeSums,
    /// With how many calls the present rules deny.
    present: Option<(Agreement, u64)>,
    span: Option<(TimeMs, TimeMs)>,
    cents: ComparedFigure,
    used: BTreeMap<GroupId, ComparedFigure>,
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
    /// Owners whose own quotas were not read.
    pub unread_owners: u64,
}

impl Comparison {
    /// Adds a bucket of recorded calls.
    pub fn add(&mut self, timeline: &Timeline, draft: DraftSimulation, present: PresentSimulation, since_ms: TimeMs) {
        self.add_span(timeline, since_ms);
        for moment in timeline.moments.iter().filter(|moment| moment.at_ms >= since_ms) {
            self.cents.recorded += moment.cost;
        }
        for (group, used) in &timeline.used {
            self.used.entry(group.clone()).or_default().recorded += used;
        }
        self.cents.present += present.sums.cost;
        for (group, used) in &present.sums.used {
            self.used.entry(group.clone()).or_default().present += used;
        }
        let (sum, denied) = self.present.get_or_insert_default();
        let Agreement { calls, agree, denied_otherwise } = present.tally.agreement;
        sum.calls += calls;
        sum.agree += agree;
        sum.denied_otherwise += denied_otherwise;
        *denied += present.tally.denied;
        self.add_draft(timeline, draft, &present.sums.cost_of);
    }

    /// Adds a trace; `free`: without any refusal.
    pub fn add_trace(&mut self, timeline: &Timeline, draft: DraftSimulation, free: SimulationSums) {
        self.add_span(timeline, TimeMs::MIN);
        self.cents.recorded += free.cost;
        for (group, used) in &free.used {
            self.used.entry(group.clone()).or_default().recorded += used;
        }
        self.add_draft(timeline, draft, &free.cost_of);
    }

    fn add_span(&mut self, timeline: &Timeline, since_ms: TimeMs) {
        let first = timeline.moments.iter().find(|moment| moment.at_ms >= since_ms);
        for at_ms in first.into_iter().chain(timeline.moments.last()).map(|moment| moment.at_ms) {
            let (first, last) = self.span.unwrap_or((at_ms, at_ms));
            self.span = Some((first.min(at_ms), last.max(at_ms)));
        }
    }

    /// `before`: the charges of users without the draft, in steps of a cent.
    fn add_draft(&mut self, timeline: &Timeline, draft: DraftSimulation, before: &[i64]) {
        self.cents.draft += draft.sums.cost;
        for (group, used) in &draft.sums.used {
            self.used.entry(group.clone()).or_default().draft += used;
        }
        self.unmeasured += draft.sums.unmeasured;
        for (user, (denied, allowed)) in &draft.tally.of_users {
            self.users.0 += u64::from(*denied > 0);
            self.users.1 += u64::from(*allowed > 0);
            let cents = |of: &[i64]| report::cents(of.get(*user).copied().unwrap_or(0));
            self.affected.push(UserSum {
                user_id: timeline.users.get(*user).map(UserId::to_string).unwrap_or_default(),
                newly_denied: *denied,
                newly_allowed: *allowed,
                cents_present: cents(before),
                cents_draft: cents(&draft.sums.cost_of),
            });
        }
        self.affected.sort_by(|one, other| {
            let weight = |user: &UserSum| (user.newly_denied, user.newly_allowed);
            weight(other).cmp(&weight(one)).then_with(|| one.user_id.cmp(&other.user_id))
        });
        self.affected.truncate(MOST_AFFECTED);
        self.tally.merge(draft.tally);
        self.accounts.extend(draft.accounts);
    }

    /// `draft`: the name of the draft.
    pub fn into_result(self, draft: String, source: Source, units: &Units, began: Instant) -> SimulationResult {
        let Source { name: source, entries, whole, unread_owners } = source;
        let OutcomeSums { calls, were_denied, denied, newly_denied, newly_allowed, observed, denied_otherwise, .. } =
            self.tally;
        let is_ledger = self.present.is_some();
        let group = |(group, sums): (&GroupId, &ComparedFigure)| {
            let unit = *units.get(group)?;
            let progress = |steps: i64| report::in_unit(steps, unit);
            Some(GroupSum {
                group_id: group.to_string(),
                unit,
                recorded: progress(sums.recorded),
                present: is_ledger.then(|| progress(sums.present)),
                draft: progress(sums.draft),
            })
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
            recorded: side(were_denied, self.cents.recorded),
            present: self.present.map(|(_, denied)| side(denied, self.cents.present)),
            under_draft: side(denied, self.cents.draft),
            newly_denied: Changed { users: self.users.0, ..newly_denied },
            newly_allowed: Changed { users: self.users.1, ..newly_allowed },
            observed,
            denied_otherwise,
            unmeasured: self.unmeasured,
            unread_owners,
            groups: self.used.iter().filter_map(group).collect(),
            most_affected: self.affected,
            present_rules: self.present.map(|(agreement, _)| agreement),
            seconds: began.elapsed().as_secs_f64(),
        };
        SimulationResult { report, accounts: self.accounts }
    }
}
