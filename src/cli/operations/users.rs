//! `quotagate users`: find users, show one, and what operators do to one.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::print;
use crate::cli::remote::ask;
use crate::cli::remote::table::{Column, print_json, print_list, table, text};
use crate::cli::remote::{Api, Call, RemoteError, RemoteMode};
use crate::domain::accounts::profile::Profile;

const LIST: [Column; 7] = [
    ("user", "/userId"),
    ("name", "/name"),
    ("plan", "/subscription/planId"),
    ("since", "/subscription/startedAt"),
    ("ends", "/subscription/endsAt"),
    ("blocked", "/blocked"),
    ("tags", "/tags"),
];
const COUNTERS: [Column; 9] = [
    ("limit", "/groupId"),
    ("scope", "/scope"),
    ("used", "/used"),
    ("held", "/held"),
    ("quota", "/quota"),
    ("granted", "/granted"),
    ("left", "/remaining"),
    ("unit", "/unit"),
    ("resets", "/resetsAt"),
];
const OPEN: [Column; 4] =
    [("reservation", "/reservationId"), ("event", "/event"), ("held", "/amounts"), ("expires", "/expiresAt")];
const GRANTS: [Column; 5] =
    [("grant", "/id"), ("limit", "/groupId"), ("amount", "/amount"), ("ends", "/endsAt"), ("note", "/note")];

