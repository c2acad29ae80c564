//! Request snapshots in records and in the ledger: one line without the values of the preceding line, `<event> <key>
//! <user>`. For most calls it is `<plan|-> <version>[ <quantity>][ <name>=<value>]…`, where a missing quantity is 1 and the
//! names are those of metadata; for all others, and in entries of layout 6, it is JSON. A tab, which neither contains, and
//! the rules of a custom plan may follow.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::metering::fit::Fitted;
use crate::domain::metering::reservation::{Drawn, Item, ONE, RequestSnapshot};
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::digits::push_digits;
use crate::domain::values::ids::{EventName, KeyId, PlanId, PolicyId, UserId};
use crate::domain::values::metadata::{self, Metadata};
use crate::domain::values::number::Number;
use crate::store::error::StoreError;
use crate::store::keys::{decode, encode};

#[derive(Serialize, Deserialize)]
struct StoredSnapshot<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, KeyId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<Cow<'a, PlanId>>,
    #[serde(default)]
    version: u64,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    policies: Cow<'a, [(PolicyId, u64)]>,
    items: Vec<StoredSnapshotItem<'a>>,
    /// The last field, since a script inserts its last value: see [`fitted_value`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fitted: Option<Cow<'a, Fitted>>,
}

#[derive(Default, Serialize, Deserialize)]
struct StoredSnapshotItem<'a> {
    /// None if it is the event of the preceding line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, EventName>>,
    /// None means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantity: Option<Number>,
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "stored")]
    metadata: Cow<'a, Metadata>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimated: Option<Cow<'a, LearnedValues>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drawn: Option<Cow<'a, Drawn>>,
}

impl<'a> StoredSnapshotItem<'a> {
    /// `beside`: the event of the preceding line.
    fn of(item: &'a Item, beside: Option<&EventName>) -> Self {
        Self {
            event: Some(&item.event).filter(|event| Some(*event) != beside).map(Cow::Borrowed),
            quantity: Some(item.quantity).filter(|quantity| *quantity != ONE),
            metadata: Cow::Borrowed(&item.metadata),
            estimated: Some(&item.estimated).filter(|estimated| !estimated.is_empty()).map(Cow::Borrowed),
            drawn: item.drawn.as_ref().map(Cow::Borrowed),
        }
    }
}

impl StoredSnapshot<'_> {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') { serde_json::from_str(text).ok() } else { Self::parse_plain(text) }
    }

    /// Parses the result of [`plain_text`].
    fn parse_plain(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let plan = Some(words.next()?).filter(|plan| *plan != NO_PLAN).map(PlanId::parse).transpose().ok()?;
        let version = words.next()?.parse().ok()?;
        let (mut quantity, mut metadata) = (None, Metadata::default());
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => metadata.set(name, value.to_owned()),
                None if quantity.is_none() && metadata.is_empty() => quantity = Some(Number(parse_decimal(word).ok()?)),
                None => return None,
            }
        }
        let item = StoredSnapshotItem { quantity, metadata: Cow::Owned(metadata), ..StoredSnapshotItem::default() };
        let plan = plan.map(Cow::Owned);
        Some(Self { key: None, plan, version, policies: Cow::default(), items: vec![item], fitted: None })
    }
}

/// Stands for no plan.
const NO_PLAN: &str = "-";

/// The snapshot in words. None for one that needs JSON: of several events, with more than plan and metadata, or with
/// metadata that is no word.
fn plain_text(snapshot: &RequestSnapshot) -> Option<String> {
    let RequestSnapshot { user: _, key, plan, version, rules: _, policies, items, fitted } = snapshot;
    let [Item { event: _, quantity, metadata, estimated, drawn }] = &**items else { return None };
    let has_more =
        key.is_some() || !policies.is_empty() || fitted.is_some() || !estimated.is_empty() || drawn.is_some();
    let plan = plan.as_ref().map(PlanId::as_str);
    if has_more || plan == Some(NO_PLAN) {
        return None;
    }
    let mut text = String::with_capacity(64);
    text.extend([plan.unwrap_or(NO_PLAN), " "]);
    push_digits(*version, &mut text);
    if *quantity != ONE {
        text.extend([" ", &quantity.0.to_string()]);
    }
    for (name, value) in metadata.iter() {
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_word(name) || name.contains('=') || !is_word(value) {
            return None;
        }
        text.extend([" ", name, "=", value]);
    }
    Some(text)
}

