//! The plans and policies with which histories start: one of each kind of group, with small quotas.

use super::amounts::Sum;
use super::rules::{DAY_MS, Enforcement, Group, HOUR_MS, Measure, Ms, OnChange, Period, Plan, Rule, Rules, Scope, ms};
use crate::support::START;

pub const PLANS: [&str; 3] = ["free", "pro", "team"];
pub const EVENTS: [&str; 6] = ["job.run", "job.side", "chat.a", "chat.b", "paid.x", "other"];
/// Every group, for calls that name one.
pub const GROUPS: [&str; 17] = [
    "month",
    "minute",
    "flight",
    "life",
    "soft_day",
    "spend",
    "every",
    "asked",
    "team_day",
    "campaign",
    "pair_hour",
    "whole_week",
    "never",
    "render",
    "price",
    "watched",
    "fair",
];

pub fn start_ms() -> Ms {
    ms(START)
}

fn group(id: &'static str, quota: impl Into<Option<u64>>, period: Period, event: &'static str) -> Group {
    Group {
        id,
        quota: quota.into(),
        rollover: None,
        period,
        rules: vec![Rule { event, size: None, measure: Measure::Quantity }],
        covers: "",
        scope: Scope::User,
        enforcement: Enforcement::Hard,
        on_change: OnChange::Carry,
        most_per_call: None,
        alerts: &[],
    }
}

fn reply(alerts: &'static [u64], group: Group) -> Group {
    Group { alerts, ..group }
}

fn rolls(max: u64, group: Group) -> Group {
    Group { rollover: Some(max), ..group }
}

fn calls(id: &'static str, quota: u64, event: &'static str) -> Group {
    let rules = vec![Rule { event, size: None, measure: Measure::Event }];
    Group { rules, ..group(id, quota, Period::Concurrent, event) }
}

/// Expensive for size `big`; otherwise 0.4 per quantity and 1 per call, rounded up.
fn spend() -> Group {
    let rule = |size, measure| Rule { event: "job.*", size, measure };
    let weighted = Measure::Sum(Sum { per_quantity: 4, per_event: 10, ..Sum::default() });
    Group {
        rules: vec![rule(Some("big"), Measure::Quantity), rule(None, weighted)],
        covers: "paid.*",
        on_change: OnChange::Block,
        ..group("spend", 30, Period::Weekly, "job.*")
    }
}

/// Seconds: 12.5 ms per step, 250 ms per quantity, and 100 ms per call.
fn render(quota_ms: u64, period: Period, event: &'static str) -> Group {
    let measure = Measure::Sum(Sum { per_step: 125, per_quantity: 2_500, per_event: 1_000 });
    Group { rules: vec![Rule { event, size: None, measure }], ..group("render", quota_ms, period, event) }
}

/// Millionths of a cent per step, three times as many for size `big`, so that fractions of steps are rounded up.
fn price(quota: u64, event: &'static str) -> Group {
    let rule = |size, per_step| Rule { event, size, measure: Measure::Sum(Sum { per_step, ..Sum::default() }) };
    Group {
        rules: vec![rule(Some("big"), 370_007), rule(None, 123_333)],
        ..group("price", quota, Period::Hourly, event)
    }
}

/// The initial rules of an app. Without `shared`, no counter belongs to several users; with `default_plan`, users
/// without a subscription are on a plan.
pub fn rules(app: &str, shared: bool, default_plan: bool) -> Rules {
    let on = |on_change, group| Group { on_change, ..group };
    let free = vec![
        reply(&[50, 100], rolls(12, group("month", 20, Period::Monthly, "job.*"))),
        rolls(5, group("minute", 8, Period::Minute, "job.run")),
        calls("flight", 3, "job.run"),
        reply(&[33, 67], render(30_250, Period::Monthly, "job.*")),
        group("life", None, Period::Lifetime, "*"),
    ];
    let events = Group {
        rules: vec![Rule { event: "job.*", size: None, measure: Measure::Event }],
        ..group("every", 9, Period::Hours(6), "job.*")
    };
    let pro = vec![
        reply(&[25, 50, 90], rolls(10, on(OnChange::Reset, group("month", 40, Period::Months(1), "job.*")))),
        reply(
            &[50, 100, 150],
            Group { enforcement: Enforcement::Soft, ..rolls(4, group("soft_day", 15, Period::Daily, "job.run")) },
        ),
        spend(),
        Group {
            most_per_call: Some(4_500),
            on_change: OnChange::Block,
            ..rolls(7_250, render(20_500, Period::Daily, "job.*"))
        },
        reply(&[100, 200], Group { enforcement: Enforcement::Soft, ..price(9_000_001, "chat.*") }),
        calls("flight", 5, "job.*"),
        on(OnChange::Reset, events),
        group("life", None, Period::Lifetime, "*"),
    ];
    let mut team = vec![
        on(OnChange::Block, rolls(9, group("month", 30, Period::Daily, "job.*"))),
        on(
            OnChange::Block,
            Group { enforcement: Enforcement::Approval, ..group("asked", 10, Period::Monthly, "chat.*") },
        ),
        Group { most_per_call: Some(5), ..group("minute", 12, Period::Minute, "chat.*") },
        on(
            OnChange::Block,
            group("campaign", 25, Period::Fixed(start_ms() + HOUR_MS, start_ms() + 20 * DAY_MS), "job.side"),
        ),
        on(OnChange::Reset, group("life", None, Period::Lifetime, "job.*")),
        group("never", 0, Period::Hourly, "chat.b"),
        reply(&[99, 100], Group { on_change: OnChange::Reset, ..price(5_123_456, "*") }),
    ];
    let pairs = Group { scope: Scope::UserAndTeam, ..rolls(6, group("pair_hour", 20, Period::Hourly, "chat.a")) };
    let watched = rolls(3, group("watched", 7, Period::Hourly, "job.*"));
    let watched = Group { enforcement: Enforcement::Observe, most_per_call: Some(4), ..watched };
    let fair = rolls(25, group("fair", 60, Period::Daily, "job.*"));
    let mut caps = vec![reply(&[10, 60], pairs), reply(&[100], watched), reply(&[50], fair)];
    if shared {
        team.push(Group { scope: Scope::Team, ..group("team_day", 24, Period::Daily, "job.side") });
        let whole = Group { scope: Scope::App, ..rolls(30, group("whole_week", 110, Period::Weekly, "job.*")) };
        caps.push(reply(&[10, 20, 30, 40, 50, 60, 70, 80], whole));
    }
    // Without the alerts that `pro` has.
    let price = price(20_000_000, "chat.*");
    let basic = vec![group("month", 6, Period::Monthly, "job.*"), price, group("life", None, Period::Lifetime, "*")];
    let plan = |groups, passes_unmatched| Plan { groups, passes_unmatched };
    Rules {
        app: app.to_owned(),
        plans: [
            ("free", plan(free, false)),
            ("pro", plan(pro, true)),
            ("team", plan(team, false)),
            ("basic", plan(basic, false)),
        ]
        .into(),
        policies: [("caps", plan(caps, false))].into(),
        default_plan: default_plan.then_some("basic"),
    }
}