/// Find users, show one, name, subscribe, move, block and reset them
#[derive(Clone, Debug, clap::Args)]
pub struct UsersArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: RemoteMode,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List users, or those whose id, display name or tags contain a text
    List {
        /// A text anywhere in the id, the display name or a tag, in upper or lower case
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// How many users
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one user: subscription, counters, open reservations, grants
    Show {
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set the display name and the tags of a user; limits do not depend on them
    Set {
        user: String,
        #[command(flatten)]
        profile: ProfileChange,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Deny all calls of a user
    Block {
        user: String,
        #[command(flatten)]
        note: Note,
    },
    /// Allow the calls of a blocked user again
    Unblock {
        user: String,
        #[command(flatten)]
        note: Note,
    },
    /// Put a user on a plan
    Subscribe {
        user: String,
        plan: String,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        note: Note,
    },
    /// Move a subscribed user to another plan, after showing what becomes of the counters
    Move {
        user: String,
        plan: String,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        note: Note,
        /// Show what would become of the counters, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// End a user's subscription
    Cancel {
        user: String,
        /// When it ends, RFC 3339 [default: now]
        #[arg(long, value_name = "TIME")]
        ends_at: Option<String>,
        #[command(flatten)]
        note: Note,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Reset a user's counters to 0
    Reset {
        user: String,
        /// Only this limit [default: all limits]
        #[arg(long, value_name = "GROUP_ID")]
        group: Option<String>,
        #[command(flatten)]
        note: Note,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Note {
    /// Why; stored in the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("profile").required(true).multiple(true).args(["name", "tag", "untag"])))]
struct ProfileChange {
    /// The display name; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Add a tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Remove a tag; may be repeated
    #[arg(long, value_name = "TAG")]
    untag: Vec<String>,
}

impl ProfileChange {
    /// The changed profile. What is not given stays.
    fn applied_to(self, present: Profile) -> Profile {
        let name = self.name.or(present.name).filter(|name| !name.is_empty());
        let mut tags = present.tags;
        tags.retain(|tag| !self.untag.contains(tag));
        for tag in self.tag {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Profile { name, tags }
    }
}

#[derive(Clone, Debug, clap::Args)]
struct Terms {
    /// Start of the subscription, RFC 3339, not in the future [default: now]
    #[arg(long, value_name = "TIME")]
    started_at: Option<String>,
    /// Count windows from this time instead of the start, RFC 3339
    #[arg(long, value_name = "TIME")]
    cycle_start: Option<String>,
    /// End of the subscription, RFC 3339 [default: none]
    #[arg(long, value_name = "TIME")]
    ends_at: Option<String>,
    /// Start all counters at 0
    #[arg(long)]
    reset_usage: bool,
}

impl Terms {
    /// The body of a subscription; what is not given is left out, since null would clear it.
    fn body(&self, user: &str, plan: &str, note: &Note) -> Value {
        let mut body = json!({"userId": user, "planId": plan, "resetUsage": self.reset_usage});
        let given = [
            ("startedAt", &self.started_at),
            ("cycleStart", &self.cycle_start),
            ("endsAt", &self.ends_at),
            ("note", &note.note),
        ];
        for (name, value) in given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
            body[name] = value.into();
        }
        body
    }
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: UsersArgs) -> Result<(), RemoteError> {
    let UsersArgs { verb, remote } = args;
    let api = &remote.client()?;
    match verb {
        Verb::List { search, limit, json } => {
            let query: Vec<(&str, &str)> = search.as_deref().map(|text| ("contains", text)).into_iter().collect();
            let empty = match &search {
                Some(text) => remote.none(&format!("No user with {text:?}"), "IDs, names and tags were searched."),
                None => remote.none("No users", "`quotagate users subscribe USER PLAN` puts one on a plan."),
            };
            print_list(api.list(&["users"], &query, limit as usize).await?, &LIST, json, &empty)
        }
        Verb::Show { user, json } => {
            let found = find(api, &remote, &user).await?;
            if json {
                return print_json(&found);
            }
            print::out(shown(found));
            Ok(())
        }
        Verb::Set { user, profile, json } => {
            let present = find(api, &remote, &user).await?;
            set_profile(api, &user, profile, &present, json).await
        }
        Verb::Block { user, note } => set_blocked(api, &user, "block", &note).await,
        Verb::Unblock { user, note } => set_blocked(api, &user, "unblock", &note).await,
        Verb::Subscribe { user, plan, terms, note } => subscribe(api, &user, &terms.body(&user, &plan, &note)).await,
        Verb::Move { user, plan, terms, note, dry_run, yes } => {
            let body = terms.body(&user, &plan, &note);
            let present = find(api, &remote, &user).await?;
            if preview_move(api, &user, &present, &body).await? {
                return Ok(());
            }
            if dry_run {
                print::out("Dry run: nothing was changed.\n");
                return Ok(());
            }
            ask::confirm(&format!("Move {user} to plan {plan}?"), yes)?;
            subscribe(api, &user, &body).await
        }
        Verb::Cancel { user, ends_at, note, yes } => {
            ask::confirm(&format!("End the subscription of {user}?"), yes)?;
            let body = json!({"userId": user, "endsAt": ends_at, "note": note.note});
            let call = Call { body: Some(&body), ..Call::default() };
            let ended = api.call(Method::DELETE, &["subscriptions"], call).await?.body;
            let (plan, ends) = (text(&ended, "/planId"), text(&ended, "/endsAt"));
            print::out(format!("The subscription of {user} to plan {plan} ends at {ends}.\n"));
            Ok(())
        }
        Verb::Reset { user, group, note, yes } => {
            let what = group.as_ref().map_or_else(|| "all limits".to_owned(), |group| format!("limit {group}"));
            ask::confirm(&format!("Reset {what} of {user} to 0?"), yes)?;
            let mut body = json!({"note": note.note});
            if let Some(group) = group {
                body["groupId"] = group.into();
            }
            api.post(&["users", &user, "reset"], &body).await?;
            print::out(format!("Reset {what} of {user}.\n"));
            Ok(())
        }
    }
}

async fn find(api: &Api, remote: &RemoteMode, user: &str) -> Result<Value, RemoteError> {
    // The app or the address can be wrong too, and another mode would not help then.
    let no_user = format!("User `{user}` not found.");
    api.get(&["users", user], &[]).await.map_err(|error| match error.problem("not_found") {
        Some(problem) if problem.detail.as_ref() == Some(&no_user) => {
            RemoteError::Input(format!("{problem} {}", remote.searched()))
        }
        _ => error,
    })
}

fn shown(mut user: Value) -> String {
    let plan = match (user["subscription"].is_null(), user["planId"].is_null()) {
        (true, true) => "no subscription".to_owned(),
        (true, false) => format!("no subscription, default plan {}", text(&user, "/planId")),
        (false, _) => format!("plan {} since {}", text(&user, "/planId"), text(&user, "/subscription/startedAt")),
    };
    let ends = user["subscription"]["endsAt"].as_str().map(|at| format!(" until {at}")).unwrap_or_default();
    let own = if user["subscription"]["customLimits"].is_null() { "" } else { ", custom limits" };
    let blocked = if user["blocked"] == true { ", BLOCKED" } else { "" };
    let mut output = format!("{}: {plan}{ends}{own}{blocked}\n", text(&user, "/userId"));
    for (field, pointer) in [("name", "/name"), ("tags", "/tags")] {
        if user.pointer(pointer).is_some() {
            output.push_str(&format!("{field}: {}\n", text(&user, pointer)));
        }
    }
    for reservation in user["openReservations"].as_array_mut().into_iter().flatten() {
        let held = reservation["held"].as_array().cloned().unwrap_or_default();
        let amounts = held
            .iter()
            .map(|held| format!("{} {} {}", text(held, "/amount"), text(held, "/unit"), text(held, "/groupId")));
        reservation["amounts"] = amounts.collect();
    }
    for (field, columns, heading) in [
        ("counters", COUNTERS.as_slice(), "Counters"),
        ("openReservations", &OPEN, "Open reservations"),
        ("grants", &GRANTS, "Active grants"),
    ] {
        if let Some(rows) = user[field].as_array().filter(|rows| !rows.is_empty()) {
            output.push_str(&format!("\n{heading}\n{}", table(rows, columns)));
        }
    }
    output
}

async fn set_profile(
    api: &Api,
    user: &str,
    change: ProfileChange,
    present: &Value,
    json: bool,
) -> Result<(), RemoteError> {
    let unreadable = |error: serde_json::Error| RemoteError::input(format!("the response cannot be read: {error}"));
    let fields = json!({"name": present["name"], "tags": present.get("tags").unwrap_or(&json!([]))});
    let profile = change.applied_to(serde_json::from_value(fields).map_err(unreadable)?);
    let body = serde_json::to_value(&profile).map_err(unreadable)?;
    let call = Call { body: Some(&body), ..Call::default() };
    let stored = api.call(Method::PUT, &["users", user], call).await?.body;
    if json {
        return print_json(&stored);
    }
    print::out(format!("{user}: name {}, tags {}\n", text(&stored, "/name"), text(&stored, "/tags")));
    Ok(())
}

async fn set_blocked(api: &Api, user: &str, verb: &str, note: &Note) -> Result<(), RemoteError> {
    let changed = api.post(&["users", user, verb], &json!({"note": note.note})).await?;
    let already = if changed["changed"] == false { " already" } else { "" };
    print::out(format!("{user} is{already} {verb}ed.\n"));
    Ok(())
}

async fn subscribe(api: &Api, user: &str, body: &Value) -> Result<(), RemoteError> {
    let subscribed = api.post(&["subscriptions"], body).await?;
    let already = if subscribed["changed"] == false { " already" } else { "" };
    let (plan, since) = (text(&subscribed, "/planId"), text(&subscribed, "/startedAt"));
    print::out(format!("{user} is{already} on plan {plan} since {since}.\n"));
    Ok(())
}

/// Shows what a move does. Returns whether there is nothing to move.
async fn preview_move(api: &Api, user: &str, present: &Value, body: &Value) -> Result<bool, RemoteError> {
    let from = present["subscription"]["planId"].as_str().map(str::to_owned).ok_or_else(|| {
        RemoteError::Input(format!("{user} has no subscription to move: use `quotagate users subscribe`"))
    })?;
    if body["planId"] == from.as_str() {
        print::out(format!("{user} is already on plan {from}.\n"));
        return Ok(true);
    }
    let call = Call { query: &[("dryRun", "true")], body: Some(body), ..Call::default() };
    let preview = api.call(Method::POST, &["subscriptions"], call).await?.body;
    print::out(format!("{user}: plan {from} → {}\n", text(body, "/planId")));
    let columns = [COUNTERS.as_slice(), &[("effect", "/effect")]].concat();
    if let Some(rows) = preview["counters"].as_array().filter(|rows| !rows.is_empty()) {
        print::out(format!("\n{}", table(rows, &columns)));
    }
    if let Some(ended) = preview["endedGroupIds"].as_array().filter(|ended| !ended.is_empty()) {
        let ended: Vec<&str> = ended.iter().filter_map(Value::as_str).collect();
        print::out(format!("These limits end: {}\n", ended.join(", ")));
    }
    Ok(false)
}