fn is_empty(metadata: &Metadata) -> bool {
    metadata.is_empty()
}

fn stored<'de, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Cow<'a, Metadata>, D::Error> {
    metadata::stored(from).map(Cow::Owned)
}

/// # Errors
/// [`StoreError::Unexpected`] if the snapshot cannot be serialized; never in practice.
pub fn snapshot_text(snapshot: &RequestSnapshot) -> Result<String, StoreError> {
    let mut text = plain_text(snapshot).map_or_else(|| json_text(snapshot), Ok)?;
    if let Some(rules) = &snapshot.rules {
        text.push('\t');
        text.push_str(&serde_json::to_string(rules).map_err(unexpected)?);
    }
    Ok(text)
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

fn json_text(snapshot: &RequestSnapshot) -> Result<String, StoreError> {
    let stored = StoredSnapshot {
        key: snapshot.key.as_ref().map(Cow::Borrowed),
        plan: snapshot.plan.as_ref().map(Cow::Borrowed),
        version: snapshot.version,
        policies: Cow::Borrowed(&snapshot.policies),
        items: snapshot.items.iter().map(|item| StoredSnapshotItem::of(item, snapshot.event())).collect(),
        fitted: snapshot.fitted.as_ref().map(Cow::Borrowed),
    };
    serde_json::to_string(&stored).map_err(unexpected)
}

/// The position of the fitted value in a snapshot's text. A script inserts the value that it decides there
/// (`lua/lib/fit.lua`); the event keeps its least value, which stands for the decided one. A snapshot with such a value is
/// JSON.
pub(in crate::store) fn fitted_value(text: &str) -> Range<usize> {
    let json = text.split('\t').next().unwrap_or(text);
    let before = json.rfind(':').map_or(0, |colon| colon + 1);
    before..before + json[before..].bytes().take_while(u8::is_ascii_digit).count()
}

/// The snapshot's text with another fitted value.
pub fn with_value(text: &str, value: u64) -> String {
    let place = fitted_value(text);
    format!("{}{value}{}", &text[..place.start], &text[place.end..])
}

/// Parses a snapshot with the event and user of the preceding line.
fn parse_snapshot(event: &str, user: &str, text: &str) -> Option<RequestSnapshot> {
    let first = EventName::parse(&decode(event)?).ok();
    snapshot_of(first.as_ref(), UserId::parse(&decode(user)?).ok()?, text)
}

/// The same with the event and the user that were read before.
pub(in crate::store) fn snapshot_of(first: Option<&EventName>, user: UserId, text: &str) -> Option<RequestSnapshot> {
    let (snapshot, rules) = text.split_once('\t').map_or((text, None), |(snapshot, rules)| (snapshot, Some(rules)));
    let stored = StoredSnapshot::parse(snapshot)?;
    let item = |item: StoredSnapshotItem| {
        Some(Item {
            event: item.event.map(Cow::into_owned).or_else(|| first.cloned())?,
            quantity: item.quantity.unwrap_or(ONE),
            metadata: item.metadata.into_owned(),
            estimated: item.estimated.map(Cow::into_owned).unwrap_or_default(),
            drawn: item.drawn.map(Cow::into_owned),
        })
    };
    let mut items = stored.items.into_iter().map(item).collect::<Option<Vec<Item>>>()?;
    let fitted = stored.fitted.map(Cow::into_owned);
    if let Some(fitted) = &fitted {
        let Item { quantity, metadata, .. } = items.get_mut(fitted.item)?;
        fitted.apply(quantity, metadata);
    }
    Some(RequestSnapshot {
        user,
        key: stored.key.map(Cow::into_owned),
        plan: stored.plan.map(Cow::into_owned),
        version: stored.version,
        rules: rules.map(serde_json::from_str).transpose().ok()?,
        policies: stored.policies.into_owned(),
        items: items.into(),
        fitted,
    })
}

/// `<event> - <user>` and the snapshot, for a node's cache.
///
/// # Errors
/// As [`snapshot_text`].
pub(in crate::store) fn request_text(snapshot: &RequestSnapshot) -> Result<(String, String), StoreError> {
    let event = snapshot.event().map_or_else(|| "-".to_owned(), |event| encode(event.as_str()));
    Ok((format!("{event} - {}", encode(snapshot.user.as_str())), snapshot_text(snapshot)?))
}

/// Parses `<event> <key> <user>` and the snapshot after it: returns the encoded key and the snapshot.
pub(in crate::store) fn parse_request<'a>(call_label: &'a str, snapshot: &str) -> Option<(&'a str, RequestSnapshot)> {
    let mut parts = call_label.split(' ');
    let (event, key, user) = (parts.next()?, parts.next()?, parts.next()?);
    Some((key, parse_snapshot(event, user, snapshot)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::metering::fit::set_figure;
    use crate::store::keys::call_label;

    fn item() -> impl Strategy<Value = Item> {
        let quantity = prop_oneof![Just("1"), Just("1.0"), Just("0"), Just("2.5")];
        let names = prop_oneof![4 => "[a-z]{1,3}", 1 => "[a-z= ]{1,3}"];
        let metadata = prop::collection::btree_map(names, prop_oneof!["[a-z\"%={-]{0,4}", "[a-z\"%é ]{0,4}"], 0..3);
        let drawn = json!({"quantity": 2, "fields": {"tokens": 1.5}});
        let drawn = prop::option::of(Just(serde_json::from_value::<Drawn>(drawn).unwrap()));
        let estimated = prop::collection::btree_map("[a-z_]{1,3}", 0..9_000_u32, 0..2);
        (prop_oneof![Just("llm.chat"), Just("llm.image")], quantity, metadata, estimated, drawn).prop_map(
            |(event, quantity, metadata, estimated, drawn)| Item {
                event: EventName::parse(event).unwrap(),
                quantity: serde_json::from_str(quantity).unwrap(),
                metadata: serde_json::from_value(json!(metadata)).unwrap(),
                estimated: serde_json::from_value(json!(estimated)).unwrap(),
                drawn,
            },
        )
    }

    /// Of a metadata field that no item has.
    fn fitted() -> impl Strategy<Value = Fitted> {
        (1..9_u64, 0..9_u64, 0..9_u64).prop_map(|(min, more, wish)| Fitted {
            item: 0,
            field: "tokens".to_owned(),
            min,
            wish: min + more + wish,
            value: min + more,
        })
    }

    proptest! {
        #[test]
        fn a_request_stored_next_to_its_call_label_is_read_back_unchanged(
            items in prop::collection::vec(item(), 1..4), user in "[a-z:%{} é]{1,8}", has_key in any::<bool>(), has_plan in any::<bool>(),
            fitted in prop::option::of(fitted()),
        ) {
            let key = KeyId::parse("key_1").unwrap();
            let snapshot = RequestSnapshot {
                user: UserId::parse(&user).unwrap(),
                key: has_key.then(|| key.clone()),
                plan: has_plan.then(|| PlanId::parse("free").unwrap()),
                version: 7,
                rules: None,
                policies: has_plan.then(|| (PolicyId::parse("all").unwrap(), 3)).into_iter().collect(),
                items: items.into(),
                fitted,
            };
            let beside = call_label(snapshot.event().unwrap(), &key, &snapshot.user);
            let text = snapshot_text(&snapshot).unwrap();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(parse_request(&beside, &text), Some(("key_1", snapshot.clone())));
            let (beside, text) = request_text(&snapshot).unwrap();
            prop_assert_eq!(parse_request(&beside, &text), Some(("-", snapshot)));
        }
    }

    #[test]
    fn the_decided_value_replaces_the_least_one_in_the_text() {
        let metadata: Metadata = serde_json::from_value(json!({"tokens": 256})).unwrap();
        let item = |quantity: u64| Item {
            event: EventName::parse("llm.chat").unwrap(),
            quantity: Number(quantity.into()),
            metadata: metadata.clone(),
            estimated: LearnedValues::default(),
            drawn: None,
        };
        let fitted =
            |item: usize, field: &str| Fitted { item, field: field.to_owned(), min: 256, wish: 4000, value: 256 };
        let user = UserId::parse("u").unwrap();
        for (fitted, items) in [
            (fitted(0, "tokens"), vec![item(1)]),
            (fitted(0, "quantity"), vec![item(256)]),
            (fitted(1, "tokens"), vec![item(256), item(256)]),
        ] {
            let least = RequestSnapshot {
                user: user.clone(),
                key: None,
                plan: None,
                version: 0,
                rules: None,
                policies: Vec::new(),
                items: items.into(),
                fitted: Some(fitted.clone()),
            };
            let text = snapshot_text(&least).unwrap();
            assert_eq!(parse_snapshot("llm.chat", "u", &text), Some(least.clone()), "nothing is decided yet");
            for rules in ["", "\t{\"groups\":[]}"] {
                let text = format!("{text}{rules}");
                assert_eq!(&text[fitted_value(&text)], "256");
                let decided = with_value(&text, 1800);
                let found = parse_snapshot("llm.chat", "u", decided.strip_suffix(rules).unwrap()).unwrap();
                let mut expected = least.clone();
                let Item { quantity, metadata, .. } = &mut Arc::make_mut(&mut expected.items)[fitted.item];
                set_figure(&fitted.field, 1800, quantity, metadata);
                expected.fitted = Some(Fitted { value: 1800, ..fitted.clone() });
                assert_eq!(found, expected);
                // A later memo has the figures of the first one, or enlarged ones.
                assert_eq!(parse_snapshot("llm.chat", "u", &snapshot_text(&found).unwrap()), Some(found));
            }
        }
    }

    #[test]
    fn a_plain_call_is_a_line_of_words() {
        let mut snapshot = RequestSnapshot {
            user: UserId::parse("u").unwrap(),
            key: None,
            plan: Some(PlanId::parse("free").unwrap()),
            version: 7,
            rules: None,
            policies: Vec::new(),
            items: [Item {
                event: EventName::parse("llm.chat").unwrap(),
                quantity: ONE,
                metadata: Metadata::default(),
                estimated: LearnedValues::default(),
                drawn: None,
            }]
            .into(),
            fitted: None,
        };
        assert_eq!(snapshot_text(&snapshot).unwrap(), "free 7");
        let item = &mut Arc::make_mut(&mut snapshot.items)[0];
        item.quantity = serde_json::from_str("2.5").unwrap();
        for (name, value) in [("model", "large=1"), ("tokens", "374"), ("empty", "")] {
            item.metadata.set(name, value.to_owned());
        }
        let words = "free 7 2.5 empty= model=large=1 tokens=374";
        assert_eq!(snapshot_text(&snapshot).unwrap(), words);
        assert_eq!(parse_snapshot("llm.chat", "u", words), Some(snapshot.clone()));
        let without_plan = RequestSnapshot { plan: None, version: 0, ..snapshot.clone() };
        assert_eq!(snapshot_text(&without_plan).unwrap(), words.replacen("free 7", "- 0", 1));
        let named_as_none = RequestSnapshot { plan: Some(PlanId::parse(NO_PLAN).unwrap()), ..without_plan };
        Arc::make_mut(&mut snapshot.items)[0].metadata.set("name", "two words".to_owned());
        for snapshot in [named_as_none, snapshot] {
            let text = snapshot_text(&snapshot).unwrap();
            assert!(text.starts_with("{\"plan\":"), "{text}");
            assert_eq!(parse_snapshot("llm.chat", "u", &text), Some(snapshot));
        }
        for damaged in ["", "free", "free x", "free 7 x", "free 7 1 2", "free 7 a=b 1", "f! 7", "free  7"] {
            assert_eq!(parse_snapshot("llm.chat", "u", damaged), None, "{damaged}");
        }
        assert_eq!(parse_snapshot("llm.chat", "u", r#"{"version":7}"#), None, "no items");
        assert_eq!(parse_snapshot("", "u", r#"{"items":[{}]}"#), None, "no event");
        assert_eq!(parse_snapshot("llm.chat", "", r#"{"items":[{}]}"#), None, "no user");
    }
}
