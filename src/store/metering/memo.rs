//! Request snapshots in records and in the ledger: one line of JSON without the values of the preceding line, `<event>
//! <key> <user>`; followed by a tab, which JSON never contains, and the rules of a custom plan.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::metering::reservation::{Drawn, Item, Memo, ONE};
use crate::domain::values::ids::{EventName, KeyId, PlanId, PolicyId, UserId};
use crate::domain::values::metadata::{self, Metadata};
use crate::domain::values::number::Number;
use crate::store::error::StoreError;
use crate::store::keys::{decode, encode};

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, KeyId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<Cow<'a, PlanId>>,
    #[serde(default)]
    version: u64,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    policies: Cow<'a, [(PolicyId, u64)]>,
    items: Vec<KeptItem<'a>>,
}

#[derive(Serialize, Deserialize)]
struct KeptItem<'a> {
    /// None if it is the event of the preceding line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, EventName>>,
    /// None means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quantity: Option<Number>,
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "stored")]
    metadata: Cow<'a, Metadata>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drawn: Option<Cow<'a, Drawn>>,
}

impl<'a> KeptItem<'a> {
    /// `beside`: the event of the preceding line.
    fn of(item: &'a Item, beside: Option<&EventName>) -> Self {
        Self {
            event: Some(&item.event).filter(|event| Some(*event) != beside).map(Cow::Borrowed),
            quantity: Some(item.quantity).filter(|quantity| *quantity != ONE),
            metadata: Cow::Borrowed(&item.metadata),
            drawn: item.drawn.as_ref().map(Cow::Borrowed),
        }
    }
}

fn is_empty(metadata: &Metadata) -> bool {
    metadata.is_empty()
}

fn stored<'de, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Cow<'a, Metadata>, D::Error> {
    metadata::stored(from).map(Cow::Owned)
}

/// # Errors
/// [`StoreError::Unexpected`] if the snapshot cannot be serialized; never in practice.
pub fn memo_text(memo: &Memo) -> Result<String, StoreError> {
    let unexpected = |error: serde_json::Error| StoreError::Unexpected(error.to_string());
    let kept = Kept {
        key: memo.key.as_ref().map(Cow::Borrowed),
        plan: memo.plan.as_ref().map(Cow::Borrowed),
        version: memo.version,
        policies: Cow::Borrowed(&memo.policies),
        items: memo.items.iter().map(|item| KeptItem::of(item, memo.event())).collect(),
    };
    let mut text = serde_json::to_string(&kept).map_err(unexpected)?;
    if let Some(rules) = &memo.rules {
        text.push('\t');
        text.push_str(&serde_json::to_string(rules).map_err(unexpected)?);
    }
    Ok(text)
}

/// Parses a snapshot with the event and user of the preceding line.
pub(in crate::store) fn parse_memo(event: &str, user: &str, text: &str) -> Option<Memo> {
    let (memo, rules) = text.split_once('\t').map_or((text, None), |(memo, rules)| (memo, Some(rules)));
    let kept: Kept = serde_json::from_str(memo).ok()?;
    let first = EventName::parse(&decode(event)?).ok();
    let item = |item: KeptItem| {
        Some(Item {
            event: item.event.map(Cow::into_owned).or_else(|| first.clone())?,
            quantity: item.quantity.unwrap_or(ONE),
            metadata: item.metadata.into_owned(),
            drawn: item.drawn.map(Cow::into_owned),
        })
    };
    Some(Memo {
        user: UserId::parse(&decode(user)?).ok()?,
        key: kept.key.map(Cow::into_owned),
        plan: kept.plan.map(Cow::into_owned),
        version: kept.version,
        rules: rules.map(serde_json::from_str).transpose().ok()?,
        policies: kept.policies.into_owned(),
        items: kept.items.into_iter().map(item).collect::<Option<_>>()?,
    })
}

/// A snapshot after the line `<event> - <user>`, for a node's cache.
///
/// # Errors
/// As [`memo_text`].
pub(in crate::store) fn request_text(memo: &Memo) -> Result<String, StoreError> {
    let event = memo.event().map_or_else(|| "-".to_owned(), |event| encode(event.as_str()));
    Ok(format!("{event} - {}\n{}", encode(memo.user.as_str()), memo_text(memo)?))
}

/// Parses `<event> <key> <user>` and the snapshot after it: returns the encoded key and the snapshot.
pub(in crate::store) fn parse_request<'a>(about: &'a str, memo: &str) -> Option<(&'a str, Memo)> {
    let mut parts = about.split(' ');
    let (event, key, user) = (parts.next()?, parts.next()?, parts.next()?);
    Some((key, parse_memo(event, user, memo)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::store::keys::about;

    fn item() -> impl Strategy<Value = Item> {
        let quantity = prop_oneof![Just("1"), Just("1.0"), Just("0"), Just("2.5")];
        let metadata = prop::collection::btree_map("[a-z]{1,3}", "[a-z\"%é ]{0,4}", 0..3);
        let drawn = json!({"quantity": 2, "fields": {"tokens": 1.5}});
        let drawn = prop::option::of(Just(serde_json::from_value::<Drawn>(drawn).unwrap()));
        (prop_oneof![Just("llm.chat"), Just("llm.image")], quantity, metadata, drawn).prop_map(
            |(event, quantity, metadata, drawn)| Item {
                event: EventName::parse(event).unwrap(),
                quantity: serde_json::from_str(quantity).unwrap(),
                metadata: serde_json::from_value(json!(metadata)).unwrap(),
                drawn,
            },
        )
    }

    proptest! {
        #[test]
        fn a_request_stored_next_to_its_call_label_is_read_back_unchanged(
            items in prop::collection::vec(item(), 1..4), user in "[a-z:%{} é]{1,8}", has_key in any::<bool>(), has_plan in any::<bool>(),
        ) {
            let key = KeyId::parse("key_1").unwrap();
            let memo = Memo {
                user: UserId::parse(&user).unwrap(),
                key: has_key.then(|| key.clone()),
                plan: has_plan.then(|| PlanId::parse("free").unwrap()),
                version: 7,
                rules: None,
                policies: has_plan.then(|| (PolicyId::parse("all").unwrap(), 3)).into_iter().collect(),
                items,
            };
            let beside = about(memo.event().unwrap(), &key, &memo.user);
            let text = memo_text(&memo).unwrap();
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(parse_request(&beside, &text), Some(("key_1", memo.clone())));
            let at_hand = request_text(&memo).unwrap();
            let (beside, text) = at_hand.split_once('\n').unwrap();
            prop_assert_eq!(parse_request(beside, text), Some(("-", memo)));
        }
    }

    #[test]
    fn a_plain_call_keeps_what_is_its_own_alone() {
        let memo = Memo {
            user: UserId::parse("u").unwrap(),
            key: None,
            plan: Some(PlanId::parse("free").unwrap()),
            version: 7,
            rules: None,
            policies: Vec::new(),
            items: vec![Item {
                event: EventName::parse("llm.chat").unwrap(),
                quantity: ONE,
                metadata: Metadata::default(),
                drawn: None,
            }],
        };
        assert_eq!(memo_text(&memo).unwrap(), r#"{"plan":"free","version":7,"items":[{}]}"#);
        assert_eq!(parse_memo("llm.chat", "u", r#"{"version":7}"#), None, "no items");
        assert_eq!(parse_memo("", "u", r#"{"items":[{}]}"#), None, "no event");
        assert_eq!(parse_memo("llm.chat", "", r#"{"items":[{}]}"#), None, "no user");
    }
}
