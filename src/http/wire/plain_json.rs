//! Writes the JSON of the most frequent answers to metering calls without a serializer, which saves a third of the
//! instructions. The text equals that of their views; a test compares the two.

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

use super::counter_texts::CounterTexts;
use super::json_text::{push_amount, push_string, push_time};
use super::problem::ApiError;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::counter::Counter;
use crate::domain::values::digits::push_digits;
use crate::service::error::ServiceError;
use crate::service::metering::decision::Decision;
use crate::service::metering::settle::Settlement;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers with the JSON of the view, or with `plain` if it is given .
///
/// # Errors
/// The view cannot be serialized; never in practice.
pub fn answer<V: Serialize>(
    mut response: HttpResponseBuilder,
    plain: Option<String>,
    view: impl FnOnce() -> V,
) -> Result<HttpResponse, ApiError> {
    let text = match plain {
        Some(text) => text,
        None => serde_json::to_string(&view()).map_err(|error| ServiceError::Internal(error.to_string()))?,
    };
    Ok(response.insert_header((CONTENT_TYPE, JSON)).body(text))
}

/// Enough for four counters.
const BYTES: usize = 2048;

/// The answer to an allowed reserve or extend; None for answers that need [`super::views::DecisionView`].
pub fn decision(decision: &Decision) -> Option<String> {
    // All fields are named, so that a new one is not forgotten here.
    let Decision {
        allowed,
        degraded,
        matched,
        matched_groups,
        reservation,
        reasons,
        denied_by,
        observed,
        overflow,
        fitted,
        retry,
        counters,
        retry_after_ms,
        counters_at_ms: _,
        replayed: _,
    } = decision;
    let is_plain = *allowed && !degraded && reasons.is_empty() && denied_by.is_empty() && observed.is_empty();
    let is_special = !overflow.is_empty() || fitted.is_some() || has_balance(counters);
    if !is_plain || is_special || retry.is_some() || retry_after_ms.is_some() {
        return None;
    }
    let mut json = String::with_capacity(BYTES);
    json.push_str("{\"allowed\":true,\"matched\":");
    json.push_str(if *matched { "true" } else { "false" });
    json.push_str(",\"matchedGroupIds\":");
    push_list(matched_groups, &mut json, |group, json| push_string(group.as_str(), json));
    if let Some((id, expires_at_ms)) = reservation {
        json.push_str(",\"reservationId\":\"");
        id.push_text(&mut json);
        json.push_str("\",\"expiresAt\":");
        push_time(*expires_at_ms, &mut json);
    }
    json.push_str(",\"reasons\":[],\"deniedBy\":[],\"counters\":");
    push_list(counters, &mut json, push_counter);
    json.push('}');
    Some(json)
}

/// The answer to a commit or release; None for answers that need [`crate::http::metering::settlement::SettlementView`].
pub fn settlement(settlement: &Settlement) -> Option<String> {
    let is_plain = !settlement.late && !settlement.replayed && settlement.crossed.is_empty();
    if !is_plain || !settlement.overflow.is_empty() || has_balance(&settlement.counters) {
        return None;
    }
    let mut json = String::with_capacity(BYTES);
    json.push_str("{\"reservationId\":\"");
    settlement.id.push_text(&mut json);
    json.push_str("\",\"status\":");
    push_string(&settlement.status, &mut json);
    json.push_str(",\"counters\":");
    push_list(&settlement.counters, &mut json, push_counter);
    json.push('}');
    Some(json)
}

/// A balance's counter has more fields.
fn has_balance(counters: &[Counter]) -> bool {
    counters.iter().any(|counter| counter.balance.is_some())
}

fn push_list<T>(items: &[T], json: &mut String, push: impl Fn(&T, &mut String)) {
    json.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            json.push(',');
        }
        push(item, json);
    }
    json.push(']');
}

fn push_counter(counter: &Counter, json: &mut String) {
    let unit = counter.group.unit;
    let texts = CounterTexts::of(counter);
    json.push_str(&texts.head);
    counter.granted.push_text(unit, json);
    if let Some(rolled) = counter.rolled() {
        push_amount(",\"rolled\":", Some(rolled), unit, json);
    }
    push_amount(",\"count\":", Some(counter.count()), unit, json);
    push_amount(",\"used\":", Some(counter.used), unit, json);
    push_amount(",\"held\":", Some(counter.held), unit, json);
    push_amount(",\"blocked\":", Some(counter.blocked), unit, json);
    push_amount(",\"remaining\":", counter.remaining(), unit, json);
    push_amount(",\"overage\":", Some(counter.overage()), unit, json);
    json.push_str(",\"percentUsed\":");
    match counter.percent_used() {
        Some(percent) => push_digits(percent, json),
        None => json.push_str("null"),
    }
    json.push_str(&texts.tail);
    push_scope(&counter.owner, json);
    json.push_str("}}");
}

