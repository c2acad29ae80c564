//! `quotagate export`: the ledger and the denials of an app and mode, written oldest first, to go on where it ended.

mod csv;
mod file;
mod format;
mod ndjson;
mod sink;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::{DirectError, meet};
use crate::cli::print;
use crate::config::Secret;
use crate::domain::reporting::ledger::EntryKind;
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::ids::{AppId, Mode, UserId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::reporting::events::filter::EventFilter;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::merge::Span;
use crate::service::reporting::events::view::EventView;
use crate::service::tenant::Tenant;
use crate::store::Store;
use crate::store::error::StoreError;
use csv::Csv;
use file::{FileSink, Stdout};
use ndjson::Ndjson;
use sink::{Sink, SinkError};

/// Events between two looks at the progress bar.
const SHOWN_EVERY: u64 = 1_000;

/// Write the ledger and the denials of an app and mode, oldest first.
///
/// If FILE exists, the export goes on after the last whole event in it. Events have stable ids.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Where to; - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// [default: csv for a FILE that ends in .csv, else ndjson]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Only what was taken down at or after this time (RFC 3339, real time)
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    since: Option<u64>,
    /// Only what was taken down before this time
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    until: Option<u64>,
    /// Only these: commit, draw, release, track, refund, reset, expire, outcome, denial
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', value_parser = kind)]
    types: Vec<EntryKind>,
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// The Redis of the gateway; unset, the private one under the data directory
    #[arg(long, env = "QUOTAGATE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// Data directory of a gateway that runs its own Redis
    #[arg(long, env = "QUOTAGATE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
    #[arg(long, default_value = "default")]
    app: String,
    /// live, test, or test/<sandbox>
    #[arg(long, default_value = "live")]
    mode: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
}

fn time_ms(text: &str) -> Result<u64, String> {
    let time = parse_rfc3339(text).ok_or("must be an RFC 3339 time, such as 2026-11-01T00:00:00Z")?;
    // Nothing was taken down before 1970.
    Ok(u64::try_from(time).unwrap_or(0))
}

fn kind(text: &str) -> Result<EntryKind, String> {
    EntryKind::parse(text)
        .ok_or_else(|| format!("must be some of {}", EntryKind::ALL.map(EntryKind::as_str).join(", ")))
}

/// Why an export ended early; one line. What was written before stays, and the next one goes on there.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}")]
    Input(String),
    #[error("{}", told(.0))]
    Service(ServiceError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

fn told(error: &ServiceError) -> String {
    match error {
        ServiceError::StoreUnavailable(what) => format!("Redis cannot be reached: {what}"),
        ServiceError::StoreRefused(what) => format!("Redis does not take it now: {what}"),
        other => other.to_string(),
    }
}

impl From<ServiceError> for ExportError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

/// # Errors
/// [`ExportError`]
pub async fn run(args: ExportArgs) -> Result<(), ExportError> {
    let input = |what: &str, error: String| ExportError::Input(format!("{what} {error}"));
    let user = args.user.as_deref().map(UserId::parse).transpose();
    let user = user.map_err(|error| input("--user", error.to_string()))?;
    let app = AppId::parse(&args.app).map_err(|error| input("--app", error.to_string()))?;
    let mode = Mode::parse(&args.mode).map_err(|error| input("--mode", error))?;
    let url = match &args.redis_url {
        Some(url) => url.expose().to_owned(),
        None => crate::infra::embedded_redis::url_of(&args.data_dir)
            .map_err(|error| ExportError::Input(error.to_string()))?,
    };
    let gateway = Gateway::new(Store::open(&url, Duration::from_secs(5))?, None);
    meet(&gateway).await.map_err(|error| match error {
        DirectError::Input(what) => ExportError::Input(what),
        DirectError::Service(error) => ExportError::Service(error),
    })?;
    let placement = gateway.placement(&app).await?;
    let tenant = Tenant { app, mode, placement };
    let filter = EventFilter { types: args.types.iter().copied().collect::<BTreeSet<_>>(), user, ..Default::default() };
    let until_ms = gateway.complete_until_ms(&tenant).await?;
    let span = Span { from_ms: args.since, to_ms: Some(until_ms.min(args.until.unwrap_or(until_ms))) };
    let mut sink = sink(&args)?;
    let written = write(&gateway, &tenant, &filter, span, sink.as_mut()).await;
    // Also after a fault: what was written need not be read again.
    sink.finish()?;
    let written = written?;
    print::err(format!("events written: {written}"));
    Ok(())
}

fn sink(args: &ExportArgs) -> Result<Box<dyn Sink>, SinkError> {
    let is_csv = args.out.extension().is_some_and(|extension| extension == "csv");
    let format = args.format.unwrap_or(if is_csv { FormatName::Csv } else { FormatName::Ndjson });
    Ok(match (format, args.out == Path::new("-")) {
        (FormatName::Csv, true) => Box::new(Stdout::new(Csv)),
        (FormatName::Csv, false) => Box::new(FileSink::open(&args.out, Csv)?),
        (FormatName::Ndjson, true) => Box::new(Stdout::new(Ndjson)),
        (FormatName::Ndjson, false) => Box::new(FileSink::open(&args.out, Ndjson)?),
    })
}

/// Writes what is wanted and not there yet. Answers how many events that were.
async fn write(
    gateway: &Gateway,
    tenant: &Tenant,
    filter: &EventFilter,
    span: Span,
    sink: &mut dyn Sink,
) -> Result<u64, ExportError> {
    let mut config = gateway.load_config(&tenant.app).await?;
    let last = sink.last()?;
    if let Some(last) = last
        && gateway.has_forgotten_since(tenant, filter, last).await?
    {
        print::err(format!("warning: the ledger has forgotten entries; some behind {last} may be missing"));
    }
    let mut entries = gateway.all_events(tenant, filter, span, last);
    let mut bar = Progress::new(last, span);
    let mut written = 0;
    while let Some((id, entry)) = entries.next().await? {
        if filter.wants(&entry) {
            config = gateway.config_telling(&tenant.app, config, &entry).await?;
            sink.write(&EventView::new(id, &entry, &config))?;
            written += 1;
        }
        bar.passed(id, written);
    }
    bar.bar.finish_and_clear();
    for id in entries.damaged() {
        print::err(format!("warning: {id} cannot be read and is left out"));
    }
    Ok(written)
}

/// A bar on stderr over the time that is told; indicatif shows none where stderr is no terminal.
struct Progress {
    bar: ProgressBar,
    from_ms: Option<u64>,
    until_ms: u64,
    passed: u64,
}

impl Progress {
    fn new(last: Option<EventId>, span: Span) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}%  {msg}  {elapsed}") {
            bar.set_style(style);
        }
        let from_ms = last.map(|last| last.at.time_ms).max(span.from_ms);
        Self { bar, from_ms, until_ms: span.to_ms.unwrap_or(0), passed: 0 }
    }

    fn passed(&mut self, id: EventId, written: u64) {
        let from_ms = *self.from_ms.get_or_insert(id.at.time_ms);
        if self.passed.is_multiple_of(SHOWN_EVERY) {
            self.bar.set_length(self.until_ms.saturating_sub(from_ms));
            self.bar.set_position(id.at.time_ms.saturating_sub(from_ms));
            self.bar.set_message(format!("{written} events"));
        }
        self.passed += 1;
    }
}
