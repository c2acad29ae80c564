//! The text form of rollup rows in Redis: a field's name and its value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::AsciiSet;

use crate::domain::metering::reason::Reason;
use crate::domain::reporting::rollup::{Count, DECIMALS, FigureSums, GroupSums, Labels, Metrics, RowName, RowValue};
use crate::domain::reporting::sketch::Sketch;
use crate::domain::values::digits::{push_digits, push_signed, read_number};
use crate::store::encoding::{RESERVED, decode, encoded_in};
use crate::store::parts::{Parts, cut};

/// Separators within a row, and characters with a meaning in patterns, so that a user's rows can be selected.
const RESERVED_IN_ROW: &AsciiSet = &RESERVED.add(b'=').add(b'*').add(b'?').add(b'[').add(b']').add(b'^').add(b'\\');
/// Steps in a whole unit of quantities and figures.
const STEPS: i128 = 10_i128.pow(DECIMALS);
/// Enough for most names and sums.
pub const NAME_BYTES: usize = 96;
pub const METRICS_BYTES: usize = 160;
/// Placeholder for a value that did not fit into the limit on rows.
const OTHER: &str = "*";

fn encode(text: &str) -> Cow<'_, str> {
    encoded_in(text, RESERVED_IN_ROW)
}

fn push_value(value: &RowValue, text: &mut String) {
    match value {
        RowValue::Absent => {}
        RowValue::Is(value) => text.push_str(&encode(value)),
        RowValue::Other => text.push_str(OTHER),
    }
}

fn read_value(text: &str) -> Option<RowValue> {
    Some(match text {
        "" => RowValue::Absent,
        OTHER => RowValue::Other,
        text => RowValue::Is(decode(text)?.into()),
    })
}

/// `<user> <event> <key> <label>=<value> …`; a word is empty for no value, `*` if it did not fit into the limit on
/// rows.
pub fn write_name(name: &RowName) -> String {
    let mut text = String::with_capacity(NAME_BYTES);
    push_value(&name.user, &mut text);
    text.push(' ');
    push_value(&name.event, &mut text);
    text.push(' ');
    push_value(&name.key, &mut text);
    match &name.labels {
        Labels::Other => {
            text.push(' ');
            text.push_str(OTHER);
        }
        Labels::Each(labels) => {
            for (name, value) in labels.iter() {
                text.extend([" ", &encode(name), "=", &encode(value)]);
            }
        }
    }
    text
}

/// None for a text that [`write_name`] did not write.
pub fn read_name(text: &str) -> Option<RowName> {
    let mut words = text.split(' ');
    let (user, event, key) = (read_value(words.next()?)?, read_value(words.next()?)?, read_value(words.next()?)?);
    let mut labels = Some(BTreeMap::new());
    for word in words {
        match (&mut labels, word.split_once('=')) {
            (Some(labels), Some((name, value))) => {
                labels.insert(decode(name)?, decode(value)?);
            }
            (labels, None) if word == OTHER => *labels = None,
            (None, _) | (_, None) => return None,
        }
    }
    Some(RowName { user, event, key, labels: labels.map_or(Labels::Other, Labels::of) })
}

/// A pattern that matches the names of one user's rows.
pub fn pattern_of_user(user: &str) -> String {
    format!("{} *", encode(user))
}

fn push_whole(sum: i128, text: &mut String) {
    match i64::try_from(sum) {
        Ok(sum) => push_signed(sum, text),
        Err(_) => text.push_str(&sum.to_string()),
    }
}

/// Steps of 10^-12 as a decimal number: `-12.5`. Exact over the whole range.
fn push_decimal(sum: i128, text: &mut String) {
    let (whole, fraction) = ((sum / STEPS).unsigned_abs(), (sum % STEPS).unsigned_abs());
    if sum < 0 {
        text.push('-');
    }
    match u64::try_from(whole) {
        Ok(whole) => push_digits(whole, text),
        Err(_) => text.push_str(&whole.to_string()),
    }
    if fraction > 0 {
        text.push_str(format!(".{fraction:012}").trim_end_matches('0'));
    }
}

/// Nearly all sums fit into 64 bits, which are read with fewer instructions.
fn read_whole(text: &str) -> Option<i128> {
    read_number(text).map(i128::from).or_else(|| text.parse().ok())
}

