//! `quotagate inspect USER`: shows and explains a user's data in Redis.

use std::collections::BTreeMap;

use crate::cli::direct::{CommandError, Direct};
use crate::cli::print;
use crate::domain::metering::admission::Caller;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::tenant::Tenant;
use crate::store::accounts::limits::OwnQuota;
use crate::store::metering::account::{ACCOUNT, Account, BLOCK, CounterText, EXTENDED, LIMITS, QUOTAS, SUBSCRIPTION};

#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct InspectArgs {
    /// The user, as in `userId`
    user: String,
    #[command(flatten)]
    direct: Direct,
}

/// # Errors
/// [`CommandError`]
pub async fn run(args: InspectArgs) -> Result<(), CommandError> {
    let user = UserId::parse(&args.user).map_err(|error| CommandError::Message(format!("the user {error}")))?;
    let (gateway, tenant) = args.direct.open().await?;
    print::out(explain(&gateway, &tenant, &user).await?);
    Ok(())
}

/// # Errors
/// [`ServiceError`]
pub async fn explain(gateway: &Gateway, tenant: &Tenant, user: &UserId) -> Result<String, ServiceError> {
    let keys = tenant.bucket_of(user).user(user);
    let fields: BTreeMap<String, String> = gateway.store.counters_hash(&keys.account).await?.into_iter().collect();
    let config = gateway.load_config(&tenant.app).await?;
    let mut text = format!("{}  (HGETALL)\n", keys.account);
    if fields.is_empty() {
        text.push_str("  nothing: user not found in this app and mode; --app and --mode choose other data\n");
        return Ok(text);
    }
    for (name, value) in &fields {
        let meaning = meaning(name, value, |group| config.groups.get(group).map(|kind| kind.unit));
        text.push_str(&format!("  {name:<28} {value:<62} {meaning}\n"));
    }
    let metadata = Metadata::default();
    let context = CounterContext { caller: Caller { user, app: &tenant.app, key: None }, metadata: &metadata };
    let usage = gateway.usage(tenant, context, |_| true).await?;
    let blocked = if fields.contains_key(BLOCK) { ", blocked" } else { "" };
    let plan = usage.plan.as_ref().map_or_else(|| "no running subscription".to_owned(), |plan| format!("plan {plan}"));
    text.push_str(&format!("\nNow ({}), without expired holds: {plan}{blocked}\n", rfc3339(usage.now_ms)));
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
        let rolled = some(counter.rolled, format!(" + {} rolled over", number(counter.rolled)));
        let blocked = some(counter.blocked, format!(" − {} blocked", number(counter.blocked)));
        let id = &counter.group.id;
        if counter.group.is_balance() {
            text.push_str(&format!("  {id}: {used} used + {held} held {unit} of its credits{left}\n"));
            continue;
        }
        text.push_str(&format!(
            "  {id}: {used} used + {held} held of {quota}{granted}{rolled}{blocked} {unit}{left}{end}\n"
        ));
    }
    Ok(text)
}

/// The meaning of a field of the account.
fn meaning(name: &str, value: &str, unit_of: impl Fn(&GroupId) -> Option<Unit>) -> String {
    match name {
        ACCOUNT => {
            return Account::parse(value).map_or_else(|| "not an account".to_owned(), |account| of_account(&account));
        }
        SUBSCRIPTION => return "plan, start of the subscription, start of the cycle, end".to_owned(),
        LIMITS => return "the user's custom limits, instead of the plan's".to_owned(),
        QUOTAS => return of_quotas(value, unit_of).unwrap_or_else(|| "cannot be read".to_owned()),
        BLOCK => return "all calls are denied until the user is unblocked".to_owned(),
        EXTENDED => {
            let until = value.parse().map_or_else(|_| String::new(), rfc3339);
            return format!("extended reservations may be charged until 15 minutes after {until}");
        }
        _ => {}
    }
    let (group, field) = name.split_once('.').unwrap_or((name, ""));
    let unit = GroupId::parse(group).ok().and_then(|group| unit_of(&group));
    let text = match field {
        "" => return of_counter(value, unit).unwrap_or_else(|| "not a counter".to_owned()),
        "blocked" => of_blocked(value, unit),
        "grants" => of_grants(value, unit),
        "alerts" => of_alerts(value, unit),
        "reached" => of_reached(value, unit),
        "approval" => of_approval(value),
        "credits" => of_credits(value, unit),
        _ => return "not a field that this release knows".to_owned(),
    };
    text.unwrap_or_else(|| "cannot be read".to_owned())
}

/// An amount as scripts store it; of a group that is in no configuration any more in steps.
fn of_amount(steps: &str, unit: Option<Unit>) -> Option<String> {
    let amount = Amount::from_steps(steps.parse().ok()?).ok()?;
    Some(match unit {
        Some(unit) => format!("{} {unit}", amount.to_decimal(unit)),
        None => format!("{} steps", amount.steps()),
    })
}

