//! The command line of `quotagate`.

#![recursion_limit = "256"]

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use quotagate::cli::operations::{
    credits, documents, estimates, explain, export_config, grants, keys, limits, top, users,
};
use quotagate::cli::{apply, export, inspect, migrate, pages, print, rollup, verify, whatif};
use quotagate::config::{Config, Init, LogFormat};
use quotagate::http;
use quotagate::http::middleware::limits::Limits;
use quotagate::infra::embedded_redis::EmbeddedRedis;
use quotagate::infra::supervise::Parts;
use quotagate::infra::telemetry;
use quotagate::startup::{Node, Options, install_metrics};
use tokio::signal::unix::{SignalKind, signal};

// Calls, replays and reports make many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Quotas for applications that resell AI capacity
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Subcommand)]
enum Command {
    /// Run a gateway node (the default)
    Serve(Config),
    Apply(apply::ApplyArgs),
    ExportConfig(export_config::ExportConfigArgs),
    Explain(explain::ExplainArgs),
    Top(top::TopArgs),
    Users(users::UsersArgs),
    Plans(documents::PlansArgs),
    Policies(documents::PoliciesArgs),
    Keys(keys::KeysArgs),
    Grants(grants::GrantsArgs),
    Limits(limits::LimitsArgs),
    Credits(credits::CreditsArgs),
    Estimates(estimates::EstimatesArgs),
    /// Show and explain a user's data in Redis
    Inspect(inspect::InspectArgs),
    /// Rebuild the rows of reports from the ledger
    Rollup(rollup::RebuildArgs),
    /// Recompute counters from the ledger and from live holds, and report differences
    ///
    /// Exit code 0: there are no differences, or all are repaired. 1: a difference remains, or an entry cannot be read.
    Verify(verify::VerifyArgs),
    Migrate(migrate::MigrateArgs),
    Export(export::ExportArgs),
    Whatif(whatif::WhatifArgs),
    /// Print the OpenAPI document
    Openapi,
    /// Print the JSON Schema of configuration files
    Schema,
    Completions(pages::CompletionsArgs),
    Man(pages::ManArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&Cli::command().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = match cli.command.unwrap_or(Command::Serve(cli.config)) {
        Command::Serve(config) => actix_web::rt::System::new().block_on(serve(config)),
        Command::Apply(args) => return coded(apply::run(args)),
        Command::Verify(args) => return coded(verify::run(args)),
        Command::Migrate(args) => return coded(migrate::run(args)),
        Command::Inspect(args) => block_on(async { inspect::run(args).await.map_err(Into::into) }),
        Command::Rollup(args) => block_on(async { rollup::run(args).await.map_err(Into::into) }),
        Command::Export(args) => block_on(async { export::run(args).await.map_err(Into::into) }),
        Command::Whatif(args) => block_on(async { whatif::run(args).await.map_err(Into::into) }),
        Command::ExportConfig(args) => once(export_config::run(args)),
        Command::Explain(args) => once(explain::run(args)),
        Command::Top(args) => once(top::run(args)),
        Command::Users(args) => once(users::run(args)),
        Command::Plans(args) => once(documents::plans(args)),
        Command::Policies(args) => once(documents::policies(args)),
        Command::Keys(args) => once(keys::run(args)),
        Command::Grants(args) => once(grants::run(args)),
        Command::Limits(args) => once(limits::run(args)),
        Command::Credits(args) => once(credits::run(args)),
        Command::Estimates(args) => once(estimates::run(args)),
        Command::Completions(args) => {
            pages::completions(&args, Cli::command());
            Ok(())
        }
        Command::Man(args) => pages::man(&args, Cli::command()).map_err(Into::into),
        Command::Openapi => http::openapi::document().map(print::out).map_err(Into::into),
        Command::Schema => http::openapi::configuration_schema().map(print::out).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    print::err(format!("error: {error}"));
    ExitCode::FAILURE
}

/// Runs a command with its own exit codes.
fn coded<E: std::error::Error>(run: impl Future<Output = Result<ExitCode, E>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(run)) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

/// A command that waits for a gateway, and for nothing else.
fn once<E: std::error::Error + 'static>(run: impl Future<Output = Result<(), E>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run).map_err(Into::into)
}

type Failure = Box<dyn std::error::Error>;

fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

async fn serve(config: Config) -> Result<(), Failure> {
    config.validate()?;
    // Its last lines are written before `main` prints an error.
    let _log = telemetry::init_logging(&config.log, config.log_format == LogFormat::Json)?;
    // Before the private Redis starts: it would survive a gateway that the signal kills.
    let mut stop = Box::pin(stop_signal()?);
    let parts = Parts::default();
    let embedded = match config.embedded_redis() {
        Some(options) => tokio::select! {
            started = EmbeddedRedis::start(&options, &parts) => Some(started?),
            // Loading may take minutes. A server that has not been used yet can be killed, as dropping it does.
            () = &mut stop => return Ok(()),
        },
        None => None,
    };
    let url = match (&embedded, &config.redis_url) {
        (Some(embedded), _) => embedded.url(),
        (None, Some(url)) => url.expose().to_owned(),
        (None, None) => return Err("no Redis to use".into()),
    };
    let options = Options {
        bind: config.bind,
        redis_url: url,
        redis_timeout: config.redis_timeout(),
        wait_replicas: config.wait_replicas,
        ledger_entries: config.ledger_entries,
        workers: usize::from(config.workers),
        root_key: config.admin_key.as_ref().map(|key| key.expose().to_owned()),
        config_file: config.config.clone(),
        deliver: config.deliver(),
        roll_up: config.roll_up(),
        journal: Some(config.journal()),
        limits: Limits::default(),
        straight_path: true,
        may_initialise: config.init == Init::Auto,
        parts,
    };
    let served = run_node(options, stop).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    served
}

/// Resolves when SIGTERM or SIGINT arrives. From this call on, the signals no longer kill the process.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
    })
}