fn read_decimal(text: &str) -> Option<i128> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let missing = DECIMALS.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<i64>().ok()? * 10_i64.pow(missing) };
    // As a negative number, since the range has one more of those.
    let sum = read_whole(whole)?.checked_mul(-STEPS)?.checked_sub(fraction.into())?;
    if is_negative { Some(sum) } else { sum.checked_neg() }
}

/// `<count>=<n> quantity=<n> cost=<n> g:<group>=<charged>,<calls>,<denials>[,<observed>[,<credited>,<lapsed>,<voided>]]
/// f:<figure>=<n> r:<reason>=<n> s:<figure>=<compared>,<exceeded>;<sketch>`, without zeros, separated by spaces. Quantity
/// and figures are decimal numbers, cost, charges and credits are steps of their units.
pub fn write_metrics(metrics: &Metrics) -> String {
    let mut text = String::with_capacity(METRICS_BYTES);
    for (count, sum) in Count::ALL.into_iter().zip(metrics.counts).filter(|(_, sum)| *sum != 0) {
        push_name("", count.as_str(), &mut text);
        push_signed(sum, &mut text);
    }
    push_sum("", "quantity", metrics.quantity, push_decimal, &mut text);
    push_sum("", "cost", metrics.cost, push_whole, &mut text);
    for (name, sum) in &metrics.figures {
        push_sum("f:", &encode(name), *sum, push_decimal, &mut text);
    }
    for (reason, count) in &metrics.reasons {
        push_sum("r:", reason.as_str(), *count, push_whole, &mut text);
    }
    for (group, GroupSums { charged, calls, denials, observed, credited, lapsed, voided }) in metrics.groups.iter() {
        push_name("g:", group.as_str(), &mut text);
        let [calls, denials, observed] = [calls, denials, observed].map(|count| i128::from(*count));
        let sums = [*charged, calls, denials, observed, *credited, *lapsed, *voided];
        // Most groups have only the first three.
        let count = match (credited, lapsed, voided, observed) {
            (0, 0, 0, 0) => 3,
            (0, 0, 0, _) => 4,
            _ => sums.len(),
        };
        for (place, sum) in sums.into_iter().take(count).enumerate() {
            if place > 0 {
                text.push(',');
            }
            push_whole(sum, &mut text);
        }
    }
    for (name, FigureSums { sketch, compared, exceeded }) in &metrics.learned {
        push_name("s:", &encode(name), &mut text);
        let (compared, exceeded) = (compared.to_string(), exceeded.to_string());
        text.extend([compared.as_str(), ",", exceeded.as_str(), ";", sketch.text().as_str()]);
    }
    text
}

fn push_name(kind: &str, name: &str, text: &mut String) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(kind);
    text.push_str(name);
    text.push('=');
}

/// A sum of 0 is left out.
fn push_sum(kind: &str, name: &str, sum: i128, push: fn(i128, &mut String), text: &mut String) {
    if sum != 0 {
        push_name(kind, name, text);
        push(sum, text);
    }
}

/// None for a text that [`write_metrics`] did not write.
pub fn read_metrics(text: &str) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    add_metrics(text, &mut metrics)?;
    Some(metrics)
}

/// Adds the sums of a text; None for one that [`write_metrics`] did not write.
pub fn add_metrics(text: &str, metrics: &mut Metrics) -> Option<()> {
    for part in Parts::of(text, b' ').filter(|part| !part.is_empty()) {
        let (name, value) = cut(part, b'=')?;
        match name.split_at_checked(2) {
            Some(("g:", group)) => {
                let mut sums = Parts::of(value, b',');
                let charged = read_whole(sums.next()?)?;
                let (calls, denials) = (read_number(sums.next()?)?, read_number(sums.next()?)?);
                let observed = sums.next().map_or(Some(0), read_number)?;
                let mut credits = || sums.next().map_or(Some(0), read_whole);
                let (credited, lapsed, voided) = (credits()?, credits()?, credits()?);
                let sums = GroupSums { charged, calls, denials, observed, credited, lapsed, voided };
                metrics.groups.named(group)?.add(&sums);
            }
            Some(("s:", figure)) => {
                let (counts, sketch) = value.split_once(';')?;
                let (compared, exceeded) = counts.split_once(',')?;
                let (compared, exceeded) = (compared.parse().ok()?, exceeded.parse().ok()?);
                let sums = FigureSums { sketch: Sketch::parse(sketch)?, compared, exceeded };
                metrics.learned.entry(decode(figure)?).or_default().add(&sums);
            }
            Some(("f:", figure)) => add(metrics.figures.entry(decode(figure)?).or_default(), read_decimal(value)?),
            Some(("r:", reason)) => add(metrics.reasons.entry(Reason::parse(reason)?).or_default(), read_whole(value)?),
            _ => match name {
                "quantity" => add(&mut metrics.quantity, read_decimal(value)?),
                "cost" => add(&mut metrics.cost, read_whole(value)?),
                _ => metrics.count(Count::parse(name)?, read_number(value)?),
            },
        }
    }
    Some(())
}

