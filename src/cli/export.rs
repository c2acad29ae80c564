//! `quotagate export`: writes the ledger and the denials of an app and mode, oldest first, and continues an earlier
//! export.

mod csv;
mod file;
mod format;
mod ndjson;
mod sink;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::{CommandError, Direct};
use crate::cli::print;
use crate::domain::reporting::ledger::EntryKind;
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::document;
use crate::domain::values::ids::UserId;
use crate::service::gateway::Gateway;
use crate::service::reporting::events::filter::EventFilter;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::merge::Span;
use crate::service::reporting::events::view::EventView;
use crate::service::tenant::Tenant;
use csv::Csv;
use file::{FileSink, Stdout};
use format::Origin;
use ndjson::Ndjson;
use sink::{Sink, SinkError};

/// Events between two updates of the progress bar.
const SHOWN_EVERY: u64 = 1_000;

/// Write the ledger and the denials of an app and mode to a file, oldest first
///
/// If the file exists, the export continues after its last complete event, which must be of the same app and mode.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// The file to write; - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// [default: csv for a FILE that ends in .csv, else ndjson]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Only events recorded at or after this time (RFC 3339, real time)
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    since: Option<u64>,
    /// Only events recorded before this time
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    until: Option<u64>,
    /// Only these types: commit, draw, release, track, refund, reset, rollover, expire, outcome, credit, lapse, void,
    /// denial
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', value_parser = kind)]
    types: Vec<EntryKind>,
    /// Only events of this user
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    direct: Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
}

fn time_ms(text: &str) -> Result<u64, String> {
    let time = parse_rfc3339(text).ok_or("must be an RFC 3339 time, such as 2026-11-01T00:00:00Z")?;
    // No event is older than 1970.
    Ok(u64::try_from(time).unwrap_or(0))
}

fn kind(text: &str) -> Result<EntryKind, String> {
    EntryKind::parse(text).ok_or_else(|| document::not_one_of(text, &EntryKind::ALL.map(EntryKind::as_str)))
}

impl From<SinkError> for CommandError {
    fn from(error: SinkError) -> Self {
        Self::Message(error.to_string())
    }
}

/// # Errors
/// [`CommandError`]. Events that were written stay, and the next export continues after them.
pub async fn run(args: ExportArgs) -> Result<(), CommandError> {
    let user = args.user.as_deref().map(UserId::parse).transpose();
    let user = user.map_err(|error| CommandError::Message(format!("--user {error}")))?;
    let (gateway, tenant) = args.direct.open().await?;
    let filter = EventFilter { types: args.types.iter().copied().collect::<BTreeSet<_>>(), user, ..Default::default() };
    let until_ms = gateway.complete_until_ms(&tenant).await?;
    let span = Span { from_ms: args.since, to_ms: Some(until_ms.min(args.until.unwrap_or(until_ms))) };
    let mut sink = sink(&args, &Origin::of(&tenant))?;
    let written = write(&gateway, &tenant, &filter, span, sink.as_mut()).await;
    // Even after an error, so that complete events need not be exported again.
    sink.finish()?;
    let written = written?;
    print::err(format!("events written: {written}"));
    Ok(())
}

fn sink(args: &ExportArgs, origin: &Origin) -> Result<Box<dyn Sink>, SinkError> {
    let is_csv = args.out.extension().is_some_and(|extension| extension == "csv");
    let format = args.format.unwrap_or(if is_csv { FormatName::Csv } else { FormatName::Ndjson });
    Ok(match (format, args.out == Path::new("-")) {
        (FormatName::Csv, true) => Box::new(Stdout::new(Csv, origin)),
        (FormatName::Csv, false) => Box::new(FileSink::open(&args.out, Csv, origin)?),
        (FormatName::Ndjson, true) => Box::new(Stdout::new(Ndjson, origin)),
        (FormatName::Ndjson, false) => Box::new(FileSink::open(&args.out, Ndjson, origin)?),
    })
}

/// Writes the wanted events that are not written yet. Returns their number.
async fn write(
    gateway: &Gateway,
    tenant: &Tenant,
    filter: &EventFilter,
    span: Span,
    sink: &mut dyn Sink,
) -> Result<u64, CommandError> {
    let mut config = gateway.load_config(&tenant.app).await?;
    let last = sink.last()?;
    if let Some(last) = last
        && gateway.has_forgotten_since(tenant, filter, last).await?
    {
        print::err(format!("warning: the ledger has dropped old entries; some after {last} may be missing"));
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
        print::err(format!("warning: {id} cannot be read and was skipped"));
    }
    Ok(written)
}

/// A progress bar on stderr over the exported time range; indicatif hides it if stderr is not a terminal.
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
