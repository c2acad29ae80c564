//! `quotagate limits`: list, set and remove the limits of single owners.

use reqwest::Method;
use serde_json::json;

use super::Owner;
use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::table::{Column, print_json, print_list};
use crate::cli::remote::{Call, RemoteError, RemoteMode};

const COLUMNS: [Column; 5] =
    [("scope", "/scope"), ("quota", "/quota"), ("unit", "/unit"), ("until", "/until"), ("note", "/note")];
/// The quota that counts without limit, as people write it.
const UNLIMITED: &str = "unlimited";

/// List, set and remove other quotas of single teams, keys, users or other owners
#[derive(Clone, Debug, clap::Args)]
pub struct LimitsArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: RemoteMode,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List the owners whose quota differs from that of the limit
    List {
        /// The limit group
        #[arg(value_name = "GROUP_ID")]
        group: String,
        /// How many owners
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give one owner another quota; 0 denies all its calls
    Set {
        /// The limit group
        #[arg(value_name = "GROUP_ID")]
        group: String,
        /// Quota in the unit of the limit, or `unlimited`
        quota: String,
        #[command(flatten)]
        owner: Owner,
        /// When this quota ends, RFC 3339 [default: never]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why; stored in the audit log
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove the quota of one owner; the quota of the limit applies again
    Remove {
        /// The limit group
        #[arg(value_name = "GROUP_ID")]
        group: String,
        #[command(flatten)]
        owner: Owner,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: LimitsArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        Verb::List { group, limit, json } => {
            let list = api.list(&["limits"], &[("groupId", &group)], limit as usize).await?;
            let sets = format!("`quotagate limits set {group} QUOTA --user USER` sets one.");
            let empty = args.remote.none(&format!("No owner has another quota than the limit {group}"), &sets);
            print_list(list, &COLUMNS, json, &empty)
        }
        Verb::Set { group, quota, owner, until, note, json } => {
            let wanted = (quota != UNLIMITED).then_some(&quota);
            let body = json!({"scope": owner.to_map(), "quota": wanted, "until": until, "note": note});
            let call = Call { body: Some(&body), ..Call::default() };
            let set = api.call(Method::PUT, &["limits", &group], call).await?.body;
            if json {
                return print_json(&set);
            }
            let until = until.map_or_else(String::new, |until| format!(", until {until}"));
            print::out(format!("The quota of {} in {group} is {quota}{until}.\n", owner.words()));
            Ok(())
        }
        Verb::Remove { group, owner, yes } => {
            let words = owner.words();
            ask::confirm(&format!("Remove the quota of {words} in {group}?"), yes)?;
            let body = json!({"scope": owner.to_map()});
            let call = Call { body: Some(&body), ..Call::default() };
            api.call(Method::DELETE, &["limits", &group], call).await?;
            print::out(format!("Removed the quota of {words} in {group}.\n"));
            Ok(())
        }
    }
}
