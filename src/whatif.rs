//! `quotagate whatif`: recorded calls under a draft: who would have been denied what, and what it would have cost.

mod draft;
mod past;
mod read;
mod rehearsal;
mod report;
mod rules;
mod tally;
mod trace;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::direct::{Direct, DirectError};
use crate::domain::book::{Account, Book};
use crate::domain::ids::{AppId, GroupId, PlanId, UserId};
use crate::domain::subscription::Subscribed;
use crate::domain::window::{TimeMs, parse_rfc3339, rfc3339};
use crate::replay::TraceError;
use crate::service::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::store::error::StoreError;
use draft::Draft;
use past::{Past, PastBuilder, Units};
use rehearsal::{Rehearsal, Sums};
pub use report::{Agreement, GroupSum, Report, Side, UserSum};
use rules::Rules;
use tally::Tally;
pub use tally::{Changed, Example, LackView};

/// Users that are told as most affected.
const MOST_AFFECTED: usize = 10;

/// Replay recorded calls under a draft: who would have been denied what, and what it would have cost.
///
/// Reads the ledger and the denials of an app and mode, and its users as they are now, and writes
/// nothing. With --trace it reads a CSV file instead, and no Redis.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("draft").required(true).args(["plan", "config"])))]
pub struct WhatifArgs {
    /// A plan, as PUT plans/{id} takes it: YAML or JSON
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// A whole configuration, as apply takes it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Users of this plan get the one in --plan; of a trace: the plan of its users
    #[arg(long = "for", value_name = "PLAN_ID", value_parser = parse_plan)]
    of: Option<PlanId>,
    /// The draft comes into force at this time (RFC 3339); what was before counts as it was
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<TimeMs>,
    /// Nothing from this time on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<TimeMs>,
    /// CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens instead of the ledger
    #[arg(long, value_name = "TRACE.csv", conflicts_with_all = ["since", "until"])]
    trace: Option<PathBuf>,
    /// Users of a trace; row i (from 0) belongs to user i mod N
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Model that the calls of a trace name
    #[arg(long, value_name = "NAME", default_value = "chat-large")]
    model: String,
    /// Upper bound of generated tokens that a call of a trace asks for
    #[arg(long, value_name = "TOKENS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_output: u32,
    #[command(flatten)]
    direct: Direct,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

fn parse_time(text: &str) -> Result<TimeMs, String> {
    parse_rfc3339(text).ok_or_else(|| "must be a time like 2027-01-31T10:00:00Z".to_owned())
}

fn parse_plan(text: &str) -> Result<PlanId, String> {
    PlanId::parse(text).map_err(|error| error.to_string())
}

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
pub enum WhatifError {
    #[error("{0}")]
    Input(String),
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Direct(#[from] DirectError),
    #[error("cannot print the report: {0}")]
    Print(String),
}

impl From<ServiceError> for WhatifError {
    fn from(error: ServiceError) -> Self {
        Self::Direct(error.into())
    }
}

impl From<StoreError> for WhatifError {
    fn from(error: StoreError) -> Self {
        Self::Direct(error.into())
    }
}

/// A report, and the counters as the draft would leave them.
pub struct Rehearsed {
    pub report: Report,
    pub accounts: Vec<Account>,
}

/// Replays and prints the report.
///
/// # Errors
/// [`WhatifError`]
pub async fn run(args: WhatifArgs) -> Result<(), WhatifError> {
    let report = rehearse(&args).await?.report;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).map(|json| format!("{json}\n")),
        false => Ok(report.to_string()),
    };
    let text = text.map_err(|error| WhatifError::Print(error.to_string()))?;
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| WhatifError::Print(error.to_string()))
}

/// # Errors
/// [`WhatifError`]
pub async fn rehearse(args: &WhatifArgs) -> Result<Rehearsed, WhatifError> {
    let (path, whole) = match (&args.plan, &args.config) {
        (Some(plan), _) => (plan, false),
        (None, Some(config)) => (config, true),
        (None, None) => return Err(WhatifError::Input("give --plan or --config".to_owned())),
    };
    let draft = Draft::read(path, whole)?;
    match &args.trace {
        Some(trace) => trace::rehearse(args, &draft, trace),
        None => recorded(args, &draft).await,
    }
}

