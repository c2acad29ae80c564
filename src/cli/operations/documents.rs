//! `quotagate plans` and `quotagate policies`: list, show, put, delete, and earlier versions.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::apply::{difference, lines, read_file};
use crate::cli::config_file::ConfigFile;
use crate::cli::print;
use crate::cli::remote::List;
use crate::cli::remote::ask;
use crate::cli::remote::problem::Problem;
use crate::cli::remote::table::{Column, plain, print_json, print_list, table, text};
use crate::cli::remote::{Api, Call, Remote, RemoteError};
use crate::cli::yaml;
use crate::domain::values::field_error::FieldError;
use crate::service::configuration::apply::Applied;
use crate::service::configuration::dependents::DeletePreview;
use crate::service::configuration::preview::Preview;

/// What the gateway adds to a body when it answers it.
const ADDED: [&str; 4] = ["version", "reviewed", "reviewDueAt", "reviewDue"];
const GROUPS: [Column; 8] = [
    ("group", "/id"),
    ("label", "/label"),
    ("unit", "/unit"),
    ("quota", "/quota"),
    ("period", "/periodType"),
    ("scope", "/scope"),
    ("enforcement", "/enforcement"),
    ("events", "/events"),
];

/// Read and change plans
#[derive(Clone, Debug, clap::Args)]
pub struct PlansArgs {
    #[command(subcommand)]
    verb: PlanVerb,
    #[command(flatten)]
    remote: Remote,
}

