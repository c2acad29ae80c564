//! `quotagate explain`: why a call would be allowed or denied now, or what became of a reservation.

use serde_json::Value;

use crate::cli::print;
use crate::cli::remote::table::{Column, plain, print_json, table, text, text_table};
use crate::cli::remote::{RemoteError, RemoteMode};

const HELD: [Column; 5] =
    [("limit", "/groupId"), ("scope", "/scope"), ("held", "/held"), ("charged", "/charged"), ("unit", "/unit")];
/// In addition, if a balance took over a part.
const CREDITS: [Column; 2] = [("exceeds", "/from"), ("credit", "/creditId")];
const ENTRIES: [Column; 5] =
    [("time", "/at"), ("type", "/type"), ("charged", "/charged"), ("reason", "/reason"), ("entry", "/id")];
/// Places of the columns with numbers in the table of groups.
const NUMBERS: [usize; 5] = [2, 3, 4, 5, 6];

/// Say why a call would be allowed or denied now, or what became of a reservation
///
/// Nothing is written. With an admin key the call is explained as if no key made it; --key-id names one.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["user", "reservation"])))]
pub struct ExplainArgs {
    /// The user, as in `userId`
    #[arg(requires = "event")]
    user: Option<String>,
    /// The event of the call
    event: Option<String>,
    /// Quantity of the call [default: 1]
    #[arg(long, value_name = "NUMBER")]
    quantity: Option<String>,
    /// Metadata of the call, for example size=1k; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    metadata: Vec<(String, String)>,
    /// Id of the key that makes the call, for limits per key
    #[arg(long, value_name = "KEY_ID")]
    key_id: Option<String>,
    /// Explain this reservation instead
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "quantity", "metadata", "key_id"])]
    reservation: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteMode,
}

