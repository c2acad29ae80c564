use super::*;
use crate::domain::reporting::rollup::{Count, GroupSums, Labels, Metrics, RowValue};
use crate::domain::time::window::{Window, parse_rfc3339, rfc3339};
use crate::domain::values::amount::Unit;

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::parse(id).unwrap()
}

fn fields() -> Fields {
    Fields {
        labels: Fields::LABELS.map(str::to_owned).into(),
        figures: Fields::FIGURES.map(str::to_owned).into(),
        learned: std::sync::Arc::default(),
        units: [(group("spend"), Unit::Cents), (group("calls"), Unit::Count)].into(),
    }
}

fn row(event: &str, labels: &[(&str, &str)]) -> RowName {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RowName { event: RowValue::Is(event.into()), labels: Labels::of(labels), ..RowName::default() }
}

const STEPS: i128 = 1_000_000_000_000;

fn metrics(calls: i64, tokens: i128) -> Metrics {
    let charged = i128::from(calls);
    let mut metrics = Metrics { cost: 500_000 * charged, ..Metrics::default() };
    metrics.count(Count::Calls, calls);
    metrics.figures.insert("prompt_tokens".to_owned(), 4 * tokens * STEPS);
    metrics.figures.insert("completion_tokens".to_owned(), tokens * STEPS);
    *metrics.groups.of(&group("spend")) = GroupSums { charged: 500_000 * charged, calls, ..GroupSums::default() };
    *metrics.groups.of(&group("calls")) = GroupSums { charged, calls, denials: 1, ..GroupSums::default() };
    metrics
}

fn asked(by: &[&str], ratios: &[&str]) -> ReportSpec {
    ReportSpec {
        from: day("2027-01-30"),
        to: day("2027-02-02"),
        step: Step::Total,
        by: by.iter().map(|by| By::parse(by).unwrap()).collect(),
        filter: Filter::default(),
        ratios: ratios.iter().map(|ratio| Ratio::parse(ratio).unwrap()).collect(),
    }
}

fn lines(asked: &ReportSpec, rows: &[(&str, RowName, Metrics)]) -> Vec<(LineName, Line)> {
    let fields = fields();
    assert!(asked.faults(&fields).0.is_empty());
    let mut lines = Lines::new(asked, &fields);
    for (on, row, metrics) in rows {
        lines.add(day(on), row, metrics).unwrap();
    }
    lines.finish().into_iter().collect()
}

fn rows() -> Vec<(&'static str, RowName, Metrics)> {
    vec![
        ("2027-01-30", row("llm.chat", &[("quality", "final")]), metrics(2, 10)),
        ("2027-01-31", row("llm.chat", &[("quality", "draft"), ("cache", "hit")]), metrics(6, 30)),
        ("2027-02-01", row("image", &[]), metrics(2, 0)),
    ]
}

#[test]
fn documented_ratios_work() {
    let ratios = [
        ("completion_tokens/prompt_tokens", Some("0.25")),
        ("cached_tokens/prompt_tokens", Some("0")),
        ("calls[metadata.cache=hit]/calls", Some("0.6")),
        ("calls[metadata.quality=final]/calls", Some("0.2")),
        ("calls/accepted", None),
        ("cost/accepted", None),
        ("cost/calls", Some("0.5")),
        ("calls[event=llm.*][metadata.quality=draft]/calls[event=image]", Some("3")),
        ("calls[metadata.quality=]/calls", Some("0.2")),
        ("calls[metadata.model=a/b]/calls", Some("0")),
    ];
    let texts = ratios.map(|(text, _)| text);
    let found = lines(&asked(&[], &texts), &rows());
    let line_text: Vec<Option<String>> =
        found[0].1.ratios().map(|ratio| ratio.map(|ratio| ratio.to_string())).collect();
    assert_eq!(line_text, ratios.map(|(_, expected)| expected.map(str::to_owned)));
}