async fn recorded(args: &WhatifArgs, draft: &Draft) -> Result<Rehearsed, WhatifError> {
    let began = Instant::now();
    let (gateway, tenant) = args.direct.open().await?;
    let present = gateway.present_config(&tenant.app).await?;
    let drafted = draft.within(&present, tenant.placement, args.of.as_ref())?;
    let extent = read::extent(&gateway, &tenant).await?;
    let grants = read::grants(&gateway, &tenant).await?;
    let (since_ms, until_ms) = (args.since.unwrap_or(TimeMs::MIN), args.until.unwrap_or(TimeMs::MAX));
    let units = units(&drafted.config);
    let bar = bar(extent.entries, "entries read");
    let mut whole = Whole::default();
    for bucket in tenant.buckets() {
        let builder = PastBuilder::new(units.clone(), since_ms, until_ms);
        let past = read::past(&gateway, &bucket, builder, &bar).await?;
        let (subscribed, mut moved) = read::people(&gateway, &bucket, &past).await?;
        moved.extend(grants.iter().cloned());
        let work =
            Work { past: &past, units: &units, app: &tenant.app, subscribed: &subscribed, since_ms, refuses: true };
        let instead = drafted.instead.as_ref().map(|(of, instead)| (of, instead));
        let (under_draft, under_present) = std::thread::scope(|scope| {
            let present = scope.spawn(|| work.replay(&present, None, read::book(&moved)));
            (work.replay(&drafted.config, instead, read::book(&moved)), present.join())
        });
        let under_present = under_present.map_err(|_| ServiceError::Internal("a replay ended early".to_owned()))?;
        whole.add(&past, under_draft, Some(under_present), None, since_ms);
    }
    bar.finish_and_clear();
    let source = format!("the ledger of {}, {}", tenant.app, tenant.mode);
    Ok(whole.rehearsed(draft.title(), source, (extent.entries, extent.whole), &units, began))
}

fn units(config: &AppConfig) -> Units {
    config.groups.iter().map(|(group, kind)| (group.clone(), kind.unit)).collect()
}

/// A bar on stderr; there is none where stderr is no terminal.
fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{bar:40}} {{human_pos}}/{{human_len}} {what}  {{eta}} left"))
    {
        bar.set_style(style);
    }
    bar
}

/// What is replayed, whatever the rules.
struct Work<'a> {
    past: &'a Past,
    units: &'a Units,
    app: &'a AppId,
    subscribed: &'a [Subscribed],
    since_ms: TimeMs,
    /// False: what lacks room passes all the same.
    refuses: bool,
}

/// What a replay came to.
struct Replayed {
    tally: Tally,
    sums: Sums,
    accounts: Vec<Account>,
}

impl Work<'_> {
    fn replay(&self, config: &AppConfig, instead: Option<(&PlanId, &PlanId)>, book: Book) -> Replayed {
        let rules = Rules::new(self.app, config, instead, self.subscribed);
        let mut rehearsal = Rehearsal::new(self.past, rules, self.units, book, self.since_ms, self.refuses);
        let mut tally = Tally::default();
        let bar = bar(self.past.moments.len() as u64, "replayed");
        for (place, moment) in self.past.moments.iter().enumerate() {
            if place % 10_000 == 0 {
                bar.set_position(place as u64);
            }
            if let Some(judgement) = rehearsal.step(moment) {
                tally.add(&judgement, self.units);
            }
        }
        bar.finish_and_clear();
        Replayed { tally, sums: rehearsal.sums, accounts: rehearsal.book.into_accounts() }
    }
}

/// Sums over all buckets.
#[derive(Default)]
struct Whole {
    tally: Tally,
    present: Option<Agreement>,
    span: Option<(TimeMs, TimeMs)>,
    cents: (i64, i64),
    used: BTreeMap<GroupId, (i64, i64)>,
    unmeasured: u64,
    affected: Vec<UserSum>,
    users: (u64, u64),
    accounts: Vec<Account>,
}

impl Whole {
    /// `free`: what stands instead of what is recorded, where nothing is.
    fn add(&mut self, past: &Past, draft: Replayed, present: Option<Replayed>, free: Option<Sums>, since_ms: TimeMs) {
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

    fn rehearsed(
        self,
        draft: String,
        source: String,
        (entries, whole): (u64, bool),
        units: &Units,
        began: Instant,
    ) -> Rehearsed {
        let Tally { calls, were_denied, denied, newly_denied, newly_allowed, denied_otherwise, .. } = self.tally;
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