/// # Errors
/// [`RemoteError`]
pub async fn run(args: ExplainArgs) -> Result<(), RemoteError> {
    let metadata: Vec<(String, String)> =
        args.metadata.iter().map(|(name, value)| (format!("metadata.{name}"), value.clone())).collect();
    let given = [
        ("reservationId", &args.reservation),
        ("userId", &args.user),
        ("event", &args.event),
        ("quantity", &args.quantity),
        ("key", &args.key_id),
    ];
    let mut query: Vec<(&str, &str)> =
        given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
    query.extend(metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let explained = args.remote.client()?.get(&["explain"], &query).await?;
    if args.json {
        return print_json(&explained);
    }
    print::out(match &explained["call"] {
        Value::Null => reservation(&explained["reservation"]),
        explained if explained["userKnown"] == false => {
            format!("{}\n{}\n", call(explained), args.remote.searched())
        }
        explained => call(explained),
    });
    Ok(())
}

/// What a reserve would meet now: the cause as a sentence, the call, and what each group makes of it.
fn call(call: &Value) -> String {
    let plan = match (text(&call["plan"], "/id"), call["plan"]["isDefault"] == true, call["plan"].is_null()) {
        (_, _, true) => "no plan".to_owned(),
        (plan, true, _) => format!("default plan {plan}: there is no subscription"),
        (plan, false, _) => format!("plan {plan}"),
    };
    let own = if call["plan"]["ownLimits"] == true { ", custom limits" } else { "" };
    let metadata = match plain(&call["metadata"]).as_str() {
        "-" => String::new(),
        metadata => format!(", {metadata}"),
    };
    let (user, event, quantity) = (text(call, "/userId"), text(call, "/event"), text(call, "/quantity"));
    let mut output =
        format!("{}\n{user} ({plan}{own}): {event}, quantity {quantity}{metadata}\n", text(call, "/summary"));
    let rows: Vec<Vec<String>> = list(call, "groups").iter().map(group_row).collect();
    if !rows.is_empty() {
        let headings = ["limit", "of", "counts", "used", "held", "quota", "left", "result"];
        output.push_str(&format!("\n{}", text_table(&headings, rows, &NUMBERS)));
    }
    output
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn group_row(group: &Value) -> Vec<String> {
    let of = match (group["planId"].as_str(), group["policyId"].as_str()) {
        (Some(plan), _) => format!("plan {plan}"),
        (None, Some(policy)) => format!("policy {policy}"),
        (None, None) => "-".to_owned(),
    };
    let counts = match group["amount"].is_null() {
        true => "-".to_owned(),
        false => text(group, "/amount"),
    };
    vec![
        text(group, "/groupId"),
        of,
        counts,
        text(group, "/counter/used"),
        text(group, "/counter/held"),
        text(group, "/limit"),
        text(group, "/counter/remaining"),
        result(group),
    ]
}

/// What one group makes of the call.
fn result(group: &Value) -> String {
    let missing: Vec<String> = list(group, "missingScope").iter().map(plain).collect();
    if group["uncovered"] == true {
        return "covers the event, and no rule matches".to_owned();
    }
    if group["matches"] != true {
        let rules = list(group, "rules").iter();
        let why: Vec<String> = rules.flat_map(|rule| list(rule, "mismatches")).map(|it| text(it, "/message")).collect();
        // A balance may be there only for what exceeds other groups.
        return if why.is_empty() {
            "matches no event".to_owned()
        } else {
            format!("does not match: {}", why.join("; "))
        };
    }
    if !missing.is_empty() {
        return format!("{} is missing", missing.join(" and "));
    }
    if let Some(error) = group["error"].as_object() {
        return format!("cannot be measured: {}", error.get("message").map(plain).unwrap_or_default());
    }
    let verdict = [
        ("tooLarge", "more than maxPerCall"),
        ("outsidePeriod", "its period is not running"),
        ("overLimit", "no room"),
    ];
    verdict.iter().find(|(field, _)| group[*field] == true).map_or("fits", |(_, verdict)| verdict).to_owned()
}

/// What became of a reservation.
fn reservation(reservation: &Value) -> String {
    let late = if reservation["late"] == true { ", charged late" } else { "" };
    let outcome = reservation["outcome"].as_str().map(|outcome| format!(", {outcome}")).unwrap_or_default();
    let mut output =
        format!("{} is {}{late}{outcome}.\n", text(reservation, "/reservationId"), text(reservation, "/status"));
    let lines = [
        ("user", "/userId"),
        ("event", "/event"),
        ("key", "/keyId"),
        ("plan", "/plan/id"),
        ("created", "/createdAt"),
        ("expires", "/expiresAt"),
    ];
    for (name, pointer) in lines {
        output.push_str(&format!("{:<9}{}\n", format!("{name}:"), text(reservation, pointer)));
    }
    if reservation["fitted"].is_object() {
        let [field, value, wish, min] =
            ["field", "value", "wish", "min"].map(|name| text(reservation, &format!("/fitted/{name}")));
        output.push_str(&format!("fitted:  {field} {value} of {wish}, at least {min}\n"));
    }
    for item in list(reservation, "items").iter().filter(|item| item["estimated"].is_object()) {
        output.push_str(&format!("learned: {}\n", text(item, "/estimated")));
    }
    let mut entries = list(reservation, "entries").to_vec();
    for entry in &mut entries {
        let charges = list(entry, "charges").iter();
        entry["charged"] = charges
            .map(|it| format!("{} {} {}", text(it, "/change"), text(it, "/unit"), text(it, "/groupId")))
            .collect();
    }
    let counters = list(reservation, "counters");
    let mut held = HELD.to_vec();
    if counters.iter().any(|counter| counter["creditId"].is_string()) {
        held.extend(CREDITS);
    }
    for (rows, columns) in [(counters, held.as_slice()), (entries.as_slice(), &ENTRIES)] {
        if !rows.is_empty() {
            output.push_str(&format!("\n{}", table(rows, columns)));
        }
    }
    if reservation["entriesComplete"] == false {
        output.push_str("Not all entries could be searched: some may be missing.\n");
    }
    output
}