#[test]
fn what_rollups_cannot_answer_is_refused_with_the_reason() {
    let filtered = |label: &str| Filter { labels: [(label.to_owned(), "x".to_owned())].into(), ..Filter::default() };
    for (asked, field, reason) in [
        (asked(&["metadata.tier"], &[]), "by", "reportLabels"),
        (asked(&["event", "event"], &[]), "by", "twice"),
        (ReportSpec { filter: filtered("tier"), ..asked(&[], &[]) }, "metadata.tier", "reportLabels"),
        (asked(&[], &["calls[metadata.tier=x]/calls"]), "ratio", "reportLabels"),
        (asked(&[], &["charged/calls"]), "ratio", "by=group"),
        (asked(&[], &["frames/calls"]), "ratio", "cached_tokens, completion_tokens"),
        (asked(&["group"], &["quantity/calls"]), "ratio", "only calls, denials, observed and charged"),
        (
            ReportSpec { filter: Filter { group: Some(group("no")), ..Filter::default() }, ..asked(&[], &[]) },
            "groupId",
            "no",
        ),
    ] {
        let fault = asked.faults(&fields()).0.remove(0);
        assert_eq!(fault.field, field);
        assert!(fault.message.contains(reason), "{}", fault.message);
    }
    for bad in ["calls", "/calls", "calls/", "calls[x]/calls", "calls[metadata.a=b/calls", "calls[group=g]/calls"] {
        assert!(Ratio::parse(bad).is_err(), "{bad}");
    }
    assert!(By::parse("metadata.").is_err() && By::parse("team").is_err());
}

#[test]
fn lines_are_separated_by_step_and_by_value() {
    let week = ReportSpec { step: Step::Week, ..asked(&["event"], &[]) };
    let line_text = |(name, line): &(LineName, Line)| {
        format!("{} {} {:?} {}", name.start, name.end, name.values[0], line.metrics.get(Count::Calls))
    };
    assert_eq!(
        lines(&week, &rows()).iter().map(line_text).collect::<Vec<_>>(),
        ["2027-01-30 2027-01-31 Some(\"llm.chat\") 8", "2027-02-01 2027-02-02 Some(\"image\") 2",]
    );
    let by_quality = lines(&asked(&["metadata.quality"], &[]), &rows());
    assert_eq!(
        by_quality.iter().map(|(name, _)| name.values[0].as_deref()).collect::<Vec<_>>(),
        [None, Some("draft"), Some("final")]
    );
}

#[test]
fn by_group_each_line_covers_only_its_group() {
    let found = lines(&asked(&["group"], &["charged/calls"]), &rows());
    let line_text = |(name, line): &(LineName, Line)| {
        let sums = line.metrics.groups.get(&group(name.values[0].as_deref().unwrap())).unwrap();
        let ratio = line.ratios().next().unwrap().unwrap().to_string();
        (line.metrics.get(Count::Calls), line.metrics.get(Count::Denials), sums.charged, line.metrics.cost, ratio)
    };
    assert_eq!(
        found.iter().map(line_text).collect::<Vec<_>>(),
        [(10, 3, 10, 0, "1".to_owned()), (10, 0, 5_000_000, 0, "0.5".to_owned())]
    );
    let one =
        ReportSpec { filter: Filter { group: Some(group("spend")), ..Filter::default() }, ..asked(&["event"], &[]) };
    assert_eq!(lines(&one, &rows()).len(), 2);
}

#[test]
fn a_report_of_nothing_has_one_line_of_zeros_and_shares_of_nothing_are_null() {
    let found = lines(&asked(&[], &["calls/calls"]), &[]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].1.ratios().next(), found[0].1.retry_share()), (Some(None), None));
    assert!(lines(&asked(&["event"], &[]), &[]).is_empty());
}

#[test]
fn users_need_the_rows_of_users() {
    assert_eq!(asked(&["event"], &[]).row_set(), RowSet::Calls);
    assert_eq!(asked(&["user"], &[]).row_set(), RowSet::Users);
    assert_eq!(asked(&[], &["calls[user=u]/calls"]).row_set(), RowSet::Users);
}

#[test]
fn a_day_is_unusual_beyond_three_deviations_and_twice_the_mean() {
    let steady = [10.0, 12.0, 8.0, 10.0];
    let found = unusual(40.0, &steady, 40).unwrap();
    assert_eq!((found.mean, found.deviation), (10.0, 1.414));
    for (value, before, calls) in [
        (19.0, steady.as_slice(), 19),
        (40.0, &steady, 19),
        (19.9, &[10.0; 4], 20),
        (40.0, &[0.0, 80.0], 40),
        (0.0, &[0.0, 0.0], 40),
        (40.0, &[], 40),
    ] {
        assert_eq!(unusual(value, before, calls), None, "{value} {before:?}");
    }
    assert!(unusual(20.0, &[10.0; 4], 20).is_some());
}

