//! The parts of a counter's JSON that are the same in every answer: its group, and its window. Each thread prepares them
//! once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::json_text::{push_amount, push_optional_time, push_string, push_time};
use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::metering::counter::{ClosedUntil, Counter};
use crate::domain::time::window::TimeMs;

/// The maximum number of counters that a thread remembers. With more it forgets all of them.
const MOST: usize = 1024;

/// The constant parts of a counter's JSON.
pub(super) struct CounterTexts {
    /// Keeps the group, so that no other group can get its address.
    _group: Arc<LimitGroup>,
    /// `{"groupId":"lg_1","label":"Images","unit":"count","quota":20,"granted":`
    pub head: String,
    /// `,"resetsAt":"…","period":{"start":"…","end":"…"},"scope":{`
    pub tail: String,
}

/// The address of the group, and start and end of the window.
type Key = (*const LimitGroup, Option<(TimeMs, Option<TimeMs>)>);

thread_local! {
    /// Few groups are in use at a time, so comparing keys takes less than hashing one.
    static KNOWN: RefCell<BTreeMap<Key, Rc<CounterTexts>>> = const { RefCell::new(BTreeMap::new()) };
}

impl CounterTexts {
    pub(super) fn of(counter: &Counter) -> Rc<Self> {
        if counter.closed.is_some() {
            return Rc::new(Self::new(counter));
        }
        let window = counter.window.map(|window| (window.start_ms, window.end_ms));
        let key = (Arc::as_ptr(&counter.group), window);
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= MOST && !known.contains_key(&key) {
                known.clear();
            }
            Rc::clone(known.entry(key).or_insert_with(|| Rc::new(Self::new(counter))))
        })
    }

    fn new(counter: &Counter) -> Self {
        let group = &counter.group;
        let mut head = String::from("{\"groupId\":\"");
        head.push_str(group.id.as_str());
        head.push_str("\",\"label\":");
        push_string(&group.label, &mut head);
        head.push_str(",\"unit\":\"");
        head.push_str(group.unit.as_str());
        push_amount("\",\"quota\":", group.quota, group.unit, &mut head);
        if let Some(balance) = &group.overflow {
            head.push_str(",\"overflow\":\"");
            head.push_str(balance.id.as_str());
            head.push('"');
        }
        head.push_str(",\"granted\":");

        let end_ms = counter.window.and_then(|window| window.end_ms);
        let mut tail = String::from(",\"resetsAt\":");
        match counter.closed {
            Some(ClosedUntil(opens_at_ms)) => push_optional_time(opens_at_ms, &mut tail),
            None => push_optional_time(end_ms, &mut tail),
        }
        tail.push_str(",\"period\":");
        match counter.window {
            Some(window) => {
                tail.push_str("{\"start\":");
                push_time(window.start_ms, &mut tail);
                tail.push_str(",\"end\":");
                push_optional_time(end_ms, &mut tail);
                tail.push('}');
            }
            None => tail.push_str("null"),
        }
        tail.push_str(",\"scope\":{");
        Self { _group: Arc::clone(group), head, tail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_remembers_a_bounded_number_of_counters() {
        let body = serde_json::json!({"periodType": "monthly", "groups": [{"id": "g", "unit": "count", "quota": 1, "matches": [{"event": "*"}]}]});
        let id = crate::domain::values::ids::PlanId::parse("p").unwrap();
        let plan =
            crate::domain::configuration::plan::Plan::validate(&id, 1, serde_json::from_value(body).unwrap()).unwrap();
        let user = crate::domain::values::ids::UserId::parse("u").unwrap();
        let owner = Arc::new(crate::domain::configuration::scope::OwnerName::of_user(&user));
        for place in 0..3 * MOST {
            let group = Arc::new(LimitGroup { label: place.to_string().into(), ..LimitGroup::clone(&plan.groups[0]) });
            let counter = Counter { closed: None, ..Counter::closed(group, Arc::clone(&owner), ClosedUntil(None)) };

            let texts = CounterTexts::of(&counter);

            assert!(texts.head.contains(&format!("\"label\":\"{place}\"")), "{}", texts.head);
            assert!(Rc::ptr_eq(&texts, &CounterTexts::of(&counter)));
            assert!(KNOWN.with_borrow(BTreeMap::len) <= MOST);
        }
    }
}