/// `<remaining> <uncovered> <thresholds> <lowest reported>;<credit>,…`
fn of_credits(value: &str, unit: Option<Unit>) -> Option<String> {
    let (head, list) = value.split_once(';')?;
    let remaining = of_amount(head.split(' ').next()?, unit)?;
    let count = list.split(',').filter(|credit| !credit.is_empty()).count();
    Some(format!("{remaining} remain of {count} live credits"))
}

fn of_quotas(value: &str, unit_of: impl Fn(&GroupId) -> Option<Unit>) -> Option<String> {
    let of_quota = |own: &OwnQuota| {
        let quota = match own.quota {
            Some(quota) => of_amount(&quota.steps().to_string(), unit_of(&own.group))?,
            None => "no limit".to_owned(),
        };
        let until = own.until_ms.map_or_else(String::new, |ms| format!(" until {}", rfc3339(ms)));
        Some(format!("{quota} in {} instead of its quota{until}", own.group))
    };
    let quotas = OwnQuota::parse_all(value)?.iter().map(of_quota).collect::<Option<Vec<_>>>()?;
    Some(quotas.join(", "))
}

/// `<window> <amount>`
fn of_blocked(value: &str, unit: Option<Unit>) -> Option<String> {
    let (seq, amount) = value.split_once(' ')?;
    Some(format!("{} blocked in window {seq}", of_amount(amount, unit)?))
}

/// `<id>:<amount>:<window|*>:<end, ms|*>,…`
fn of_grants(value: &str, unit: Option<Unit>) -> Option<String> {
    let grant = |text: &str| {
        let mut parts = text.split(':');
        let (_id, amount, window, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let until = match (window, end.parse()) {
            ("*", Ok(ms)) => format!("until {}", rfc3339(ms)),
            ("*", Err(_)) => "without an end".to_owned(),
            (window, _) => format!("in window {window}"),
        };
        Some(format!("{} granted {until}", of_amount(amount, unit)?))
    };
    let grants: Vec<String> = value.split(',').map(grant).collect::<Option<_>>()?;
    Some(grants.join(", "))
}

/// `<quota> <percent,…|-> <window> <limit> <highest percent reported>`
fn of_alerts(value: &str, unit: Option<Unit>) -> Option<String> {
    let mut words = value.split(' ');
    let (_quota, percents, seq) = (words.next()?, words.next()?, words.next()?);
    let (limit, reported) = (words.next()?, words.next()?);
    if percents == "-" {
        return Some("no alerts".to_owned());
    }
    let limit = of_amount(limit, unit)?;
    let reported = if reported == "0" { "none".to_owned() } else { format!("up to {reported} %") };
    Some(format!("alerts at {} % of {limit}; reported in window {seq}: {reported}", percents.replace(',', ", ")))
}

/// `<window> <limit>`
fn of_reached(value: &str, unit: Option<Unit>) -> Option<String> {
    let (seq, limit) = value.split_once(' ')?;
    Some(format!("limit.reached was reported in window {seq} for the limit {}", of_amount(limit, unit)?))
}

/// `<window|-> <request> <open|rejected> <bounds>`
fn of_approval(value: &str) -> Option<String> {
    let mut words = value.split(' ');
    let (_seq, id, status) = (words.next()?, words.next()?, words.next()?);
    Some(format!("approval request {id} is {status}"))
}

fn of_account(account: &Account) -> String {
    let mut parts = Vec::new();
    parts.push(match account.next_expiry_ms {
        Some(ms) => format!("no hold expires before {}", rfc3339(ms)),
        None => "no hold is live".to_owned(),
    });
    match account.forget_at.as_deref().map(str::parse) {
        Some(Ok(ms)) => parts.push(format!("expires after {}", rfc3339(ms))),
        Some(Err(_)) => parts.push("never expires".to_owned()),
        None => {}
    }
    if account.flags.contains('g') {
        parts.push("some groups have grants or blocked amounts".to_owned());
    }
    if account.flags.contains('w') {
        parts.push("some groups have alerts".to_owned());
    }
    if account.flags.contains('l') {
        parts.push("some groups have own quotas".to_owned());
    }
    parts.join("; ")
}

/// A counter. Amounts of a group that is in no configuration any more are in steps.
fn of_counter(value: &str, unit: Option<Unit>) -> Option<String> {
    let CounterText { used, held, quota, rolled, window, seq } = CounterText::parse(value)?;
    let number = |amount: Amount| match unit {
        Some(unit) => format!("{} {unit}", amount.to_decimal(unit)),
        None => format!("{} steps", amount.steps()),
    };
    if seq.starts_with('b') {
        return Some(format!("{} used, {} held of credits, the newest is {seq}", number(used), number(held)));
    }
    let quota = quota.map_or("without a quota".to_owned(), |quota| format!("of {}", number(quota)));
    let rolled = match rolled {
        Amount::ZERO => String::new(),
        rolled => format!(" + {} rolled over", number(rolled)),
    };
    let kind = window.kind.as_str();
    Some(format!("{} used, {} held {quota}{rolled} in window {seq}, {kind}", number(used), number(held)))
}