fn course(now: &str, used: i64, days: &[i64]) -> CounterUsage {
    CounterUsage {
        window: Window::parse("monthly/20270201/20270301").unwrap(),
        since_ms: 0,
        now_ms: parse_rfc3339(now).unwrap(),
        used: used.into(),
        limit: 200.into(),
        days: days.iter().map(|day| (*day).into()).collect(),
    }
}

#[test]
fn a_forecast_covers_the_window_and_says_when_the_limit_is_reached() {
    // 70 in 7 days, 28 days in all.
    let found = forecast(&course("2027-02-08T00:00:00Z", 70, &[0, 0, 0, 0, 0, 15, 20]));
    let by_window = found.by_window.unwrap();
    assert_eq!((by_window.per_day, by_window.projected), (10.into(), Some(280.into())));
    assert_eq!(by_window.runs_out_at_ms.map(rfc3339).as_deref(), Some("2027-02-21T00:00:00Z"));
    let by_days = found.by_days.unwrap();
    assert_eq!((by_days.per_day, by_days.projected, by_days.runs_out_at_ms), (5.into(), Some(175.into()), None));
    assert_eq!(found.faster(), Some(by_window));
    // A fully used counter, and an unused one.
    let full = forecast(&course("2027-02-08T00:00:00Z", 200, &[])).by_window.unwrap();
    assert_eq!(full.runs_out_at_ms.map(rfc3339).as_deref(), Some("2027-02-08T00:00:00Z"));
    let unused = forecast(&course("2027-02-08T00:00:00Z", 0, &[])).by_window.unwrap();
    assert_eq!((unused.projected, unused.runs_out_at_ms), (Some(0.into()), None));
}

#[test]
fn a_forecast_needs_a_tenth_of_the_window_and_of_the_subscription() {
    let from = |course: &CounterUsage| {
        let found = forecast(course);
        let none = found.by_window.is_none() && found.by_days.is_none() && found.range.is_none();
        (rfc3339(found.from_ms), none)
    };
    // 2.8 of 28 days.
    assert_eq!(from(&course("2027-02-03T19:11:59Z", 12, &[12])), ("2027-02-03T19:12:00Z".to_owned(), true));
    assert_eq!(from(&course("2027-02-03T19:12:00Z", 12, &[12])), ("2027-02-03T19:12:00Z".to_owned(), false));
    // Who began late in the window has no rate yet, however much of the window is over.
    let since_ms = parse_rfc3339("2027-02-20T00:00:00Z").unwrap();
    let late = CounterUsage { since_ms, ..course("2027-02-20T00:02:00Z", 12, &[]) };
    assert_eq!(from(&late), ("2027-02-22T19:12:00Z".to_owned(), true));
    let endless = CounterUsage { window: Window { end_ms: None, ..late.window }, ..late };
    assert_eq!(from(&endless), ("2027-02-21T00:00:00Z".to_owned(), true));
}

#[test]
fn the_range_of_a_forecast_is_that_of_the_days_and_of_the_window() {
    let range = |course: &CounterUsage| {
        let Range { slow, fast } = forecast(course).range.unwrap();
        [slow, fast].map(|rate| (rate.per_day, rate.projected.unwrap(), rate.runs_out_at_ms.map(rfc3339)))
    };
    // 21 days are left, the window runs at 10 a day.
    let at = |text: &str| Some(text.to_owned());
    assert_eq!(
        range(&course("2027-02-08T00:00:00Z", 70, &[4, 26, 5])),
        [(4.into(), 154.into(), None), (26.into(), 616.into(), at("2027-02-13T00:00:00Z"))]
    );
    assert_eq!(range(&course("2027-02-08T00:00:00Z", 70, &[4]))[1].0, 10.into(), "the window is faster than its days");
    // Without days: from no further use to twice the rate.
    let [slow, fast] = range(&course("2027-02-08T00:00:00Z", 70, &[]));
    assert_eq!((slow.1, fast.0, fast.1), (70.into(), 20.into(), 490.into()));
}
