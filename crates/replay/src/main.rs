//! `quotagate-replay`: sends a recorded trace of LLM calls through a running gateway, as an application would, and
//! checks from outside that its quotas held.

mod drive;
mod error;
mod exact;
mod gateway;
mod prices;
mod report;
mod tables;
mod tally;
mod usage;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use drive::Drive;
use error::ReplayError;
use exact::Exact;
use gateway::Gateway;
use prices::PriceTable;
use quotagate::cli::{print, trace};
use quotagate::config::Secret;
use report::{Percentiles, Report};
use tally::TraceSums;
use usage::Usage;

/// Replay a trace of LLM calls through a running gateway and check that its quotas held.
///
/// Each row of the trace becomes one call: a reserve of the upper bound (the context tokens and
/// --max-output generated ones), then, if allowed, a commit of the actual figures. The event is
/// llm.chat with the metadata model, prompt_tokens and completion_tokens; its quantity is their
/// sum. Every write has an idempotency key and is repeated, for up to a minute, while the
/// gateway cannot be reached or answers 503.
///
/// Afterwards the users' counters are read. The exit code is 0 only if no user is above a quota, every denial was
/// justified, and the counters rose by exactly the committed tokens (checked if one group counts all of them and no
/// new window began).
#[derive(Debug, Clone, Parser)]
#[command(version)]
struct ReplayArgs {
    /// CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens.
    #[arg(value_name = "TRACE.csv")]
    trace: PathBuf,
    /// Number of users; row i (from 0) belongs to user i mod N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    users: u32,
    /// Prefix of the users' names; a number follows.
    #[arg(long, value_name = "TEXT", default_value = "replay_")]
    user_prefix: String,
    /// Address of any node
    #[arg(long, env = "QUOTAGATE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// Secret key of the app (sk_live_… or sk_test_…); better set by variable than by option
    #[arg(long, env = "QUOTAGATE_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<Secret>,
    /// Subscribe every user to this plan first.
    #[arg(long, value_name = "PLAN_ID")]
    plan: Option<String>,
    /// Concurrent calls.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// The model of the calls; it must be in the price table.
    #[arg(long, value_name = "NAME", default_value = "chat-large")]
    model: String,
    /// The number of generated tokens that a reserve requests; a row with more requests its own number.
    #[arg(long, value_name = "TOKENS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_output: u32,
    /// Send calls at the trace's pace, this many times faster; without it, as fast as possible.
    #[arg(long, value_name = "FACTOR", value_parser = parse_speed)]
    speed: Option<f64>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Price table, cents per token by model [default: see --help]",
        long_help = prices::DEFAULT_TABLE_HELP
    )]
    prices: Option<PathBuf>,
    /// The group to compare the committed tokens with [default: the only one in tokens].
    #[arg(long, value_name = "GROUP_ID")]
    tokens_group: Option<String>,
    /// Print the figures as one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = ReplayArgs::parse();
    let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(args)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::err(format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Replays and prints the report. Fails after printing if decisions were wrong.
async fn run(args: ReplayArgs) -> Result<(), ReplayError> {
    let report = replay(&args).await?;
    let text = if args.json {
        serde_json::to_string_pretty(&report)
            .map(|json| format!("{json}\n"))
            .map_err(|error| ReplayError::Print(error.to_string()))?
    } else {
        report.to_string()
    };
    print::out(text);
    report.fault().map_or(Ok(()), |fault| Err(fault.into()))
}

/// Replays and returns the results with the checks.
async fn replay(args: &ReplayArgs) -> Result<Report, ReplayError> {
    let price = match &args.prices {
        Some(path) => PriceTable::read(path)?,
        None => PriceTable::default(),
    }
    .price(&args.model)?;
    let rows = trace::read(&args.trace)?;
    // Further users would get no call.
    let users: Vec<String> =
        (0..args.users as usize).take(rows.len()).map(|number| format!("{}{number}", args.user_prefix)).collect();
    let concurrency = usize::from(args.concurrency);
    let key = args.key.as_ref().map_or("", Secret::expose);
    let gateway = Gateway::new(&args.url, key, concurrency)?;
    let run = run_id();
    let drive = Drive {
        gateway: &gateway,
        users: &users,
        model: &args.model,
        max_output: args.max_output,
        concurrency,
        speed: args.speed,
        run: &run,
    };

    greet(&gateway, &users).await?;
    if let Some(plan_id) = &args.plan {
        drive.subscribe(plan_id).await?;
    }
    let before = read_usage(&gateway, &users, concurrency).await?;
    let tally = drive.calls(&rows, TraceSums::new(price)?).await?;
    let after = read_usage(&gateway, &users, concurrency).await?;
    let soft_groups = usage::soft_groups(&gateway, &after)
        .await
        .map_err(|source| ReplayError::call("reading the plans".to_owned(), source))?;

    Ok(Report {
        trace: args.trace.display().to_string(),
        model: args.model.clone(),
        users: users.len(),
        user_prefix: args.user_prefix.clone(),
        plan_id: args.plan.clone(),
        calls: tally.calls(),
        allowed: tally.allowed(),
        unmetered: tally.unmetered,
        denied: tally.denied,
        undue_denials: tally.undue_denials,
        context_tokens: tally.context_tokens,
        generated_tokens: tally.generated_tokens,
        cents: Exact(tally.cents),
        seconds: tally.elapsed.as_secs_f64(),
        calls_per_second: tally.calls_per_second(),
        retries: gateway.retries(),
        reserve_ms: Percentiles::of(&tally.reserve),
        commit_ms: Percentiles::of(&tally.commit),
        groups: verdict::sums_by_group(&after),
        nearest_to_quota: verdict::nearest_to_quota(&after),
        above_quota: verdict::above_quota(&before, &after, &soft_groups),
        token_check: verdict::check_tokens(&before, &after, args.tokens_group.as_deref(), tally.tokens()),
        denied_by_group: tally.denied_by_group,
        denied_by_reason: tally.denied_by_reason,
    })
}

/// Checks, before anything is written, that there is a gateway and that it accepts the key.
async fn greet(gateway: &Gateway, users: &[String]) -> Result<(), ReplayError> {
    let user = users.first().map_or("", String::as_str);
    gateway
        .get_once::<Usage>("usage", &[("userId", user)])
        .await
        .map(|_| ())
        .map_err(|source| ReplayError::call(format!("reading the usage of {user}"), source))
}

async fn read_usage(gateway: &Gateway, users: &[String], concurrency: usize) -> Result<Vec<Usage>, ReplayError> {
    usage::read_all(gateway, users, concurrency)
        .await
        .map_err(|source| ReplayError::call("reading the users' usage".to_owned(), source))
}

/// Unique per run, so that runs never share idempotency keys.
fn run_id() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", since_epoch.as_nanos(), std::process::id())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.001..=1_000_000.0).contains(speed))
        .ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    /// Parses the arguments without the variables of this terminal, such as `QUOTAGATE_URL`.
    fn parse(args: &[&str]) -> Result<ReplayArgs, String> {
        let args = ["quotagate-replay"].iter().chain(args);
        let command = ReplayArgs::command().mut_args(|arg| arg.env(None::<&'static str>));
        let matches = command.try_get_matches_from(args).map_err(|error| error.to_string())?;
        ReplayArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_has_the_documented_defaults() {
        let args = parse(&["t.csv", "--users", "3"]).unwrap();
        assert_eq!(args.url, "http://127.0.0.1:8080");
        assert_eq!((args.users, args.concurrency, args.max_output), (3, 64, 1000));
        assert_eq!((args.user_prefix.as_str(), args.model.as_str()), ("replay_", "chat-large"));
        assert!(args.speed.is_none() && args.plan.is_none() && !args.json);
    }

    #[test]
    fn figures_out_of_range_are_refused() {
        for bad in [
            ["t.csv", "--users=0"],
            ["t.csv", "--users=x"],
            ["--users=1", "--concurrency=0"],
            ["--users=1", "--max-output=0"],
            ["--users=1", "--speed=0"],
            ["--users=1", "--speed=NaN"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let args = parse(&["t.csv", "--users=3", "--key=sk_test_secret"]).unwrap();
        assert!(!format!("{args:?}").contains("secret"));
    }

    #[test]
    fn a_replay_can_run_on_any_thread() {
        fn is_send<T: Send>(_: T) {}
        is_send(run(parse(&["t.csv", "--users=3"]).unwrap()));
    }

    #[tokio::test]
    async fn bad_input_fails_in_one_line_before_any_call() {
        for (args, expected) in [
            (["no/such.csv", "--users=1"].as_slice(), "cannot read the trace no/such.csv: "),
            (&["t.csv", "--users=1", "--model=x"], "no price for model \"x\""),
            (&["t.csv", "--users=1", "--prices=no/such.json"], "cannot read the price table no/such.json: "),
        ] {
            let error = replay(&parse(args).unwrap()).await.unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