/// Read and change policies
#[derive(Clone, Debug, clap::Args)]
pub struct PoliciesArgs {
    #[command(subcommand)]
    verb: PolicyVerb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum PlanVerb {
    #[command(flatten)]
    Any(Verb),
    /// Delete a plan
    Delete {
        #[command(flatten)]
        delete: DeleteArgs,
        /// Move its users to this plan first
        #[arg(long, value_name = "PLAN_ID")]
        move_to: Option<String>,
    },
}

#[derive(Clone, Debug, clap::Subcommand)]
enum PolicyVerb {
    #[command(flatten)]
    Any(Verb),
    /// Delete a policy
    Delete {
        #[command(flatten)]
        delete: DeleteArgs,
    },
    /// Record that you have reviewed a policy
    Review {
        id: String,
        /// A text for the audit log and the next reviewer
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List all of them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one with its limit groups
    Show {
        id: String,
        /// Print JSON
        #[arg(long, conflicts_with = "yaml")]
        json: bool,
        /// Print YAML, as `put` takes it
        #[arg(long)]
        yaml: bool,
    },
    /// Create or replace one from a file, and print the difference
    Put {
        /// YAML or JSON, the body of PUT plans/{id} or PUT policies/{id}; - reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its id, if the file has none
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Print the difference, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the stored versions, newest first
    Versions {
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Return to an earlier version, which becomes a new version
    Rollback {
        id: String,
        /// As `versions` lists it [default: the one before the present one]
        version: Option<u64>,
        /// Print the difference, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct DeleteArgs {
    id: String,
    /// Print what depends on it, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Plans or policies.
#[derive(Clone, Copy)]
struct Kind {
    /// In paths.
    path: &'static str,
    /// One of them.
    one: &'static str,
}

impl Kind {
    /// What an app without them prints.
    fn none(self) -> String {
        format!("No {} yet. `quotagate {} put FILE` adds one, `quotagate apply FILE` several.", self.path, self.path)
    }
}

const PLANS: Kind = Kind { path: "plans", one: "plan" };
const POLICIES: Kind = Kind { path: "policies", one: "policy" };

/// # Errors
/// [`RemoteError`]
pub async fn plans(args: PlansArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        PlanVerb::Any(verb) => any(PLANS, &api, verb).await,
        PlanVerb::Delete { delete, move_to } => self::delete(PLANS, &api, &delete, move_to.as_deref()).await,
    }
}

/// # Errors
/// [`RemoteError`]
pub async fn policies(args: PoliciesArgs) -> Result<(), RemoteError> {
    let api = args.remote.client()?;
    match args.verb {
        PolicyVerb::Any(verb) => any(POLICIES, &api, verb).await,
        PolicyVerb::Delete { delete } => self::delete(POLICIES, &api, &delete, None).await,
        PolicyVerb::Review { id, note } => {
            let policy = api.post(&["policies", &id, "review"], &json!({"note": note})).await?;
            print::out(format!("Policy {id} is reviewed. Next review: {}.\n", text(&policy, "/reviewDueAt")));
            Ok(())
        }
    }
}

async fn any(kind: Kind, api: &Api, verb: Verb) -> Result<(), RemoteError> {
    match verb {
        Verb::List { json } => list(kind, api, json).await,
        Verb::Show { id, json, yaml } => {
            let body = api.get(&[kind.path, &id], &[]).await?;
            match (json, yaml) {
                (true, _) => print_json(&body)?,
                (false, true) => print::out(yaml::text(&without_additions(body))),
                (false, false) => print::out(shown(kind, body)),
            }
            Ok(())
        }
        Verb::Put { file, id, dry_run } => {
            let (name, file) = read_file(&file).map_err(|error| RemoteError::input(error.to_string()))?;
            let given = file.document["id"].as_str().map(str::to_owned);
            let id = id
                .or(given)
                .ok_or_else(|| RemoteError::Input(format!("{name} has no `id`: add it to the file, or give --id")))?;
            put(kind, api, &Draft { id: &id, name: &name, file: &file }, dry_run).await
        }
        Verb::Versions { id, json } => {
            let mut versions = api.get(&[kind.path, &id, "versions"], &[]).await?;
            let data = versions["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
            let columns = [("version", "/version"), ("written", "/createdAt"), ("by", "/createdBy")];
            print_list(List { data, more: false }, &columns, json, "No versions.")
        }
        Verb::Rollback { id, version, dry_run, yes } => {
            roll_back(kind, api, Rollback { id: &id, version, dry_run, yes }).await
        }
    }
}

async fn list(kind: Kind, api: &Api, json: bool) -> Result<(), RemoteError> {
    let mut found = api.get(&[kind.path], &[]).await?;
    let mut data = found["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if !json {
        for body in &mut data {
            let groups = body["groups"].as_array().cloned().unwrap_or_default();
            body["groupIds"] = groups.iter().map(|group| group["id"].clone()).collect();
        }
    }
    let plans =
        [("id", "/id"), ("name", "/name"), ("groups", "/groupIds"), ("period", "/periodType"), ("version", "/version")];
    let policies = [
        ("id", "/id"),
        ("owner", "/owner"),
        ("groups", "/groupIds"),
        ("review due", "/reviewDueAt"),
        ("version", "/version"),
    ];
    let columns = if kind.path == PLANS.path { plans } else { policies };
    print_list(List { data, more: false }, &columns, json, &kind.none())
}

fn without_additions(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !ADDED.contains(&name.as_str()));
    }
    body
}

/// Its own fields line by line, then its groups.
fn shown(kind: Kind, mut body: Value) -> String {
    let mut groups = body["groups"].as_array_mut().map(std::mem::take).unwrap_or_default();
    for group in &mut groups {
        let rules = group["matches"].as_array().cloned().unwrap_or_default();
        group["events"] = rules.iter().map(rule).collect::<Vec<_>>().into();
        if group["periodType"].is_null() {
            group["periodType"] = body["periodType"].clone();
        }
        if group["scope"].is_null() {
            group["scope"] = json!("user");
        }
        if group["quota"].is_null() {
            group["quota"] = json!("no limit");
        }
    }
    let mut output = String::new();
    for (name, value) in body.as_object().into_iter().flatten().filter(|(name, _)| *name != "groups") {
        output.push_str(&format!("{:<17} {}\n", format!("{name}:"), plain(value)));
    }
    if groups.is_empty() {
        return format!("{output}\nThis {} has no limit groups.\n", kind.one);
    }
    format!("{output}\n{}", table(&groups, &GROUPS))
}

/// A match rule as text, such as `image.* (size=1k or 2k)`.
fn rule(rule: &Value) -> String {
    let filters = rule["metadata"].as_object().into_iter().flatten();
    let filters = filters.map(|(name, value)| format!("{name}={}", plain(value).replace(", ", " or ")));
    let filters: Vec<String> = filters.collect();
    let event = text(rule, "/event");
    if filters.is_empty() { event } else { format!("{event} ({})", filters.join(", ")) }
}

/// A body from a file.
struct Draft<'a> {
    id: &'a str,
    name: &'a str,
    file: &'a ConfigFile,
}

async fn put(kind: Kind, api: &Api, draft: &Draft<'_>, dry_run: bool) -> Result<(), RemoteError> {
    let path = [kind.path, draft.id];
    let body = Some(&draft.file.document);
    let located = |error: RemoteError| match error.problem("invalid_request") {
        Some(problem) => RemoteError::Input(faults(draft, problem)),
        None => error,
    };
    let query = [("dryRun", "true")];
    let preview =
        api.call(Method::PUT, &path, Call { query: &query, body, ..Call::default() }).await.map_err(located)?;
    let applied = applied(preview.body)?;
    print::out(difference(&applied));
    if applied.preview.changes.is_empty() {
        print::out("Nothing to change.\n");
    } else if dry_run {
        print::out("Dry run: nothing was changed.\n");
    } else {
        let written = api.call(Method::PUT, &path, Call { body, ..Call::default() }).await.map_err(located)?;
        print::out(format!("Written: version {}.\n", text(&written.body, "/version")));
    }
    Ok(())
}

/// A preview of one plan or policy reads like that of a whole configuration.
fn applied(preview: Value) -> Result<Applied, RemoteError> {
    let preview: Preview = serde_json::from_value(preview).map_err(|error| RemoteError::input(error.to_string()))?;
    Ok(Applied { applied: false, preview, revision: None, unlisted: Vec::new(), webhook_secrets: Default::default() })
}

/// Each fault with the line of its field.
fn faults(draft: &Draft<'_>, problem: &Problem) -> String {
    let faults =
        problem.errors.iter().map(|fault| FieldError::new(fault.field.clone(), fault.message.clone())).collect();
    lines(draft.name, draft.file, faults).join("\n")
}

/// What to roll back, and how.
struct Rollback<'a> {
    id: &'a str,
    /// None for the previous one.
    version: Option<u64>,
    dry_run: bool,
    yes: bool,
}

async fn roll_back(kind: Kind, api: &Api, rollback: Rollback<'_>) -> Result<(), RemoteError> {
    let Rollback { id, version, dry_run, yes } = rollback;
    let path = [kind.path, id];
    let versions = api.get(&[kind.path, id, "versions"], &[]).await?;
    let known = versions["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = match version {
        None => known.get(1),
        Some(version) => known.iter().find(|known| known["version"].as_u64() == Some(version)),
    };
    let wanted = wanted.ok_or_else(|| match version {
        None => RemoteError::Input(format!("{} {id} has no earlier version", kind.one)),
        Some(version) => RemoteError::Input(format!(
            "{} {id} has no version {version}: `quotagate {} versions {id}` lists them",
            kind.one, kind.path
        )),
    })?;
    let call = Call { query: &[("dryRun", "true")], body: Some(&wanted[kind.one]), ..Call::default() };
    let applied = applied(api.call(Method::PUT, &path, call).await?.body)?;
    print::out(difference(&applied));
    if applied.preview.changes.is_empty() {
        print::out("Nothing to change.\n");
        return Ok(());
    }
    if dry_run {
        print::out("Dry run: nothing was changed.\n");
        return Ok(());
    }
    let question = format!("Return {} {id} to the version of {}?", kind.one, text(wanted, "/createdAt"));
    ask::confirm(&question, yes)?;
    let body = json!({"version": wanted["version"]});
    let written = api.post(&[kind.path, id, "rollback"], &body).await?;
    print::out(format!("Written: version {}.\n", text(&written, "/version")));
    Ok(())
}

async fn delete(kind: Kind, api: &Api, delete: &DeleteArgs, move_to: Option<&str>) -> Result<(), RemoteError> {
    let path = [kind.path, delete.id.as_str()];
    let target: Vec<(&str, &str)> = move_to.map(|target| ("moveTo", target)).into_iter().collect();
    let query = [target.as_slice(), &[("dryRun", "true")]].concat();
    let preview = api.call(Method::DELETE, &path, Call { query: &query, ..Call::default() }).await?.body;
    let preview: DeletePreview =
        serde_json::from_value(preview).map_err(|error| RemoteError::input(error.to_string()))?;
    print::out(depends(&preview, move_to));
    if let Some(refusal) = preview.refusal {
        // The rest is advice for clients of the API.
        let refusal = match refusal.split_once(". Move them") {
            Some((users, _)) => format!("{users}; --move-to moves them to another plan first"),
            None => refusal,
        };
        return Err(RemoteError::Input(format!("the {} cannot be deleted: {refusal}", kind.one)));
    }
    if delete.dry_run {
        print::out("Dry run: nothing was deleted.\n");
        return Ok(());
    }
    ask::confirm(&format!("Delete {} {}?", kind.one, delete.id), delete.yes)?;
    api.call(Method::DELETE, &path, Call { query: &target, ..Call::default() }).await?;
    print::out(format!("Deleted {} {}.\n", kind.one, delete.id));
    Ok(())
}

/// What depends on it, a line each.
fn depends(preview: &DeletePreview, move_to: Option<&str>) -> String {
    let mut output = String::new();
    for on in &preview.users {
        let what = match move_to {
            Some(plan) => format!("moved to plan {plan}"),
            None => "on it".to_owned(),
        };
        let users = if on.users == 1 { "user" } else { "users" };
        output.push_str(&format!(
            "{} {users} in {}: {what}, {} of them with custom limits\n",
            on.users, on.mode, on.own_limits
        ));
    }
    for group in preview.groups.iter().filter(|group| group.also_in.is_empty()) {
        output.push_str(&format!("The limit {} ({}) ends\n", group.label, group.group_id));
    }
    for (count, what) in [(preview.grants, "active grant"), (preview.open_approvals, "open approval request")] {
        match count {
            0 => {}
            1 => output.push_str(&format!("1 {what} loses its limit\n")),
            _ => output.push_str(&format!("{count} {what}s lose their limit\n")),
        }
    }
    if !preview.webhooks.is_empty() {
        output.push_str(&format!("Webhooks that receive no more events: {}\n", preview.webhooks.join(", ")));
    }
    if !preview.complete {
        output.push_str("Not everything could be checked: more may depend on it\n");
    }
    output
}
