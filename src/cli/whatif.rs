//! `quotagate whatif`: replays recorded calls against a draft: which calls would be denied, and what they would cost.

mod draft;
mod read;
mod report;
mod trace;

use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::{Direct, DirectError};
use crate::cli::print;
use crate::cli::replay::TraceError;
use crate::domain::simulation::in_memory_counters::Book;
use crate::domain::time::window::{TimeMs, parse_rfc3339};
use crate::domain::values::ids::PlanId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::service::simulation::past::PastBuilder;
use crate::service::simulation::people::book;
use crate::service::simulation::relevant::Relevant;
pub use crate::service::simulation::report::{Agreement, GroupSum, Report, Side, UserSum};
pub use crate::service::simulation::tally::{Changed, Example, LackView};
use crate::service::simulation::whatif::units;
pub use crate::service::simulation::whole::Rehearsed;
use crate::service::simulation::whole::{Replayed, Source, Whole, Work};
use crate::store::error::StoreError;
use draft::Draft;

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

/// Why there is no report.
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
    print::out(text);
    Ok(())
}

/// # Errors
/// [`WhatifError`]
pub async fn rehearse(args: &WhatifArgs) -> Result<Rehearsed, WhatifError> {
    let (path, whole) = match (&args.plan, &args.config) {
        (Some(plan), _) => (plan, false),
        (None, Some(config)) => (config, true),
        (None, None) => return Err(WhatifError::Input("use --plan or --config".to_owned())),
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
    let grants = gateway.moved_by_grants(&tenant).await?;
    let (since_ms, until_ms) = (args.since.unwrap_or(TimeMs::MIN), args.until.unwrap_or(TimeMs::MAX));
    let units = units(&drafted.config);
    let mut relevant = Relevant::new([&present, &drafted.config]);
    let bar = bar(extent.entries, "entries read");
    let mut whole = Whole::default();
    for bucket in tenant.buckets() {
        let builder = PastBuilder::new(units.clone(), since_ms, until_ms, extent.whole);
        let past = read::past(&gateway, &bucket, builder, &mut relevant, &bar).await?;
        let (subscribed, mut moved) = gateway.people(&bucket, &past).await?;
        moved.extend(grants.iter().cloned());
        let work =
            Work { past: &past, units: &units, app: &tenant.app, subscribed: &subscribed, since_ms, refuses: true };
        let instead = drafted.instead.as_ref().map(|(of, instead)| (of, instead));
        let (under_draft, under_present) = std::thread::scope(|scope| {
            let present = scope.spawn(|| replay(&work, &present, None, book(&moved)));
            (replay(&work, &drafted.config, instead, book(&moved)), present.join())
        });
        let under_present = under_present.map_err(|_| ServiceError::Internal("a replay ended early".to_owned()))?;
        whole.add(&past, under_draft, Some(under_present), None, since_ms);
    }
    bar.finish_and_clear();
    let source = format!("the ledger of {}, {}", tenant.app, tenant.mode);
    Ok(whole.rehearsed(
        draft.title(),
        Source { name: source, entries: extent.entries, whole: extent.whole },
        &units,
        began,
    ))
}

/// Replays with a progress bar.
fn replay(work: &Work<'_>, config: &AppConfig, instead: Option<(&PlanId, &PlanId)>, book: Book) -> Replayed {
    let bar = bar(work.past.moments.len() as u64, "replayed");
    let replayed = work.replay(config, instead, book, |place| bar.set_position(place as u64));
    bar.finish_and_clear();
    replayed
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
