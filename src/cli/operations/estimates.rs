//! `quotagate estimates`: list what the gateway has learned.

use crate::cli::remote::table::{Column, print_list};
use crate::cli::remote::{RemoteError, RemoteMode};

const COLUMNS: [Column; 8] = [
    ("event", "/event"),
    ("field", "/field"),
    ("by", "/by"),
    ("quantile", "/quantile"),
    ("value", "/value"),
    ("samples", "/samples"),
    ("compared", "/compared"),
    ("exceeded", "/exceeded"),
];

/// List the learned estimates: what a reserve holds for figures that it does not know
///
/// `compared`: how many samples are of reservations that used a learned estimate. `exceeded`: how many of those were
/// larger than the estimate. With fewer than 100 samples, the value is the `start` of the configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct EstimatesArgs {
    /// Only estimates of this event; `*` stands for any characters
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// How many estimates
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteMode,
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: EstimatesArgs) -> Result<(), RemoteError> {
    let query: Vec<(&str, &str)> = args.event.iter().map(|event| ("event", event.as_str())).collect();
    let list = args.remote.client()?.list(&["estimates"], &query, args.limit as usize).await?;
    let hint = "A plan learns figures with `\"estimate\": {\"<field>\": {\"quantile\": 0.95, \"start\": …}}`.";
    let empty = args.remote.none("Nothing was learned", hint);
    print_list(list, &COLUMNS, args.json, &empty)
}