async fn run_node(options: Options, mut stop: impl Future<Output = ()> + Unpin) -> Result<(), Failure> {
    let root_key = options.root_key.clone();
    let metrics = install_metrics()?;
    let node = tokio::select! {
        // If a signal arrives at the same time, the new root key is printed all the same.
        biased;
        node = Node::prepare(options, metrics) => node?,
        () = &mut stop => return Ok(()),
    };
    if let Err(error) = print::try_out(welcome(&node, root_key.is_some()) + "\n") {
        let lost = if node.new_root_key.is_some() {
            ", nor the new root admin key: set one in QUOTAGATE_ADMIN_KEY"
        } else {
            ""
        };
        tracing::warn!(%error, address = %node.address, "the introduction could not be printed{lost}");
    }
    Ok(node.run(stop).await?)
}

/// The output for new users: the address, and a first reserve to copy.
fn welcome(node: &Node, root_key_given: bool) -> String {
    let url = format!("http://{}", node.address);
    let (whence, key) = match (&node.new_root_key, root_key_given) {
        (Some(key), _) => ("The key is the root admin key. It is shown only now: keep it.", key.as_str()),
        (None, true) => ("Replace ak_… with the root admin key, which is in QUOTAGATE_ADMIN_KEY.", "ak_…"),
        (None, false) => (
            "Replace ak_… with the root admin key, which the first start printed.\n\
             If it is lost, start with a new one in QUOTAGATE_ADMIN_KEY, such as ak_$(openssl rand -hex 24).",
            "ak_…",
        ),
    };
    format!(
        r#"quotagate is listening on {url}
The dashboard is {url}/. Sign in with the admin key, and choose the mode Test to see what test keys do.

Paste these lines into another terminal. {whence}

  export QUOTAGATE_URL={url}
  export QUOTAGATE_KEY={key}

A plan, a secret key for your application, a user, and the first reserve:

  curl -sSX PUT $QUOTAGATE_URL/api/v1/plans/free -H "Authorization: Bearer $QUOTAGATE_KEY" \
    -d '{{"periodType":"monthly","periodAnchor":"calendar","groups":[{{"id":"images","unit":"count","quota":20,"matches":[{{"event":"image.*"}}]}}]}}'
  export APP_KEY=$(curl -sSX POST $QUOTAGATE_URL/api/v1/keys -H "Authorization: Bearer $QUOTAGATE_KEY" \
    -d '{{"kind":"secret","mode":"test"}}' | sed 's/.*"key":"\([^"]*\)".*/\1/')
  curl -sSX POST $QUOTAGATE_URL/api/v1/subscriptions -H "Authorization: Bearer $APP_KEY" -d '{{"userId":"u_42","planId":"free"}}'
  curl -sSX POST $QUOTAGATE_URL/api/v1/reserve -H "Authorization: Bearer $APP_KEY" -d '{{"userId":"u_42","event":"image.render"}}'
"#
    )
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    /// Every command, in the order of the help, with arguments that it accepts.
    const COMMANDS: [&[&str]; 24] = [
        &["serve"],
        &["apply", "file.yaml"],
        &["export-config"],
        &["explain", "ada", "image.a"],
        &["top", "--once"],
        &["users", "list"],
        &["users", "show", "ada"],
        &["plans", "list"],
        &["policies", "versions", "caps"],
        &["keys", "list"],
        &["grants", "list"],
        &["limits", "list", "images"],
        &["credits", "list", "packs", "--user", "ada"],
        &["estimates"],
        &["inspect", "ada"],
        &["rollup", "--rebuild"],
        &["verify"],
        &["migrate", "--dry-run"],
        &["export", "--out", "-"],
        &["whatif", "--plan", "file.yaml"],
        &["openapi"],
        &["schema"],
        &["completions", "bash"],
        &["man", "--out", "."],
    ];

    /// Variables whose values are a key, or may contain a password.
    const SECRETS: [&str; 3] = ["QUOTAGATE_KEY", "QUOTAGATE_ADMIN_KEY", "QUOTAGATE_REDIS_URL"];

    #[test]
    fn every_command_refuses_wrong_arguments_with_2() {
        let mut names: Vec<&str> = COMMANDS.iter().map(|arguments| arguments[0]).collect();
        names.dedup();
        let command = Cli::command();
        let all: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, all);
        for arguments in COMMANDS {
            let wrong = [&["quotagate"][..], arguments, &["--nonsense"]].concat();
            let error = Cli::command().try_get_matches_from(wrong).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::UnknownArgument, 2), "{arguments:?}: {error}");
            assert!(error.use_stderr(), "{arguments:?}");
        }
    }

    #[test]
    fn no_help_shows_a_secret() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![&root];
        let mut found = 0;
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            for argument in command.get_arguments() {
                let variable = argument.get_env().and_then(std::ffi::OsStr::to_str);
                if variable.is_some_and(|variable| SECRETS.contains(&variable)) {
                    assert!(argument.is_hide_env_values_set(), "{variable:?} of {}", command.get_name());
                    found += 1;
                }
            }
        }
        assert!(found > 20, "{found}");
    }
}
