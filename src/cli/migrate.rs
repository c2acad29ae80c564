//! `quotagate migrate`: converts data of an older layout to the present one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::CommandError;
use crate::cli::print;
use crate::config::Secret;
use crate::infra::embedded_redis::{AppendFsync, EmbeddedOptions, EmbeddedRedis};
use crate::infra::supervise::Parts;
use crate::service::gateway::Gateway;
use crate::store::Store;
use crate::store::client::migrate::{FROM, Kind, MigrateOptions, Migrated, is_convertible};
use crate::store::keys::LAYOUT_VERSION;

/// Convert the data of the previous release to the layout of this one
///
/// Stop all gateways and make a backup first: the previous release cannot read converted data. After an interruption,
/// run it again: it resumes. Without a Redis URL it starts the private Redis of the data directory.
#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    /// Report what would be converted, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The Redis of the gateways; without it, the private one in the data directory
    #[arg(long, env = "QUOTAGATE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<Secret>,
    /// Data directory of a gateway that runs its own Redis
    #[arg(long, env = "QUOTAGATE_DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
}

/// The time limit of one round trip.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Exit code 0: all data has the layout of this release, or a dry run reported what would be converted. 1: some keys
/// cannot be read, or nothing was done.
///
/// # Errors
/// [`CommandError`]
pub async fn run(args: MigrateArgs) -> Result<ExitCode, CommandError> {
    if let Some(url) = &args.redis_url {
        return convert(url.expose(), args.dry_run).await;
    }
    if !args.data_dir.is_dir() {
        return Err(CommandError::Message(format!("there is no data directory {}", args.data_dir.display())));
    }
    let options =
        EmbeddedOptions { data_dir: args.data_dir.clone(), appendfsync: AppendFsync::default(), maxmemory: 0 };
    let input = |error: crate::infra::embedded_redis::EmbeddedRedisError| CommandError::Message(error.to_string());
    let embedded = EmbeddedRedis::start(&options, &Parts::default()).await.map_err(input)?;
    let done = convert(&embedded.url(), args.dry_run).await;
    embedded.stop().await;
    done
}

async fn convert(url: &str, dry_run: bool) -> Result<ExitCode, CommandError> {
    let store = Store::open(url, TIMEOUT)?;
    let Some(found) = store.layout().await? else {
        return Err(CommandError::Message("Redis has no quotagate data".to_owned()));
    };
    if found != LAYOUT_VERSION && !is_convertible(&found) {
        return Err(CommandError::Message(format!(
            "Redis holds data of layout {found}, this version reads layout {LAYOUT_VERSION} and converts layout {FROM}"
        )));
    }
    let keys = store.count_keys(u64::MAX).await?;
    say(format!("Redis holds {keys} keys with layout {found}. This version reads layout {LAYOUT_VERSION}."));
    let gateway = Gateway::new(store, None);
    if found != LAYOUT_VERSION {
        for line in gateway.nodes_about_to_stop().await? {
            print::err(format!("warning: {line}"));
        }
    }
    let bar = progress_bar(keys);
    let begun = Instant::now();
    let options = MigrateOptions { dry_run, ..MigrateOptions::default() };
    let report = |done: &Migrated| {
        bar.set_position(done.looked_at);
        bar.set_message(format!("{} converted", done.total()));
    };
    let done = gateway.store.migrate(options, report).await?;
    bar.finish_and_clear();
    say(summary(&done, begun.elapsed(), dry_run));
    for key in &done.strays {
        print::err(format!(
            "warning: {key} was written by a gateway of the old release after its owner was converted. It is deleted; run \
             `quotagate verify`"
        ));
    }
    for key in &done.unreadable {
        print::err(format!("error: {key} cannot be read. Repair or delete it, then run `quotagate migrate` again"));
    }
    Ok(if done.unreadable.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress_bar(keys: u64) -> ProgressBar {
    let bar = ProgressBar::new(keys);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} keys, {per_sec}, {msg}") {
        bar.set_style(style);
    }
    bar
}

fn say(line: String) {
    print::out(line + "\n");
}

fn summary(done: &Migrated, took: Duration, dry_run: bool) -> String {
    let of = |kind: Kind| done.converted.get(&kind).copied().unwrap_or(0);
    let what = format!(
        "{} owners, closed windows of {} owners, {} records of operations, {} approval requests, {} grants",
        of(Kind::Counters),
        of(Kind::Past),
        of(Kind::Operation),
        of(Kind::Approvals),
        of(Kind::Grants)
    );
    match (dry_run, done.total(), done.unreadable.len()) {
        (true, 0, _) => "Nothing to convert.".to_owned(),
        (true, _, _) => format!("Would convert {what}."),
        (false, 0, 0) if done.from == LAYOUT_VERSION => "Nothing to convert.".to_owned(),
        (false, _, 0) => format!(
            "Converted in {:.1} s: {what}.\nThe data has layout {LAYOUT_VERSION} now. Start the gateways, and run `quotagate \
             verify` for each app and mode.",
            took.as_secs_f64()
        ),
        (false, _, unreadable) => format!("Converted {what}. Not converted: {unreadable} keys that cannot be read."),
    }
}
