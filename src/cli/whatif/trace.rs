//! Replays a recorded trace of LLM calls against a draft, spread over users as `quotagate-replay` does.

use std::path::Path;
use std::time::Instant;

use rust_decimal::Decimal;

use super::draft::Draft;
use super::{Comparison, SimulationInput, SimulationResult, WhatifArgs, replay_bar, units};
use crate::cli::direct::CommandError;
use crate::cli::trace::{self, EVENT, Row};
use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::metering::reservation::{Actual, Item};
use crate::domain::simulation::in_memory_counters::InMemoryCounters;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{AppId, EventName, PlanId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::service::access::known_apps::DEFAULT_APP;
use crate::service::simulation::comparison::{RuleSet, Source};
use crate::service::simulation::timeline::{CallAction, TimelineBuilder};

/// Every user has the draft's plan from the first row on. Each row is a reserve of the upper bound and, at once, a
/// commit of the actual figures. For comparison, the same is replayed without denials.
pub fn simulate(args: &WhatifArgs, draft: &Draft, path: &Path) -> Result<SimulationResult, CommandError> {
    let began = Instant::now();
    let drafted = draft.alone(args.of.as_ref())?;
    let rows = trace::read(path)?;
    let input = |error: crate::domain::values::ids::NameError| CommandError::Message(error.to_string());
    let (app, event) = (AppId::parse(DEFAULT_APP).map_err(input)?, EventName::parse(EVENT).map_err(input)?);
    let units = units(&drafted.config);
    let mut builder = TimelineBuilder::new(units.clone(), TimeMs::MIN, TimeMs::MAX, true);
    for (place, row) in rows.iter().enumerate() {
        let user = UserId::parse(&format!("replay_{}", place % args.users as usize)).map_err(input)?;
        let bound = args.max_output.max(row.generated_tokens);
        let item = Item {
            event: event.clone(),
            quantity: tokens(row, bound),
            metadata: metadata(&args.model, row, bound),
            estimated: LearnedValues::default(),
            drawn: None,
        };
        let actual = Actual {
            quantity: Some(tokens(row, row.generated_tokens)),
            metadata: metadata(&args.model, row, row.generated_tokens),
        };
        builder.made(at_ms(row), user, item, vec![CallAction::Reserve, CallAction::Commit(vec![actual])]);
    }
    let timeline = builder.finish();
    let started_at_ms = timeline.moments.first().map_or(0, |moment| moment.at_ms.div_euclid(1000) * 1000);
    let subscribed = vec![on(drafted.plan, started_at_ms); timeline.users.len()];
    let mut work = SimulationInput {
        timeline: &timeline,
        units: &units,
        app: &app,
        subscribed: &subscribed,
        since_ms: TimeMs::MIN,
        refuses: true,
    };
    let bar = replay_bar(&work);
    // Nothing of a trace was denied.
    let under_draft = work.draft(
        RuleSet { config: &drafted.config, instead: None },
        InMemoryCounters::default(),
        |place| bar.set_position(place as u64),
        std::iter::empty(),
    );
    bar.finish_and_clear();
    work.refuses = false;
    let mut whole = Comparison::default();
    whole.add_trace(&timeline, under_draft, work.sums(&drafted.config, InMemoryCounters::default()));
    let source = format!("{} as {} users", path.display(), timeline.users.len());
    Ok(whole.into_result(
        draft.title(),
        Source { name: source, entries: rows.len() as u64, whole: true, unread_owners: 0 },
        &units,
        began,
    ))
}

fn on(plan: Option<PlanId>, started_at_ms: TimeMs) -> Subscribed {
    let subscription = plan.map(|plan| Subscription {
        plan,
        started_at_ms,
        cycle_start_ms: None,
        ends_at_ms: None,
        custom_limits: None,
    });
    Subscribed { subscription, ..Subscribed::never() }
}

fn at_ms(row: &Row) -> TimeMs {
    row.at.and_utc().timestamp_millis()
}

fn tokens(row: &Row, generated: u32) -> Number {
    Number(Decimal::from(u64::from(row.context_tokens) + u64::from(generated)))
}

fn metadata(model: &str, row: &Row, generated: u32) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.set("model", model.to_owned());
    metadata.set("prompt_tokens", row.context_tokens.to_string());
    metadata.set("completion_tokens", generated.to_string());
    metadata
}
