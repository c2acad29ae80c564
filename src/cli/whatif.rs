//! `quotagate whatif`: replays recorded calls against a draft: which calls would be denied, and what they would cost.

mod draft;
mod read;
mod report;
mod trace;

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::{CommandError, Direct};
use crate::cli::print;
use crate::cli::trace::TraceError;
use crate::domain::time::window::{TimeMs, parse_rfc3339};
use crate::domain::values::ids::PlanId;
use crate::service::error::ServiceError;
pub use crate::service::simulation::comparison::SimulationResult;
use crate::service::simulation::comparison::{Comparison, RuleSet, SimulationInput, Source};
use crate::service::simulation::own_quotas::OwnerReads;
use crate::service::simulation::relevant::Relevant;
pub use crate::service::simulation::report::{Agreement, GroupSum, Report, Side, UserSum};
pub use crate::service::simulation::report::{Changed, Example, ExampleDeniedBy};
use crate::service::simulation::timeline::TimelineBuilder;
use crate::service::simulation::users::counters_with;
use crate::service::simulation::whatif::units;
use draft::Draft;

/// Calls by which the replay under the present rules may be ahead of that under the draft.
const VERDICTS_AHEAD: usize = 10_000;

/// Replay recorded calls against a draft: which calls would be denied, and what they would cost.
///
/// Reads the ledger and the denials of an app and mode, and the present state of its users, and writes nothing. With
/// --trace it reads a CSV file instead, and no Redis.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("draft").required(true).args(["plan", "config"])))]
pub struct WhatifArgs {
    /// A plan, as for PUT plans/{id}: YAML or JSON
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// A whole configuration, as for apply
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replay with the users of this plan; for a trace: the plan of its users
    #[arg(long = "for", value_name = "PLAN_ID", value_parser = parse_plan)]
    of: Option<PlanId>,
    /// The draft applies from this time on (RFC 3339); earlier decisions stay as recorded
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<TimeMs>,
    /// Replay only what happened before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<TimeMs>,
    /// Replay this CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens instead of the ledger
    #[arg(long, value_name = "TRACE.csv", conflicts_with_all = ["since", "until"])]
    trace: Option<PathBuf>,
    /// Number of users of a trace; row i (from 0) belongs to user i mod N
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// The model of a trace's calls
    #[arg(long, value_name = "NAME", default_value = "chat-large")]
    model: String,
    /// The number of generated tokens that a call of a trace requests
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

impl From<TraceError> for CommandError {
    fn from(error: TraceError) -> Self {
        Self::Message(error.to_string())
    }
}

/// Replays and prints the report.
///
/// # Errors
/// [`CommandError`]
pub async fn run(args: WhatifArgs) -> Result<(), CommandError> {
    let report = simulate(&args).await?.report;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).map(|json| format!("{json}\n")),
        false => Ok(report.to_string()),
    };
    let text = text.map_err(|error| CommandError::Message(format!("cannot print the report: {error}")))?;
    print::out(text);
    Ok(())
}

/// # Errors
/// [`CommandError`]
pub async fn simulate(args: &WhatifArgs) -> Result<SimulationResult, CommandError> {
    let (path, whole) = match (&args.plan, &args.config) {
        (Some(plan), _) => (plan, false),
        (None, Some(config)) => (config, true),
        (None, None) => return Err(CommandError::Message("use --plan or --config".to_owned())),
    };
    let draft = Draft::read(path, whole)?;
    match &args.trace {
        Some(trace) => trace::simulate(args, &draft, trace),
        None => recorded(args, &draft).await,
    }
}

async fn recorded(args: &WhatifArgs, draft: &Draft) -> Result<SimulationResult, CommandError> {
    let began = Instant::now();
    let (gateway, tenant) = args.direct.open().await?;
    let present = gateway.present_config(&tenant.app).await?;
    let drafted = draft.within(&present, tenant.placement, args.of.as_ref())?;
    let extent = read::extent(&gateway, &tenant).await?;
    let grants = gateway.limit_changes_by_grants(&tenant).await?;
    let (since_ms, until_ms) = (args.since.unwrap_or(TimeMs::MIN), args.until.unwrap_or(TimeMs::MAX));
    let units = units(&drafted.config);
    let mut relevant = Relevant::new([&present, &drafted.config]);
    let bar = bar(extent.entries, "entries read");
    let (mut whole, mut reads) = (Comparison::default(), OwnerReads::default());
    for bucket in tenant.buckets() {
        let builder = TimelineBuilder::new(units.clone(), since_ms, until_ms, extent.whole);
        let timeline = read::timeline(&gateway, &bucket, builder, &mut relevant, &bar).await?;
        let (subscribed, mut moved) = gateway.users_of_timeline(&bucket, &timeline).await?;
        moved.extend(grants.iter().cloned());
        let work = SimulationInput {
            timeline: &timeline,
            units: &units,
            app: &tenant.app,
            subscribed: &subscribed,
            since_ms,
            refuses: true,
        };
        let instead = drafted.instead.as_ref().map(|(of, instead)| (of, instead));
        let rules = RuleSet { config: &drafted.config, instead };
        let both = [RuleSet { config: &present, instead: None }, rules];
        let own = gateway.own_quotas_of_timeline(&bucket, &work, both, &mut reads).await?;
        let counters = || counters_with(&moved, &own);
        let bar = replay_bar(&work);
        // The draft follows the present rules call by call.
        let (verdicts, before) = sync_channel(VERDICTS_AHEAD);
        let (under_draft, under_present) = std::thread::scope(|scope| {
            let under_present = scope.spawn(|| {
                // The receiver is gone if the other replay has failed.
                let verdict = move |verdict| drop(verdicts.send(verdict));
                work.present(&present, counters(), |_| {}, verdict)
            });
            let progress = |place| bar.set_position(place as u64);
            let under_draft = work.draft(rules, counters(), progress, before.into_iter());
            (under_draft, under_present.join())
        });
        bar.finish_and_clear();
        let under_present = under_present.map_err(|_| ServiceError::Internal("a replay ended early".to_owned()))?;
        whole.add(&timeline, under_draft, under_present, since_ms);
    }
    bar.finish_and_clear();
    let source = format!("the ledger of {}, {}", tenant.app, tenant.mode);
    Ok(whole.into_result(
        draft.title(),
        Source { name: source, entries: extent.entries, whole: extent.whole, unread_owners: reads.unread },
        &units,
        began,
    ))
}

/// A progress bar for a replay.
fn replay_bar(work: &SimulationInput<'_>) -> ProgressBar {
    bar(work.timeline.moments.len() as u64, "replayed")
}

/// A progress bar on stderr; hidden if stderr is not a terminal.
fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{bar:40}} {{human_pos}}/{{human_len}} {what}  {{eta}} left"))
    {
        bar.set_style(style);
    }
    bar
}
