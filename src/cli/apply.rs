//! `quotagate apply FILE`: makes an app's configuration match a file, over HTTP, after showing the difference.

mod difference;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reqwest::Method;

use crate::cli::config_file::{ConfigFile, FileError};
use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::problem::Problem;
use crate::cli::remote::{Api, Call, Remote, RemoteError};
use crate::domain::values::field_error::FieldError;
use crate::service::configuration::apply::Applied;
pub use difference::difference;

/// Exit code of a dry run that found differences.
const WOULD_CHANGE: u8 = 3;

/// Make the configuration of an app match a file, after showing the difference
///
/// The file is YAML or JSON with the sections app, plans, policies and webhooks. Entries that it lists are created or
/// changed. Entries that a section does not list stay, unless --prune deletes them. A section that is left out stays
/// unchanged. Everything is applied, or nothing. On a terminal the command asks before it changes anything; elsewhere
/// it needs --yes.
///
/// Exit code 0: the configuration matches the file now. 1: nothing was changed, and the reason is on standard error.
/// 3: it was a dry run, and there are differences.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    /// YAML or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show the difference, also if it would be refused, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Delete entries that a section of the file does not list
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{file}: {error}")]
    Read { file: String, error: std::io::Error },
    #[error("{file}:{}: {}", .error.line, .error.message)]
    File { file: String, error: FileError },
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    #[error("{refusal}: `quotagate plans delete PLAN_ID --move-to OTHER_ID` moves the users of a plan and deletes it")]
    PlanInUse { refusal: String },
    #[error("nothing was changed: somebody else changed the configuration meanwhile, so run the command again")]
    ChangedMeanwhile,
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// # Errors
/// [`ApplyError`]
pub async fn run(args: ApplyArgs) -> Result<ExitCode, ApplyError> {
    let (name, file) = read_file(&args.file)?;
    let order = ApplyOrder { api: args.remote.client()?, name, file, prune: args.prune };
    let (previewed, revision) = match order.send(true, None).await {
        Ok(previewed) => previewed,
        Err(refused) => {
            if let Some(preview) = refused.preview {
                print::out(difference(&preview));
            }
            return Err(refused.error);
        }
    };
    print::out(difference(&previewed));
    if previewed.preview.changes.is_empty() {
        print::out("Nothing to change: the configuration matches the file.\n");
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        print::out("Dry run: nothing was changed.\n");
        return Ok(ExitCode::from(WOULD_CHANGE));
    }
    if !ask::confirmed("Apply these changes?", args.yes)? {
        return Ok(ExitCode::FAILURE);
    }
    let (applied, _) = order.send(false, revision.as_deref()).await.map_err(|refused| refused.error)?;
    print::out("Applied.\n");
    for (webhook, secret) in &applied.webhook_secrets {
        print::out(format!("Secret of webhook {webhook}, shown once: {secret}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a YAML or JSON file, or standard input for `-`. Returns its name too.
///
/// # Errors
/// [`ApplyError`]
pub fn read_file(path: &Path) -> Result<(String, ConfigFile), ApplyError> {
    let file = path.display().to_string();
    let text = match file.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(path),
    };
    let text = text.map_err(|error| ApplyError::Read { file: file.clone(), error })?;
    let read = ConfigFile::parse(&text).map_err(|error| ApplyError::File { file: file.clone(), error })?;
    Ok((file, read))
}

/// What is to be applied.
struct ApplyOrder {
    api: Api,
    name: String,
    file: ConfigFile,
    prune: bool,
}

/// Why it was not applied, with what a dry run would have changed.
struct ApplyFailure {
    error: ApplyError,
    preview: Option<Box<Applied>>,
}

impl ApplyOrder {
    /// Returns the changes, made or previewed, and the revision of the configuration.
    async fn send(&self, dry_run: bool, if_match: Option<&str>) -> Result<(Applied, Option<String>), ApplyFailure> {
        let query = [("dryRun", dry_run.to_string()), ("prune", self.prune.to_string())];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let call = Call { query: &query, body: Some(&self.file.document), if_match };
        let answer = self.api.call(Method::PUT, &["configuration"], call).await.map_err(|error| self.refused(error))?;
        let unreadable = |error: serde_json::Error| ApplyFailure {
            error: RemoteError::input(format!("the gateway's response cannot be read: {error}")).into(),
            preview: None,
        };
        Ok((serde_json::from_value(answer.body).map_err(unreadable)?, answer.etag))
    }

    fn refused(&self, error: RemoteError) -> ApplyFailure {
        let RemoteError::Refused(mut problem) = error else {
            return ApplyFailure { error: error.into(), preview: None };
        };
        let preview = problem.preview.take();
        let error = match problem.code.as_deref() {
            Some("invalid_request") if !problem.errors.is_empty() => ApplyError::Faults(self.faults(&problem)),
            Some("version_conflict") => ApplyError::ChangedMeanwhile,
            _ => match users_on(&problem) {
                Some(refusal) => ApplyError::PlanInUse { refusal },
                None => RemoteError::Refused(problem).into(),
            },
        };
        ApplyFailure { error, preview }
    }

    fn faults(&self, problem: &Problem) -> Vec<String> {
        let faults = problem.errors.iter();
        let faults = faults.map(|fault| FieldError::new(fault.field.clone(), fault.message.clone())).collect();
        lines(&self.name, &self.file, faults)
    }
}

/// What a refusal says of users on plans, without its advice for clients of the API.
fn users_on(problem: &Problem) -> Option<String> {
    let detail = problem.detail.as_deref().filter(|_| problem.is("plan_in_use"))?;
    detail.split_once(". Move them").map(|(users, _)| users.to_owned())
}

/// Each fault with the line of its field.
pub fn lines(name: &str, file: &ConfigFile, faults: Vec<FieldError>) -> Vec<String> {
    let lines = faults.into_iter().map(|fault| match file.line_of(&fault.field) {
        Some(line) => format!("{name}:{line}: {}: {}", fault.field, fault.message),
        None => format!("{name}: {}: {}", fault.field, fault.message),
    });
    lines.collect()
}