fn add(sum: &mut i128, more: i128) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::GroupId;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = RowValue> {
        let known = "\\PC{1,12}".prop_map(|value| RowValue::of(Some(value)));
        prop_oneof![Just(RowValue::Absent), Just(RowValue::Other), known]
    }

    fn labels() -> impl Strategy<Value = Labels> {
        prop_oneof![
            Just(Labels::Other),
            prop::collection::btree_map("\\PC{1,8}", "\\PC{1,8}", 0..4).prop_map(Labels::of)
        ]
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_were_written(user in values(), event in values(), key in values(), labels in labels()) {
            let name = RowName { user, event, key, labels };
            prop_assert_eq!(read_name(&write_name(&name)), Some(name));
        }

        #[test]
        fn metrics_are_read_as_they_were_written(
            counts in prop::collection::vec(-9_i64..9, Count::ALL.len()), cost: i64,
            quantity in prop_oneof![any::<i128>(), any::<i64>().prop_map(i128::from)],
            figures in prop::collection::btree_map("\\PC{1,8}", 1_i128.., 0..3), sums: (i64, u32, u32, u8),
            credits: [u8; 3],
            learned in prop::collection::btree_map("\\PC{1,8}", (1..9_000_000_u32, 0..9_u64, 0..9_u64), 0..3),
        ) {
            let mut metrics = Metrics { quantity, cost: i128::from(cost), figures, ..Metrics::default() };
            for (count, by) in Count::ALL.into_iter().zip(counts) {
                metrics.count(count, by);
            }
            metrics.reasons.insert(Reason::LimitReached, 3);
            let (charged, calls, denials, observed) = (sums.0.into(), sums.1.into(), sums.2.into(), sums.3.into());
            let [credited, lapsed, voided] = credits.map(i128::from);
            let sums = GroupSums { charged, calls, denials, observed, credited, lapsed, voided };
            *metrics.groups.of(&GroupId::parse("lg_a-1").unwrap()) = sums;
            for (name, (figure, compared, exceeded)) in learned {
                let mut sums = FigureSums { compared, exceeded, ..FigureSums::default() };
                sums.sketch.add(figure.into());
                metrics.learned.insert(name, sums);
            }
            let text = write_metrics(&metrics);
            prop_assert_eq!(read_metrics(&text), Some(metrics.clone()));
            // Adding to what is known is the same as adding what was read.
            let mut twice = metrics.clone();
            twice.add(&metrics);
            add_metrics(&text, &mut metrics).unwrap();
            prop_assert_eq!(metrics, twice);
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
            user: RowValue::of(Some("u *")),
            event: RowValue::of(Some("llm.chat")),
            key: RowValue::Absent,
            labels: Labels::of(labels),
        };
        assert_eq!(write_name(&name), "u%20%2A llm.chat  model=large%20one");
        let figures = [("prompt_tokens".to_owned(), 3)].into();
        let mut metrics = Metrics { cost: 250, quantity: -1_500_000_000_000, figures, ..Metrics::default() };
        metrics.count(Count::Calls, 2);
        let text = write_metrics(&metrics);
        assert_eq!(text, "calls=2 quantity=-1.5 cost=250 f:prompt_tokens=0.000000000003");
        let mut sums = FigureSums { compared: 4, exceeded: 1, ..FigureSums::default() };
        sums.sketch.add(1.into());
        let metrics = Metrics { learned: [("completion_tokens".to_owned(), sums)].into(), ..Metrics::default() };
        assert_eq!(write_metrics(&metrics), "s:completion_tokens=4,1;960:1");
        for bad in [
            "calls=x",
            "calls",
            "quantity=1e3",
            "quantity=.",
            "f:a=1.0000000000001",
            "odd=1",
            "g:a=1,2",
            "g:a=1,2,3,x",
            "s:a=1,2",
            "s:a=1;0:1",
            "s:a=1,2;0:0",
            "s:a=x,2;0:1",
        ] {
            assert_eq!(read_metrics(bad), None, "{bad}");
        }
    }
}
