//! `quotagate inspect USER`: what Redis holds of a user, explained.

use std::collections::BTreeMap;

use crate::direct::{Direct, DirectError};
use crate::domain::admission::Caller;
use crate::domain::amount::{Amount, Unit};
use crate::domain::ids::{GroupId, UserId};
use crate::domain::metadata::Metadata;
use crate::domain::window::{Window, rfc3339};
use crate::print;
use crate::service::Gateway;
use crate::service::error::ServiceError;
use crate::service::reserve::Asker;
use crate::service::tenant::Tenant;

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct InspectArgs {
    /// The user, as in `userId`
    user: String,
    #[command(flatten)]
    direct: Direct,
}

/// # Errors
/// [`DirectError`]
pub async fn run(args: InspectArgs) -> Result<(), DirectError> {
    let user = UserId::parse(&args.user).map_err(|error| DirectError::Input(format!("the user {error}")))?;
    let (gateway, tenant) = args.direct.open().await?;
    print::out(explain(&gateway, &tenant, &user).await?);
    Ok(())
}

/// # Errors
/// [`ServiceError`]
pub async fn explain(gateway: &Gateway, tenant: &Tenant, user: &UserId) -> Result<String, ServiceError> {
    let keys = tenant.bucket_of(user).user(user);
    let fields: BTreeMap<String, String> = gateway.store.counters_hash(&keys.counters).await?.into_iter().collect();
    let config = gateway.load_config(&tenant.app).await?;
    let mut text = format!("{}  (HGETALL)\n", keys.counters);
    if fields.is_empty() {
        text.push_str("  nothing: this user was never seen in this app and mode\n");
        return Ok(text);
    }
    for (name, value) in &fields {
        let meaning = meaning(name, value, |group| config.groups.get(group).map(|kind| kind.unit));
        text.push_str(&format!("  {name:<28} {value:<62} {meaning}\n"));
    }
    let metadata = Metadata::default();
    let asker = Asker { caller: Caller { user, app: &tenant.app, key: None }, metadata: &metadata };
    let usage = gateway.usage(tenant, asker, |_| true).await?;
    let blocked = if fields.contains_key("block") { ", blocked" } else { "" };
    let plan = usage.plan.as_ref().map_or_else(|| "no running subscription".to_owned(), |plan| format!("plan {plan}"));
    text.push_str(&format!("\nNow ({}), with expired holds taken out: {plan}{blocked}\n", rfc3339(usage.now_ms)));
    for counter in &usage.counters {
        let unit = counter.group.unit;
        let number = |amount: Amount| amount.to_decimal(unit).to_string();
        let quota = counter.group.quota.map_or("no limit".to_owned(), number);
        let left = counter.remaining().map_or(String::new(), |left| format!(", {} left", number(left)));
        let end = counter
            .window
            .and_then(|window| window.end_ms)
            .map_or(String::new(), |end| format!(", resets {}", rfc3339(end)));
        let (used, held) = (number(counter.used), number(counter.held));
        let some = |amount: Amount, text: String| if amount == Amount::ZERO { String::new() } else { text };
        let granted = some(counter.granted, format!(" + {} granted", number(counter.granted)));
        let blocked = some(counter.blocked, format!(" − {} blocked", number(counter.blocked)));
        let id = &counter.group.id;
        text.push_str(&format!("  {id}: {used} used + {held} held of {quota}{granted}{blocked} {unit}{left}{end}\n"));
    }
    Ok(text)
}

/// What a field of the hash says.
fn meaning(name: &str, value: &str, unit_of: impl Fn(&GroupId) -> Option<Unit>) -> String {
    match name {
        "plan" => return "the plan of the subscription".to_owned(),
        "since" => return "when the subscription started".to_owned(),
        "cycle" => return "windows are counted from here instead".to_owned(),
        "until" => return "from here on there is no subscription".to_owned(),
        "limits" => return "the user's own limits, instead of the plan's".to_owned(),
        "block" => return "everything is refused until the user is unblocked".to_owned(),
        "version" => return "version of what is true of the user, which every call checks".to_owned(),
        "adjusted" => return "some groups have grants, or something blocked".to_owned(),
        "forget_at" => {
            let told = |ms| format!("without a subscription, forgotten after {}", rfc3339(ms));
            return value.parse().map_or_else(|_| "counts for ever, so it stays".to_owned(), told);
        }
        "last_expiry" => {
            let told = |ms| {
                format!("what was reserved may be charged late or given back until 15 minutes after {}", rfc3339(ms))
            };
            return value.parse().map_or_else(|_| String::new(), told);
        }
        "next_expiry" => {
            let live = value.parse().ok().filter(|ms| *ms > 0);
            return live
                .map_or_else(|| "no hold is live".to_owned(), |ms| format!("no hold expires before {}", rfc3339(ms)));
        }
        _ => {}
    }
    let Some((group, field)) = name.rsplit_once('.') else {
        return String::new();
    };
    let unit = GroupId::parse(group).ok().and_then(|group| unit_of(&group));
    let amount = value.parse().ok().and_then(|steps| Amount::from_steps(steps).ok());
    match (field, unit, amount) {
        ("used" | "held", Some(unit), Some(amount)) => format!("{} {unit} {field}", amount.to_decimal(unit)),
        ("blocked", Some(unit), _) => match value
            .split_once(' ')
            .and_then(|(serial, steps)| Some((serial, Amount::from_steps(steps.parse().ok()?).ok()?)))
        {
            Some((serial, amount)) => format!("{} {unit} out of reach in window {serial}", amount.to_decimal(unit)),
            None => "not an amount".to_owned(),
        },
        ("grants", ..) => "extra quota: <id>:<steps>:<window or *>:<ends at, ms, or *>".to_owned(),
        ("window", ..) => stored_window(value, unit).unwrap_or_else(|| "not a window".to_owned()),
        _ => String::new(),
    }
}

/// `<serial> <kind> <start> <end> <quota|->`, as `lua/lib/window.lua` writes it; start and end can be read as they are.
fn stored_window(value: &str, unit: Option<Unit>) -> Option<String> {
    let (serial, rest) = value.split_once(' ')?;
    let (bounds, quota) = rest.rsplit_once(' ')?;
    let kind = Window::parse(bounds)?.kind.as_str();
    let quota = match (quota, unit) {
        ("-", _) => ", without a quota".to_owned(),
        (steps, Some(unit)) => {
            let quota = Amount::from_steps(steps.parse().ok()?).ok()?;
            format!(", quota {} {unit} at the last call", quota.to_decimal(unit))
        }
        // The group is in no configuration any more, and neither is its unit.
        (_, None) => String::new(),
    };
    Some(format!("window {serial}, {kind}{quota}"))
}
