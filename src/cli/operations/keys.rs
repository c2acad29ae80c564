//! `quotagate keys`: list, create and revoke API keys.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::table::{Column, print_json, print_list, text};
use crate::cli::remote::{Api, Call, List, Remote, RemoteError};

const COLUMNS: [Column; 8] = [
    ("id", "/id"),
    ("key", "/prefix"),
    ("kind", "/kind"),
    ("mode", "/mode"),
    ("sandbox", "/sandbox"),
    ("role", "/role"),
    ("name", "/name"),
    ("created", "/createdAt"),
];

const EMPTY: &str = "No keys yet. `quotagate keys create --kind secret --mode test` makes one for your application.";

/// List, create and revoke API keys
#[derive(Clone, Debug, clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List the active keys by their first characters
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a key, and show it once
    Create(Create),
    /// Revoke a key, on all nodes within a second
    Revoke {
        /// As `list` shows it
        id: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Create {
    /// secret for the app's back end, publishable for browsers, admin for operators
    #[arg(long, value_enum)]
    kind: Kind,
    /// Mode of a secret or publishable key: it sees only data of that mode
    #[arg(long, value_enum, required_if_eq_any([("kind", "secret"), ("kind", "publishable")]))]
    mode: Option<Mode>,
    /// Sandbox of a test key [default: main]
    #[arg(long, value_name = "SANDBOX")]
    sandbox: Option<String>,
    /// Role of an admin key; each role includes those before it
    #[arg(long, value_enum, required_if_eq("kind", "admin"))]
    role: Option<Role>,
    /// Name that lists show, for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Metadata of a secret key, for example team=red; overrides what its calls send; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    metadata: Vec<(String, String)>,
    /// Origin whose pages may use a publishable key, for example https://app.example; may be repeated
    #[arg(long, value_name = "ORIGIN", required_if_eq("kind", "publishable"))]
    origin: Vec<String>,
    /// Require a user token (X-User-Token) to read usage with the publishable key
    #[arg(long)]
    require_user_token: bool,
    /// Print the key and nothing else, for scripts
    #[arg(long, conflicts_with_all = ["require_user_token", "json"])]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Secret,
    Publishable,
    Admin,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mode {
    Live,
    Test,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Role {
    Viewer,
    Support,
    Approver,
    Admin,
}

/// As the API writes it.
fn word(value: impl clap::ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| value.get_name().to_owned())
}

impl Create {
    fn body(&self) -> Value {
        let mut body = json!({"kind": word(self.kind), "requireUserToken": self.require_user_token});
        let optional = [
            ("mode", self.mode.and_then(word)),
            ("role", self.role.and_then(word)),
            ("sandbox", self.sandbox.clone()),
            ("name", self.name.clone()),
        ];
        for (name, value) in optional.into_iter().filter(|(_, value)| value.is_some()) {
            body[name] = value.into();
        }
        if !self.metadata.is_empty() {
            body["metadata"] = self.metadata.iter().cloned().collect();
        }
        if !self.origin.is_empty() {
            body["origins"] = self.origin.clone().into();
        }
        body
    }
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: KeysArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        Verb::List { json } => {
            let mut found = api.get(&["keys"], &[]).await?;
            let data = found["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
            print_list(List { data, more: false }, &COLUMNS, json, EMPTY)
        }
        Verb::Create(create) => self::create(&api, &create).await,
        Verb::Revoke { id, yes } => {
            ask::confirm(&format!("Revoke key {id}?"), yes)?;
            api.call(Method::DELETE, &["keys", &id], Call::default()).await?;
            print::out(format!("Revoked key {id}.\n"));
            Ok(())
        }
    }
}

async fn create(api: &Api, create: &Create) -> Result<(), RemoteError> {
    let created = api.post(&["keys"], &create.body()).await?;
    if create.json {
        return print_json(&created);
    }
    if create.quiet {
        print::out(format!("{}\n", text(&created, "/key")));
        return Ok(());
    }
    print::out(format!("Key {}, shown once:\n\n  {}\n", text(&created, "/id"), text(&created, "/key")));
    if created["userTokenSecret"].is_string() {
        let secret = text(&created, "/userTokenSecret");
        print::out(format!("\nSecret for user tokens, shown once:\n\n  {secret}\n"));
    }
    Ok(())
}
