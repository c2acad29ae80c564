//! `quotagate credits`: list, add and void prepaid amounts of single owners.

use serde_json::{Value, json};

use super::Owner;
use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::table::{Column, print_json, print_list, text};
use crate::cli::remote::{RemoteError, RemoteMode};

const COLUMNS: [Column; 9] = [
    ("id", "/id"),
    ("amount", "/amount"),
    ("remaining", "/remaining"),
    ("held", "/held"),
    ("used", "/used"),
    ("unit", "/unit"),
    ("status", "/status"),
    ("expires", "/expiresAt"),
    ("source", "/sourceId"),
];

/// List, add and void credits: prepaid amounts of users, teams, keys or other owners
#[derive(Clone, Debug, clap::Args)]
pub struct CreditsArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: RemoteMode,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List the credits of one owner, live and ended ones, the newest first
    List {
        /// The balance group
        #[arg(value_name = "GROUP_ID")]
        group: String,
        #[command(flatten)]
        owner: Owner,
        /// How many credits
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a credit to the balance of one owner
    Add {
        /// The balance group
        #[arg(value_name = "GROUP_ID")]
        group: String,
        /// Amount in the unit of the group
        amount: String,
        #[command(flatten)]
        owner: Owner,
        /// When the credit expires, RFC 3339 [default: never]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
        /// ID of what paid for it, such as a payment; an ID adds at most one credit to the owner
        #[arg(long, value_name = "ID")]
        source_id: Option<String>,
        /// Why; stored with the credit and in the audit log
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what remains of a credit, and what open reservations return to it later
    Void {
        /// As `list` shows it
        id: String,
        /// Remove only this amount of what remains
        #[arg(long, value_name = "AMOUNT")]
        amount: Option<String>,
        /// Why; stored in the ledger and in the audit log
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: CreditsArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        Verb::List { group, owner, limit, json } => {
            // The app is that of the key.
            let named = owner.to_map().into_iter().filter(|(name, _)| *name != "app");
            let named = named.map(|(name, value)| (if name == "user" { "userId" } else { name }, value));
            let query: Vec<(&str, &str)> = named.chain([("groupId", group.as_str())]).collect();
            let words = owner.words();
            let adds = format!("`quotagate credits add {group} AMOUNT --user USER` adds one.");
            let empty = args.remote.none(&format!("No credits of {words} in {group}"), &adds);
            print_list(api.list(&["credits"], &query, limit as usize).await?, &COLUMNS, json, &empty)
        }
        Verb::Add { group, amount, owner, expires_at, source_id, note, json } => {
            let scope = owner.to_map();
            let body = json!({"groupId": group, "scope": scope, "amount": amount, "expiresAt": expires_at,
                "sourceId": source_id, "note": note});
            let credit = api.post(&["credits"], &body).await?;
            if json {
                return print_json(&credit);
            }
            let expires = match credit["expiresAt"].as_str() {
                Some(time) => format!("expires at {time}"),
                None => "does not expire".to_owned(),
            };
            let (amount, unit, id) = (text(&credit, "/amount"), text(&credit, "/unit"), text(&credit, "/id"));
            print::out(format!("{} has {amount} {unit} of {group} ({id}); it {expires}.\n", owner.words()));
            Ok(())
        }
        Verb::Void { id, amount, note, yes } => {
            let what = amount.as_deref().unwrap_or("what remains");
            ask::confirm(&format!("Remove {what} of credit {id}?"), yes)?;
            let body = json!({"amount": amount, "note": note});
            let credit = api.post(&["credits", &id, "void"], &body).await?;
            print::out(voided(&credit));
            Ok(())
        }
    }
}

/// What is left of a credit.
fn voided(credit: &Value) -> String {
    let [id, unit, voided, remaining, held] =
        ["/id", "/unit", "/voided", "/remaining", "/held"].map(|pointer| text(credit, pointer));
    format!("Credit {id}: {voided} {unit} voided, {remaining} remaining, {held} held.\n")
}
