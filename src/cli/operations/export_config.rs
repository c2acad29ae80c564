//! `quotagate export-config`: the present configuration as a file that `apply` takes.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use crate::cli::print;
use crate::cli::remote::{Api, Call, Remote, RemoteError};
use crate::cli::yaml;

/// Write the configuration of an app as a file that `apply` takes
///
/// The gateway checks what was exported: applied again, it changes nothing. Keys, users and the secrets of
/// webhooks are not in the file.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportConfigArgs {
    /// The file to write; an existing one is replaced [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// [default: json for a FILE that ends in .json, else yaml]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: ExportConfigArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    let document = api.get(&["configuration"], &[]).await?;
    check(&api, &document).await?;
    let is_json = args.out.as_ref().is_some_and(|file| file.extension().is_some_and(|extension| extension == "json"));
    let text = match args.format.unwrap_or(if is_json { Format::Json } else { Format::Yaml }) {
        Format::Yaml => yaml::text(&document),
        Format::Json => pretty(&document)?,
    };
    match args.out {
        None => print::out(text),
        Some(file) => replace(&file, &text)
            .map_err(|error| RemoteError::Input(format!("cannot write {}: {error}", file.display())))?,
    }
    Ok(())
}

/// Whether the document, applied again, changes nothing.
async fn check(api: &Api, document: &Value) -> Result<(), RemoteError> {
    let call = Call { query: &[("dryRun", "true")], body: Some(document), ..Call::default() };
    match api.call(Method::PUT, &["configuration"], call).await {
        Ok(checked) if checked.body["changes"].as_array().is_some_and(Vec::is_empty) => Ok(()),
        Ok(_) => Err(RemoteError::input("the configuration was changed meanwhile: run the command again")),
        Err(error) if error.problem("forbidden_key").is_some() => Err(RemoteError::input(
            "only an admin key can export the configuration: others see the URLs of webhooks masked",
        )),
        Err(error) if error.problem("invalid_request").is_some() => {
            print::err(format!("warning: an older release accepted what this one would refuse: {error}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn pretty(document: &Value) -> Result<String, RemoteError> {
    let text = serde_json::to_string_pretty(document).map_err(|error| RemoteError::input(error.to_string()))?;
    Ok(text + "\n")
}

/// In one step, so that no reader sees half a file.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".new");
    let new = file.with_file_name(name);
    std::fs::write(&new, text)?;
    std::fs::rename(&new, file)
}
