//! `quotagate verify`: recomputes counters from the ledger while gateways are running.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::direct::{CommandError, Direct};
use crate::cli::print;
use crate::cli::remote::ask;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::reporting::proof::Figure;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::UserId;
use crate::service::reporting::verify::{LocatedDrift, Verified};

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct VerifyArgs {
    /// Only this user's counters; the result is not stored for the metrics
    #[arg(long)]
    user: Option<String>,
    /// Repair differences, after a confirmation
    #[arg(long)]
    repair: bool,
    /// Do not ask for confirmation
    #[arg(long, requires = "repair")]
    yes: bool,
    #[command(flatten)]
    direct: Direct,
}

/// Exit code 0: everything agrees (or was repaired). 1: something differs, an entry cannot be read, or nothing could
/// be checked.
///
/// # Errors
/// [`CommandError`]
pub async fn run(args: VerifyArgs) -> Result<ExitCode, CommandError> {
    let user = args.user.as_deref().map(UserId::parse).transpose();
    let user = user.map_err(|error| CommandError::Message(format!("--user {error}")))?;
    let (gateway, tenant) = args.direct.open().await?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let progress = |entries: u64, owners: u64| bar.set_message(format!("{entries} entries, {owners} owners"));
    let mut verified = gateway.verify(&tenant, user.as_ref(), progress).await?;
    bar.finish_and_clear();
    say(summary(&verified));
    for id in &verified.damaged {
        say(format!("damaged: {id} cannot be read"));
    }
    for found in &verified.drifts {
        say(line(found));
    }
    if args.repair && !verified.drifts.is_empty() && confirmed(&verified, args.yes)? {
        let mut left = Vec::new();
        for found in verified.drifts {
            if found.drift.figure == Figure::Gone {
                say(format!("not repaired: {} (the window no longer exists)", place(&found)));
                left.push(found);
            } else if found.drift.figure == Figure::Credits {
                say(format!("not repaired: {} (add or void a credit instead)", place(&found)));
                left.push(found);
            } else if found.drift.doubtful {
                say(format!("not repaired: {} (an unreadable entry may explain it)", place(&found)));
                left.push(found);
            } else if gateway.repair(&tenant, &found).await? {
                say(format!("repaired: {}", place(&found)));
            } else {
                say(format!("already correct: {}", place(&found)));
            }
        }
        verified.drifts = left;
    }
    if user.is_none() {
        gateway.keep_verified(&tenant, &verified).await?;
    }
    Ok(if verified.drifts.is_empty() && verified.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(line: String) {
    print::out(line + "\n");
}

fn confirmed(verified: &Verified, yes: bool) -> Result<bool, CommandError> {
    let question = format!("Repair {}?", counted(verified.drifts.len() as u64, "counter"));
    ask::confirmed(&question, yes).map_err(|error| CommandError::Message(error.to_string()))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn summary(verified: &Verified) -> String {
    let since = verified.since_ms.map_or_else(|| "complete".to_owned(), |ms| format!("retained since {}", rfc3339(ms)));
    let (owners, accounts) = (counted(verified.owners, "owner"), counted(verified.accounts, "window"));
    let entries = if verified.entries == 1 { "entry" } else { "entries" };
    let drifts = match verified.drifts.len() {
        0 => "no drift".to_owned(),
        count => counted(count as u64, "drift"),
    };
    let damaged = match verified.damaged.len() {
        0 => String::new(),
        1 => ", 1 entry that cannot be read".to_owned(),
        count => format!(", {count} entries that cannot be read"),
    };
    format!("{owners}, {accounts}, {} {entries} of the ledger ({since}): {drifts}{damaged}", verified.entries)
}

fn place(found: &LocatedDrift) -> String {
    let drift = &found.drift;
    format!("{}, group {}, window {}, {}", drift.owner, drift.group, drift.window_seq, drift.figure.as_str())
}

fn line(found: &LocatedDrift) -> String {
    let drift = &found.drift;
    let amount = |steps: i64| {
        let sign = if steps < 0 { "-" } else { "" };
        let amount = Amount::from_steps(steps.unsigned_abs()).unwrap_or(Amount::LARGEST);
        format!("{sign}{} {}", amount.to_decimal(found.unit), found.unit)
    };
    let proof = if drift.figure == Figure::Held { "the live holds have" } else { "the ledger proves" };
    let entry = |id: &EntryId| format!("led_{:02x}_{}-{}", found.bucket.number(), id.time_ms, id.number);
    let entries: Vec<String> = drift.entries.iter().map(entry).collect();
    let see = if entries.is_empty() { String::new() } else { format!(" (see {})", entries.join(", ")) };
    let doubt = if drift.doubtful { "; an unreadable entry may explain it" } else { "" };
    let (stored, proven) = (amount(drift.stored), amount(drift.proven));
    format!("drift: {}: stored is {stored}, {proof} {proven}{see}{doubt}", place(found))
}
