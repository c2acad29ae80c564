//! Rows of rollups as Redis holds them: a field's name and its value, both compact text.

use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::keys::{RESERVED, decode};
use crate::domain::ids::GroupId;
use crate::domain::reason::Reason;
use crate::domain::rollup::{Count, GroupSums, Labels, Metrics, RowName, Word};

/// Separators within a row, and what means something in a pattern, so that a user's rows can be asked for.
const RESERVED_IN_ROW: &AsciiSet = &RESERVED.add(b'=').add(b'*').add(b'?').add(b'[').add(b']').add(b'^').add(b'\\');
/// Stands for a value that found no place.
const OTHER: &str = "*";

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED_IN_ROW).to_string()
}

fn word(word: &Word) -> String {
    match word {
        Word::Absent => String::new(),
        Word::Is(value) => encode(value),
        Word::Other => OTHER.to_owned(),
    }
}

fn read_word(text: &str) -> Option<Word> {
    Some(match text {
        "" => Word::Absent,
        OTHER => Word::Other,
        text => Word::Is(decode(text)?),
    })
}

/// `<user> <event> <key> <label>=<value> …`; a word is empty where there is none, `*` where it found no place.
pub fn write_name(name: &RowName) -> String {
    let mut text = format!("{} {} {}", word(&name.user), word(&name.event), word(&name.key));
    match &name.labels {
        Labels::Other => {
            text.push(' ');
            text.push_str(OTHER);
        }
        Labels::Each(labels) => {
            for (name, value) in labels {
                text.push_str(&format!(" {}={}", encode(name), encode(value)));
            }
        }
    }
    text
}

/// None for what [`write_name`] did not write.
pub fn read_name(text: &str) -> Option<RowName> {
    let mut words = text.split(' ');
    let (user, event, key) = (read_word(words.next()?)?, read_word(words.next()?)?, read_word(words.next()?)?);
    let mut labels = Labels::default();
    for word in words {
        match (&mut labels, word.split_once('=')) {
            (Labels::Each(labels), Some((name, value))) => {
                labels.insert(decode(name)?, decode(value)?);
            }
            (labels, None) if word == OTHER => *labels = Labels::Other,
            (Labels::Other, _) | (_, None) => return None,
        }
    }
    Some(RowName { user, event, key, labels })
}

/// A pattern of the names of one user's rows.
pub fn pattern_of_user(user: &str) -> String {
    format!("{} *", encode(user))
}

/// `<count>=<n> quantity=<n> cost=<n> g:<group>=<charged>,<calls>,<denials> f:<figure>=<n> r:<reason>=<n>`: what is not
/// 0, separated by spaces.
pub fn write_metrics(metrics: &Metrics) -> String {
    let mut parts = Vec::new();
    let mut put = |name: &str, sum: i128| {
        if sum != 0 {
            parts.push(format!("{name}={sum}"));
        }
    };
    for count in Count::ALL {
        put(count.as_str(), metrics.get(count));
    }
    put("quantity", metrics.quantity);
    put("cost", metrics.cost);
    for (name, sum) in &metrics.figures {
        put(&format!("f:{}", encode(name)), *sum);
    }
    for (reason, count) in &metrics.reasons {
        put(&format!("r:{}", reason.as_str()), *count);
    }
    for (group, GroupSums { charged, calls, denials }) in &metrics.groups {
        parts.push(format!("g:{group}={charged},{calls},{denials}"));
    }
    parts.join(" ")
}

/// None for what [`write_metrics`] did not write.
pub fn read_metrics(text: &str) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        if let Some(group) = name.strip_prefix("g:") {
            let mut sums = value.split(',').map(|sum| sum.parse().ok());
            let sums = GroupSums { charged: sums.next()??, calls: sums.next()??, denials: sums.next()?? };
            metrics.groups.insert(GroupId::parse(group).ok()?, sums);
            continue;
        }
        let sum: i128 = value.parse().ok()?;
        if let Some(figure) = name.strip_prefix("f:") {
            metrics.figures.insert(decode(figure)?, sum);
        } else if let Some(reason) = name.strip_prefix("r:") {
            metrics.reasons.insert(Reason::parse(reason)?, sum);
        } else if let Some(count) = Count::parse(name) {
            metrics.count(count, sum);
        } else {
            match name {
                "quantity" => metrics.quantity = sum,
                "cost" => metrics.cost = sum,
                _ => return None,
            }
        }
    }
    Some(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> impl Strategy<Value = Word> {
        prop_oneof![Just(Word::Absent), Just(Word::Other), "\\PC{1,12}".prop_map(Word::Is)]
    }

    fn labels() -> impl Strategy<Value = Labels> {
        prop_oneof![
            Just(Labels::Other),
            prop::collection::btree_map("\\PC{1,8}", "\\PC{1,8}", 0..4).prop_map(Labels::Each)
        ]
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_were_written(user in words(), event in words(), key in words(), labels in labels()) {
            let name = RowName { user, event, key, labels };
            prop_assert_eq!(read_name(&write_name(&name)), Some(name));
        }

        #[test]
        fn metrics_are_read_as_they_were_written(
            counts in prop::collection::vec(-9_i64..9, Count::ALL.len()), quantity: i128, cost: i64,
            figures in prop::collection::btree_map("\\PC{1,8}", 1_i128.., 0..3), sums: (i64, u32, u32),
        ) {
            let mut metrics = Metrics { quantity, cost: i128::from(cost), figures, ..Metrics::default() };
            for (count, by) in Count::ALL.into_iter().zip(counts) {
                metrics.count(count, i128::from(by));
            }
            metrics.reasons.insert(Reason::LimitReached, 3);
            let sums = GroupSums { charged: sums.0.into(), calls: sums.1.into(), denials: sums.2.into() };
            metrics.groups.insert(GroupId::parse("lg_a-1").unwrap(), sums);
            prop_assert_eq!(read_metrics(&write_metrics(&metrics)), Some(metrics));
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "\\PC{0,40}") {
            let _ = (read_name(&text), read_metrics(&text));
        }
    }

    #[test]
    fn rows_read_as_documented() {
        let labels = [("model".to_owned(), "large one".to_owned())].into();
        let name = RowName {
            user: Word::Is("u *".to_owned()),
            event: Word::Is("llm.chat".to_owned()),
            key: Word::Absent,
            labels: Labels::Each(labels),
        };
        assert_eq!(write_name(&name), "u%20%2A llm.chat  model=large%20one");
        let mut metrics = Metrics { cost: 250, ..Metrics::default() };
        metrics.count(Count::Calls, 2);
        assert_eq!(write_metrics(&metrics), "calls=2 cost=250");
    }
}
