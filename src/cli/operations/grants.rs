//! `quotagate grants`: list, create and revoke extra quota.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::table::{Column, print_json, print_list, text};
use crate::cli::remote::{Api, Call, RemoteError, RemoteMode};

const COLUMNS: [Column; 7] = [
    ("id", "/id"),
    ("limit", "/groupId"),
    ("scope", "/scope"),
    ("amount", "/amount"),
    ("unit", "/unit"),
    ("ends", "/endsAt"),
    ("note", "/note"),
];

/// List, create and revoke grants of extra quota
#[derive(Clone, Debug, clap::Args)]
pub struct GrantsArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: RemoteMode,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List active grants, those that end first before the others
    List {
        /// Only this user's
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// How many grants
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give extra quota to a user, or to another owner of a limit
    Create(Create),
    /// Take a grant back; what was used of it stays used
    Revoke {
        /// As `list` shows it
        id: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("owner").required(true).multiple(true).args(["user", "scope"])))]
struct Create {
    /// The limit group
    #[arg(value_name = "GROUP_ID")]
    group: String,
    /// Amount in the unit of the limit
    amount: String,
    /// The user whose counter it is for
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// An owner that is not a user, for example metadata.team=red; repeat it for a combination
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    scope: Vec<(String, String)>,
    /// When the grant ends, RFC 3339 [default: with the current window]
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Why; stored in the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: GrantsArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        Verb::List { user, limit, json } => {
            let query: Vec<(&str, &str)> = user.as_deref().map(|user| ("userId", user)).into_iter().collect();
            let adds = "`quotagate grants create GROUP_ID AMOUNT --user USER` adds one.";
            let empty = args.remote.none("No active grants", adds);
            print_list(api.list(&["grants"], &query, limit as usize).await?, &COLUMNS, json, &empty)
        }
        Verb::Create(create) => self::create(&api, create).await,
        Verb::Revoke { id, yes } => {
            ask::confirm(&format!("Revoke grant {id}?"), yes)?;
            api.call(Method::DELETE, &["grants", &id], Call::default()).await?;
            print::out(format!("Revoked grant {id}.\n"));
            Ok(())
        }
    }
}

async fn create(api: &Api, create: Create) -> Result<(), RemoteError> {
    let Create { group, amount, user, scope, expires_at, note, json } = create;
    let mut owner: BTreeMap<String, String> = scope.into_iter().collect();
    owner.extend(user.map(|user| ("user".to_owned(), user)));
    let body = json!({"groupId": group, "scope": owner, "amount": amount, "expiresAt": expires_at, "note": note});
    let grant = api.post(&["grants"], &body).await?;
    if json {
        return print_json(&grant);
    }
    let (id, amount, unit) = (text(&grant, "/id"), text(&grant, "/amount"), text(&grant, "/unit"));
    print::out(format!("Granted {amount} {unit} of {group} ({id}), until {}.\n", text(&grant, "/endsAt")));
    Ok(())
}
