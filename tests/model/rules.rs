//! The rules of the model: groups, plans and policies, and the bounds of their windows, in UTC only.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Months, SecondsFormat, TimeZone, Utc};
use serde_json::{Value, json};

use super::amounts::{ESTIMATE, Sum, decimals, number, text_of, unit};

pub type Ms = i64;
pub const SECOND_MS: Ms = 1000;
pub const MINUTE_MS: Ms = 60 * SECOND_MS;
pub const HOUR_MS: Ms = 60 * MINUTE_MS;
pub const DAY_MS: Ms = 24 * HOUR_MS;

pub fn ms(text: &str) -> Ms {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

pub fn text(ms: Ms) -> String {
    let precision = if ms % SECOND_MS == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    Utc.timestamp_millis_opt(ms).unwrap().to_rfc3339_opts(precision, true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Minute,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    /// This many months, starting at the subscription.
    Months(u32),
    /// This many hours, starting at the subscription.
    Hours(i64),
    Lifetime,
    Fixed(Ms, Ms),
    Concurrent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    pub kind: &'static str,
    pub start_ms: Ms,
    pub end_ms: Option<Ms>,
}

/// The reference times of windows: the subscription's start and its `cycleStart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Anchor {
    pub started_ms: Ms,
    pub cycle_ms: Option<Ms>,
}

impl Period {
    fn kind(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly | Self::Months(1) => "monthly",
            Self::Months(_) | Self::Hours(_) => "every",
            Self::Lifetime => "lifetime",
            Self::Fixed(..) => "fixed",
            Self::Concurrent => "concurrent",
        }
    }

    fn is_anchored(self) -> bool {
        matches!(self, Self::Months(_) | Self::Hours(_))
    }

    /// The window that contains `now`, or `None` outside of a fixed period.
    pub fn window(self, anchor: Anchor, now: Ms) -> Option<Window> {
        let steps = |length: Ms, from: Ms| {
            let start_ms = from + (now - from).div_euclid(length) * length;
            (start_ms, Some(start_ms + length))
        };
        let from = anchor.cycle_ms.unwrap_or(anchor.started_ms).div_euclid(SECOND_MS) * SECOND_MS;
        let (start_ms, end_ms) = match self {
            Self::Minute => steps(MINUTE_MS, 0),
            Self::Hourly => steps(HOUR_MS, 0),
            Self::Daily => steps(DAY_MS, 0),
            // 5 January 1970 was a Monday.
            Self::Weekly => steps(7 * DAY_MS, 4 * DAY_MS),
            Self::Monthly => {
                let time = Utc.timestamp_millis_opt(now).unwrap();
                let first = Utc.with_ymd_and_hms(time.year(), time.month(), 1, 0, 0, 0).unwrap();
                (first.timestamp_millis(), Some((first + Months::new(1)).timestamp_millis()))
            }
            Self::Months(count) => {
                let anchor = Utc.timestamp_millis_opt(from).unwrap();
                let nth = |n: i64| {
                    let distance = Months::new(u32::try_from(n.abs()).unwrap() * count);
                    let date = if n < 0 { anchor - distance } else { anchor + distance };
                    date.timestamp_millis()
                };
                let mut n = (now - from).div_euclid(32 * DAY_MS * i64::from(count)) - 1;
                while nth(n + 1) <= now {
                    n += 1;
                }
                (nth(n), Some(nth(n + 1)))
            }
            Self::Hours(hours) => steps(hours * HOUR_MS, from),
            Self::Lifetime | Self::Concurrent => (anchor.started_ms.div_euclid(SECOND_MS) * SECOND_MS, None),
            Self::Fixed(start, end) if start <= now && now < end => (start, Some(end)),
            Self::Fixed(..) => return None,
        };
        Some(Window { kind: self.kind(), start_ms, end_ms })
    }

    fn fields(self, body: &mut Value) {
        body["periodType"] = json!(self.kind());
        if !matches!(self, Self::Lifetime | Self::Concurrent | Self::Fixed(..)) {
            body["periodAnchor"] = json!(if self.is_anchored() { "subscription_start" } else { "calendar" });
        }
        match self {
            Self::Months(count) if count > 1 => body["every"] = json!(format!("P{count}M")),
            Self::Hours(hours) => body["every"] = json!(format!("PT{hours}H")),
            Self::Fixed(start, end) => (body["start"], body["end"]) = (json!(text(start)), json!(text(end))),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measure {
    Quantity,
    /// 1 per call.
    Event,
    Sum(Sum),
}

impl Measure {
    /// The amount in steps of the unit.
    pub fn amount(self, quantity: u64, steps: u64) -> u64 {
        match self {
            Self::Quantity => quantity,
            Self::Event => 1,
            Self::Sum(sum) => sum.amount(quantity, steps),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    User,
    App,
    Team,
    UserAndTeam,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforcement {
    Hard,
    Soft,
    Observe,
    Approval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnChange {
    Carry,
    Reset,
    Block,
}

/// A match rule: an event name (a `*` at its end matches any suffix), a size, and a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    pub event: &'static str,
    pub size: Option<&'static str>,
    pub measure: Measure,
}

fn names(pattern: &str, event: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == event, |start| event.starts_with(start))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    pub id: &'static str,
    pub quota: Option<u64>,
    /// How much unused quota becomes extra quota of the next window, at most.
    pub rollover: Option<u64>,
    pub period: Period,
    pub rules: Vec<Rule>,
    pub covers: &'static str,
    pub scope: Scope,
    pub enforcement: Enforcement,
    pub on_change: OnChange,
    pub most_per_call: Option<u64>,
    /// Percentages of the limit, ascending.
    pub alerts: &'static [u64],
}

/// The metadata of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    pub team: Option<&'static str>,
    pub size: Option<&'static str>,
    /// A value that groups can measure by.
    pub steps: Option<u64>,
}

impl Labels {
    pub fn to_json(self) -> Value {
        let texts = [("team", self.team), ("size", self.size)].map(|(name, value)| (name, value.map(Value::from)));
        let pairs = texts.into_iter().chain([("steps", self.steps.map(Value::from))]);
        json!(pairs.filter_map(|(name, value)| Some((name, value?))).collect::<BTreeMap<_, _>>())
    }

    /// The value used for the measure if the call has none.
    pub fn estimated(self) -> u64 {
        self.steps.unwrap_or(ESTIMATE)
    }
}

/// One item of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    pub event: &'static str,
    pub labels: Labels,
    pub quantity: u64,
}

impl Item {
    pub fn to_json(self) -> Value {
        json!({"event": self.event, "metadata": self.labels.to_json(), "quantity": self.quantity})
    }
}

impl Group {
    pub fn rule(&self, event: &str, labels: Labels) -> Option<Rule> {
        let fits = |rule: &&Rule| names(rule.event, event) && rule.size.is_none_or(|size| labels.size == Some(size));
        self.rules.iter().find(fits).copied()
    }

    pub fn covers(&self, event: &str) -> bool {
        !self.covers.is_empty() && names(self.covers, event)
    }

    pub fn observes(&self) -> bool {
        self.enforcement == Enforcement::Observe
    }

    pub fn is_concurrent(&self) -> bool {
        self.period == Period::Concurrent
    }

    /// The owner of the group's counter as `name=value` pairs, or `None` if the call lacks one of the names.
    pub fn owner(&self, user: &str, app: &str, labels: Labels) -> Option<String> {
        Some(match self.scope {
            Scope::User => format!("user={user}"),
            Scope::App => format!("app={app}"),
            Scope::Team => format!("metadata.team={}", labels.team?),
            Scope::UserAndTeam => format!("metadata.team={},user={user}", labels.team?),
        })
    }

    fn to_json(&self) -> Value {
        let rules = self.rules.iter().map(|rule| {
            let mut body = json!({"event": rule.event});
            if let Some(size) = rule.size {
                body["metadata"] = json!({"size": size});
            }
            body["measure"] = match rule.measure {
                Measure::Quantity => json!("quantity"),
                Measure::Event => json!("event"),
                Measure::Sum(sum) => sum.to_json(decimals(self.id)),
            };
            body
        });
        let mut body = json!({
            "id": self.id, "unit": unit(self.id), "quota": self.quota.map(|quota| number(quota, self.id)), "matches": rules.collect::<Vec<_>>(),
            "enforcement": match self.enforcement {
                Enforcement::Hard => "hard", Enforcement::Soft => "soft", Enforcement::Observe => "observe",
                Enforcement::Approval => "approval",
            },
            "onPlanChange": match self.on_change {
                OnChange::Carry => "carry", OnChange::Reset => "reset", OnChange::Block => "block",
            },
        });
        match self.scope {
            Scope::User => {}
            Scope::App => body["scope"] = json!(["app"]),
            Scope::Team => body["scope"] = json!(["metadata.team"]),
            Scope::UserAndTeam => body["scope"] = json!(["user", "metadata.team"]),
        }
        if !self.covers.is_empty() {
            body["covers"] = json!([self.covers]);
        }
        if !self.alerts.is_empty() {
            body["alerts"] = json!(self.alerts);
        }
        if let Some(max) = self.rollover {
            body["rollover"] = json!({"max": number(max, self.id)});
        }
        if let Some(most) = self.most_per_call {
            body["maxPerCall"] = json!(text_of(most, decimals(self.id)));
        }
        self.period.fields(&mut body);
        body
    }
}

/// A plan, or a policy, for which `passes_unmatched` has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub groups: Vec<Group>,
    pub passes_unmatched: bool,
}

impl Plan {
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    pub fn plan_body(&self) -> Value {
        let unmatched = if self.passes_unmatched { "allow" } else { "deny" };
        json!({"unmatchedEvents": unmatched, "groups": self.groups.iter().map(Group::to_json).collect::<Vec<_>>()})
    }

    pub fn policy_body(&self) -> Value {
        json!({"groups": self.groups.iter().map(Group::to_json).collect::<Vec<_>>()})
    }
}

/// The plans and policies of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    pub app: String,
    pub plans: BTreeMap<&'static str, Plan>,
    pub policies: BTreeMap<&'static str, Plan>,
    /// The plan of users without a subscription.
    pub default_plan: Option<&'static str>,
}