fn push_scope(owner: &OwnerName, json: &mut String) {
    if let (true, [user]) = (owner.scope().is_user(), owner.values()) {
        json.push_str("\"user\":");
        push_string(user, json);
        return;
    }
    for (place, (name, value)) in owner.by_name().enumerate() {
        if place > 0 {
            json.push(',');
        }
        push_string(&name, json);
        json.push(':');
        push_string(value, json);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::views::{CounterView, DecisionView};
    use super::*;
    use crate::domain::configuration::plan::Plan;
    use crate::domain::metering::counter::ClosedUntil;
    use crate::domain::metering::fit::Fitted;
    use crate::domain::metering::reservation::{OperationName, ReservationId};
    use crate::domain::time::window::{Window, WindowKind};
    use crate::domain::values::amount::Amount;
    use crate::domain::values::ids::{PlanId, UserId};
    use crate::http::metering::settlement::SettlementView;

    fn counters() -> impl Strategy<Value = Counter> {
        let unit = prop::sample::select(vec!["count", "tokens", "seconds", "cents"]);
        let quota = prop_oneof![Just(json!(null)), (0..3_000_u64).prop_map(|quota| json!(quota))];
        let owner = ("\\PC{1,12}", prop::option::of("\\PC{1,6}"));
        let window =
            prop::option::of((-1_000_000_000_000..4_000_000_000_000_i64, prop::option::of(1..100_000_000_i64)));
        let closed = prop::option::of(prop::option::of(0..4_000_000_000_000_i64));
        let amounts = prop::array::uniform5(0..5_000_000_u64);
        ("\\PC{0,8}", unit, quota, owner, window, closed, amounts).prop_map(
            |(label, unit, quota, (user, team), window, closed, amounts)| {
                let mut group =
                    json!({"id": "lg_1", "label": label, "unit": unit, "quota": quota, "matches": [{"event": "*"}]});
                if !quota.is_null() && amounts[0] % 2 == 0 {
                    group["rollover"] = json!({"max": 7});
                }
                let mut groups = vec![group];
                if amounts[1] % 2 == 0 {
                    groups[0]["overflow"] = json!("credits");
                    groups.push(json!({"id": "credits", "kind": "balance", "unit": unit}));
                }
                let body = json!({"periodType": "monthly", "groups": groups});
                let plan =
                    Plan::validate(&PlanId::parse("p").unwrap(), 1, serde_json::from_value(body).unwrap()).unwrap();
                let team = team.map(|team| ("metadata.team".to_owned(), team));
                let names = [("user".to_owned(), user)].into_iter().chain(team).collect();
                let [used, held, granted, blocked, rolled] = amounts.map(|steps| Amount::from_steps(steps).unwrap());
                Counter {
                    group: Arc::clone(&plan.groups[0]),
                    owner: Arc::new(OwnerName::from_map(&names).unwrap()),
                    window: window.map(|(start_s, length_s)| Window {
                        kind: WindowKind::Every,
                        start_ms: start_s * 1000,
                        end_ms: length_s.map(|length_s| (start_s + length_s) * 1000),
                    }),
                    used,
                    held,
                    granted,
                    rolled,
                    blocked,
                    closed: closed.map(ClosedUntil),
                    balance: None,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn counters_are_written_as_their_view(counter in counters()) {
            let mut json = String::new();
            push_counter(&counter, &mut json);
            prop_assert_eq!(json, serde_json::to_string(&CounterView::new(&counter)).unwrap());
        }

        #[test]
        fn decisions_are_written_as_their_view(
            counters in prop::collection::vec(counters(), 0..4), matched in any::<bool>(), reserved in any::<bool>(),
        ) {
            let id = ReservationId { name: OperationName::random([7; 12]), created_at_ms: 1_795_351_748_833, bucket: 47 };
            let allowed = Decision {
                allowed: true,
                matched,
                matched_groups: counters.iter().map(|counter| counter.group.id.clone()).collect(),
                reservation: reserved.then_some((id, 1_795_351_808_833)),
                counters,
                ..Decision::default()
            };
            prop_assert_eq!(decision(&allowed).unwrap(), serde_json::to_string(&DecisionView::new(&allowed)).unwrap());
            prop_assert_eq!(decision(&Decision { degraded: true, ..allowed.clone() }), None);
            let fitted = Fitted { item: 0, field: "quantity".to_owned(), min: 1, wish: 9, value: 5 };
            prop_assert_eq!(decision(&Decision { fitted: Some(fitted), ..allowed.clone() }), None);
            prop_assert_eq!(decision(&Decision { allowed: false, ..allowed }), None);
        }

        #[test]
        fn settlements_are_written_as_their_view(counters in prop::collection::vec(counters(), 0..4)) {
            let settled = Settlement {
                id: ReservationId { name: OperationName::random([7; 12]), created_at_ms: 1_795_351_748_833, bucket: 0 },
                user: UserId::parse("u").unwrap(),
                status: "committed".to_owned(),
                late: false,
                replayed: false,
                counters,
                crossed: Vec::new(),
                overflow: Vec::new(),
                now_ms: 0,
            };
            prop_assert_eq!(settlement(&settled).unwrap(), serde_json::to_string(&SettlementView::new(&settled)).unwrap());
            prop_assert_eq!(settlement(&Settlement { late: true, ..settled }), None);
        }
    }
}
