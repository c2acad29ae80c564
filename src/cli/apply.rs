//! `quotagate apply FILE`: makes an app's configuration match a file, over HTTP.

mod told;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::cli::config_file::{ConfigFile, FileError};
use crate::cli::print;
use crate::config::Secret;
use crate::domain::values::field_error::FieldError;
use crate::service::configuration::apply::Applied;

/// Applying may look at every user.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Exit code of a dry run that found differences.
const WOULD_CHANGE: u8 = 3;

/// Make the configuration of an app match a file, and print the difference.
///
/// The file is YAML or JSON with the parts app, plans, policies and webhooks. A part that is left
/// out stays as it is; of a part that is there, what is not in it is deleted. All of it is applied,
/// or nothing.
///
/// Exit code 0: the configuration matches the file now. 1: nothing was changed, the reason is on
/// standard error. 3: it was a dry run, and there are differences.
#[derive(Clone, Debug, clap::Args)]
pub struct ApplyArgs {
    /// YAML or JSON; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Address of any node
    #[arg(long, env = "QUOTAGATE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// An admin key (ak_…); better set by variable than by option
    #[arg(long, env = "QUOTAGATE_ADMIN_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<Secret>,
    /// The app, for a root admin key
    #[arg(long, value_name = "APP")]
    app: Option<String>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{0}")]
    Input(String),
    #[error("{file}:{}: {}", .error.line, .error.message)]
    File { file: String, error: FileError },
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    #[error("cannot reach a gateway at {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("the gateway answered {0}")]
    Refused(String),
}

/// A problem as the gateway answers it.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    field: String,
    message: String,
}

/// # Errors
/// [`ApplyError`]
pub async fn run(args: ApplyArgs) -> Result<ExitCode, ApplyError> {
    let name = args.file.display().to_string();
    let text = match name.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(&args.file),
    };
    let text = text.map_err(|error| ApplyError::Input(format!("{name}: {error}")))?;
    let file = ConfigFile::parse(&text).map_err(|error| ApplyError::File { file: name.clone(), error })?;
    let applied = send(&args, &file, &name).await?;
    print::out(told::difference(&applied, args.dry_run));
    Ok(match args.dry_run && !applied.preview.changes.is_empty() {
        true => ExitCode::from(WOULD_CHANGE),
        false => ExitCode::SUCCESS,
    })
}

async fn send(args: &ApplyArgs, file: &ConfigFile, name: &str) -> Result<Applied, ApplyError> {
    let input = |message: &str| ApplyError::Input(message.to_owned());
    let key = args.key.as_ref().ok_or_else(|| input("no key: set QUOTAGATE_ADMIN_KEY to an admin key (ak_…)"))?;
    let url = Url::parse(&args.url)
        .and_then(|url| url.join("/api/v1/configuration"))
        .map_err(|error| ApplyError::Input(format!("--url {}: {error}", args.url)))?;
    let unreachable = |error: reqwest::Error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        ApplyError::Unreachable { url: args.url.clone(), why }
    };
    let mut request = crate::infra::http_client::builder()
        .timeout(TIMEOUT)
        .build()
        .map_err(unreachable)?
        .put(url)
        .query(&[("dryRun", args.dry_run)])
        .bearer_auth(key.expose())
        .header("content-type", "application/json")
        .body(file.document.to_string());
    if let Some(app) = &args.app {
        request = request.header("x-app", app);
    }
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.bytes().await.map_err(unreachable)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| ApplyError::Refused(error.to_string()));
    }
    let problem: Problem = serde_json::from_slice(&body).map_err(|_| ApplyError::Refused(status.to_string()))?;
    if problem.errors.is_empty() {
        return Err(ApplyError::Refused(format!("{} {}: {}", status.as_u16(), problem.code, problem.detail)));
    }
    let faults = problem.errors.into_iter().map(|fault| FieldError::new(fault.field, fault.message)).collect();
    Err(ApplyError::Faults(lines(name, file, faults)))
}

/// Each fault with the line of its field.
pub fn lines(name: &str, file: &ConfigFile, faults: Vec<FieldError>) -> Vec<String> {
    let told = faults.into_iter().map(|fault| match file.line_of(&fault.field) {
        Some(line) => format!("{name}:{line}: {}: {}", fault.field, fault.message),
        None => format!("{name}: {}: {}", fault.field, fault.message),
    });
    told.collect()
}
