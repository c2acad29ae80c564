use proptest::prelude::*;

use super::*;

/// Lengths of real answers of a language model.
const TRACE: &str = include_str!("../../../../tests/data/azure-llm-conv-2023-excerpt.csv");

fn generated_tokens() -> Vec<u64> {
    let lengths = TRACE.lines().skip(1).filter_map(|line| line.rsplit(',').next()?.trim().parse().ok());
    lengths.collect()
}

fn sketch(figures: impl IntoIterator<Item = Decimal>) -> Sketch {
    let mut sketch = Sketch::default();
    for figure in figures {
        sketch.add(figure);
    }
    sketch
}

/// In thousandths.
fn decimal(thousandths: u64) -> Decimal {
    Decimal::from_i128_with_scale(i128::from(thousandths), 3)
}

/// The smallest of the sorted figures that at least this share does not exceed.
fn exact(sorted: &[Decimal], percent: usize) -> Decimal {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

fn check(figures: &[Decimal], sketch: &Sketch) {
    let mut sorted = figures.to_vec();
    sorted.sort();
    for percent in [50, 75, 90, 95, 99] {
        let expected = exact(&sorted, percent);
        let found = sketch.quantile(Decimal::new(i64::try_from(percent).unwrap(), 2)).unwrap();
        let most = expected * Decimal::new(102, 2);
        assert!(expected <= found && found <= most, "{percent} %: {found} instead of {expected}");
    }
}

#[test]
fn quantiles_of_real_answers_are_within_two_percent() {
    let figures: Vec<Decimal> = generated_tokens().into_iter().map(Decimal::from).collect();
    assert!(figures.len() > 100);
    let sketch = sketch(figures.iter().copied());
    assert_eq!(sketch.count(), figures.len() as u64);
    check(&figures, &sketch);
    assert!(sketch.quantile(Decimal::new(95, 2)).unwrap().is_integer());
}

#[test]
fn every_bucket_ends_where_the_next_one_begins() {
    assert_eq!((bucket_of(Decimal::ZERO), largest_of(0)), (0, Decimal::ZERO));
    assert_eq!((bucket_of(Decimal::from(LARGEST)), largest_of(LAST)), (LAST, Decimal::from(LARGEST)));
    assert_eq!(bucket_of(Decimal::MAX), LAST);
    for bucket in 0..LAST {
        let steps = largest_steps(bucket);
        assert_eq!((bucket_of_steps(steps), bucket_of_steps(steps + 1)), (bucket, bucket + 1));
    }
}

#[test]
fn whole_numbers_have_whole_quantiles_and_small_ones_exact_ones() {
    for number in 1..2_000_u64 {
        let found = sketch([Decimal::from(number)]).quantile(Decimal::new(5, 1)).unwrap();
        assert!(found.is_integer(), "{number}: {found}");
        assert!(number > 128 || found == Decimal::from(number), "{number}: {found}");
    }
}

#[test]
fn figures_that_differ_too_much_make_only_low_quantiles_inexact() {
    // In every bucket of twelve doublings.
    let figures: Vec<Decimal> = (1_500..1_500 + 12 * 64).map(largest_of).collect();
    let all = sketch(figures.iter().copied());
    assert_eq!((all.buckets.len(), all.count()), (MOST_BUCKETS, 12 * 64));
    check(&figures, &all);
    // However they are added up.
    let mut merged = Sketch::default();
    for part in figures.chunks(100).rev() {
        merged.merge(&sketch(part.iter().copied()));
    }
    assert_eq!(merged, all);
    assert_eq!(Sketch::parse(&all.text()), Some(all));
}

#[test]
fn a_text_that_no_sketch_wrote_is_refused() {
    let few = sketch([decimal(0), decimal(1_000), decimal(1_000), decimal(2_000)]);
    assert_eq!(few.text(), "0:1,960:2,64:1");
    assert_eq!(Sketch::parse("0:1,960:2,64:1"), Some(few));
    let many = vec!["1:1"; MOST_BUCKETS + 1].join(",");
    let huge = format!("{}:1", u64::MAX);
    let overflow = format!("5:1,{}:1", u64::MAX);
    for bad in [
        "",
        ",",
        "1",
        "1:",
        ":1",
        "1:0",
        "-1:1",
        "+1:1",
        "1:-1",
        "1:1,",
        "1:1,0:1",
        "1:1;2:1",
        "a:1",
        "1:1e3",
        " 1:1",
        "3510:1",
        "3509:1,1:1",
        "1:99999999999999999999",
        huge.as_str(),
        overflow.as_str(),
        many.as_str(),
    ] {
        assert_eq!(Sketch::parse(bad), None, "{bad}");
    }
    assert!(Sketch::parse("3509:18446744073709551615").is_some());
    assert_eq!(Sketch::default().quantile(Decimal::new(5, 1)), None);
}

#[test]
fn counts_do_not_turn_over() {
    let mut most = Sketch::parse("7:18446744073709551615,1:2").unwrap();
    most.merge(&most.clone());
    assert_eq!(most.count(), u64::MAX);
    assert_eq!(most.quantile(Decimal::new(5, 1)), Some(largest_of(7)));
}

proptest! {
    #[test]
    fn quantiles_are_within_two_percent(thousandths in prop::collection::vec(1..200_000_u64, 1..300)) {
        let figures: Vec<Decimal> = thousandths.into_iter().map(decimal).collect();
        check(&figures, &sketch(figures.iter().copied()));
    }

    #[test]
    fn a_merged_sketch_is_that_of_all_figures(
        one in prop::collection::vec(0..1_000_000_000_000_u64, 0..200),
        other in prop::collection::vec(0..50_000_u64, 0..200),
    ) {
        let all = sketch(one.iter().chain(&other).copied().map(decimal));
        let [mut one, mut other] = [one, other].map(|part| sketch(part.into_iter().map(decimal)));
        let before = one.clone();
        one.merge(&other);
        other.merge(&before);
        prop_assert_eq!(&one, &all);
        prop_assert_eq!(&other, &all);
        if all.count() > 0 {
            prop_assert_eq!(Sketch::parse(&all.text()), Some(all));
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text in "[0-9:,+ -]{0,24}") {
        if let Some(sketch) = Sketch::parse(&text) {
            prop_assert_eq!(Sketch::parse(&sketch.text()), Some(sketch));
        }
    }
}
