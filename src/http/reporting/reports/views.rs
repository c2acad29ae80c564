//! The JSON of reports. Numbers are exact; null means unknown or not applicable.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::reporting::report::{By, Line, LineName, Range, Rate};
use crate::domain::reporting::rollup::{COST_DECIMALS, Count, DECIMALS, Metrics, number};
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::Unit;
use crate::domain::values::number::Number;
use crate::http::wire::views::{PeriodView, number as amount};
use crate::service::reporting::outlook::{Outlier, Outlook};
use crate::service::reporting::reports::Report;

/// Sums of usage, line by line.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportView {
    /// First day.
    pub from: String,
    /// Last day, inclusive.
    pub to: String,
    /// `day`, `week`, `month` or `total`
    pub period: String,
    /// False if some recent events are not counted yet.
    pub complete: bool,
    /// By time, then by the values of `by`.
    pub data: Vec<ReportLineView>,
    pub next_cursor: Option<String>,
}

impl ReportView {
    pub fn new(report: &Report, next_cursor: Option<String>) -> Self {
        Self {
            from: report.asked.from.to_string(),
            to: report.asked.to.to_string(),
            period: report.asked.step.as_str().to_owned(),
            complete: report.whole,
            data: report.lines.iter().map(|(name, line)| ReportLineView::new(report, name, line)).collect(),
            next_cursor,
        }
    }
}

/// The sums of a line. A line of one group (`by=group`, `groupId=`) has only `calls`, `denials`, `observed`, `charged`
/// and `ratios`: calls that matched the group, denials because the group's limit was reached, and calls that it would
/// have denied.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportLineView {
    /// First day.
    pub start: String,
    /// Last day, inclusive.
    pub end: String,
    /// A value for each name in `by`; null for calls without the value, `(other)` for values beyond the limit of
    /// distinct values.
    pub by: BTreeMap<String, Option<String>>,
    /// Final commits and tracked events.
    pub calls: i64,
    pub denials: i64,
    /// Calls that were allowed, and that groups with the enforcement `observe` would have denied. In a line of one group:
    /// calls that this group would have denied, including those that another limit denied.
    pub observed: i64,
    /// Per group, in its unit, minus refunds.
    pub charged: Vec<ChargedView>,
    /// By the text of the ratio; null if its second operand is 0.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    pub ratios: BTreeMap<String, Option<Number>>,
    /// Commits with `final:false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draws: Option<i64>,
    /// Reservations that were released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<i64>,
    /// Reservations that expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiries: Option<i64>,
    /// Commits after the reservation had expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<i64>,
    /// Calls that were allowed while Redis was unavailable and counted later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub quantity: Option<Number>,
    /// Cents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub cost: Option<Number>,
    /// Cents per accepted result; null without an accepted result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub cost_per_accepted: Option<Option<Number>>,
    /// The share of calls that were retries; null without calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub retry_share: Option<Option<Number>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denials_by_reason: Option<BTreeMap<String, i64>>,
    /// Sums of numeric metadata fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, f64>>)]
    pub figures: Option<BTreeMap<String, Number>>,
}

/// The charge of a group. Of a balance, `amount` is what was used of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChargedView {
    pub group_id: String,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub amount: Number,
    /// Of a balance: what was added as credits, such as what was sold. Absent if nothing was, as the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub credited: Option<Number>,
    /// Of a balance: what credits had left when they expired, or got back later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub lapsed: Option<Number>,
    /// Of a balance: what was removed from credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub voided: Option<Number>,
}

fn whole(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

/// The values of a line, by the names in `by`.
fn named(by: &[By], values: &[Option<String>]) -> BTreeMap<String, Option<String>> {
    by.iter().map(By::name).zip(values.iter().cloned()).collect()
}

/// Charges per group in its unit. Groups that the configuration does not know are left out.
fn charged(report: &Report, metrics: &Metrics) -> Vec<ChargedView> {
    let charged = metrics.groups.iter().filter_map(|(group, sums)| {
        let unit = *report.fields.units.get(group)?;
        let sum = |steps: i128| Number(number(steps, unit.decimals()));
        let some = |steps: i128| (steps != 0).then(|| sum(steps));
        Some(ChargedView {
            group_id: group.to_string(),
            unit,
            amount: sum(sums.charged),
            credited: some(sums.credited),
            lapsed: some(sums.lapsed),
            voided: some(sums.voided),
        })
    });
    charged.collect()
}

impl ReportLineView {
    fn new(report: &Report, name: &LineName, line: &Line) -> Self {
        let metrics = &line.metrics;
        let whole_calls = !report.asked.is_of_groups();
        let count = |count: Count| whole_calls.then(|| whole(metrics.get(count)));
        let sum = |sum: i128, decimals: u32| whole_calls.then(|| Number(number(sum, decimals)));
        let reasons = metrics.reasons.iter().map(|(reason, sum)| (reason.as_str().to_owned(), whole(*sum)));
        let figures = metrics.figures.iter().map(|(name, sum)| (name.clone(), Number(number(*sum, DECIMALS))));
        let ratios = report.asked.ratios.iter().zip(line.ratios());
        Self {
            start: name.start.to_string(),
            end: name.end.to_string(),
            by: named(&report.asked.by, &name.values),
            calls: whole(metrics.get(Count::Calls)),
            denials: whole(metrics.get(Count::Denials)),
            observed: whole(metrics.get(Count::Observed)),
            charged: charged(report, metrics),
            ratios: ratios.map(|(ratio, value)| (ratio.text().to_owned(), value.map(Number))).collect(),
            draws: count(Count::Draws),
            released: count(Count::Released),
            expiries: count(Count::Expiries),
            late: count(Count::Late),
            degraded: count(Count::Degraded),
            refunds: count(Count::Refunds),
            accepted: count(Count::Accepted),
            rejected: count(Count::Rejected),
            retries: count(Count::Retries),
            quantity: sum(metrics.quantity, DECIMALS),
            cost: sum(metrics.cost, COST_DECIMALS),
            cost_per_accepted: whole_calls.then(|| line.cost_per_accepted().map(Number)),
            retry_share: whole_calls.then(|| line.retry_share().map(Number)),
            denials_by_reason: whole_calls.then(|| reasons.collect()),
            figures: whole_calls.then(|| figures.collect()),
        }
    }
}

/// A value that differs strongly from the days before.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnusualView {
    pub day: String,
    /// The first day of the comparison; it ends with the day before.
    pub from: String,
    pub data: Vec<UnusualLineView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnusualLineView {
    pub by: BTreeMap<String, Option<String>>,
    /// `calls`, `denials`, `cost` (cents) or, with `by=group`, `charged` (in the group's unit).
    pub metric: String,
    /// The value of the day.
    pub value: f64,
    /// The mean of the days before, per day.
    pub mean: f64,
    /// The standard deviation of the days before.
    pub deviation: f64,
}

impl UnusualLineView {
    pub fn new(by: &[By], outlier: &Outlier) -> Self {
        Self {
            by: named(by, &outlier.values),
            metric: outlier.metric.to_owned(),
            value: outlier.found.value,
            mean: outlier.found.mean,
            deviation: outlier.found.deviation,
        }
    }
}

/// The forecast of a user's counters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastView {
    pub user_id: String,
    /// The present time, RFC 3339.
    pub at: String,
    /// The user's counters with a quota, except `concurrent` ones.
    pub data: Vec<ForecastCounterView>,
}

/// A counter with its forecast. Amounts are in the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForecastCounterView {
    pub group_id: String,
    pub label: String,
    pub unit: Unit,
    #[schema(value_type = f64)]
    pub used: Number,
    /// Quota, grants and rolled quota, minus blocked amounts.
    #[schema(value_type = f64)]
    pub limit: Number,
    pub period: Option<PeriodView>,
    /// There is no forecast before this time: a tenth of the window (a day of an endless one) since the window and the
    /// subscription began.
    pub forecast_from: String,
    /// Forecast of `used` at the end of the window, by the faster rate; null if it never ends, and before
    /// `forecastFrom`.
    #[schema(value_type = Option<f64>)]
    pub projected: Option<Number>,
    /// When the limit is reached by the faster rate; null if not before the window ends.
    pub runs_out_at: Option<String>,
    /// The range of the forecast: the slowest and the fastest of the complete days and of the window so far. Without
    /// complete days from no further use to twice the window's rate. Null before `forecastFrom`.
    pub range: Option<RangeView>,
    /// By usage since the start of the window; null before `forecastFrom`.
    pub by_window: Option<RateView>,
    /// By charges of the last complete days, at most 7; null without such days, and before `forecastFrom`.
    pub by_days: Option<RateView>,
    /// The number of those days.
    pub days: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateView {
    #[schema(value_type = f64)]
    pub per_day: Number,
    #[schema(value_type = Option<f64>)]
    pub projected: Option<Number>,
    pub runs_out_at: Option<String>,
}

/// The slowest and the fastest rate to expect.
#[derive(Debug, Serialize, ToSchema)]
pub struct RangeView {
    pub slow: RateView,
    pub fast: RateView,
}

impl RateView {
    fn new(rate: Rate) -> Self {
        let number = |value: Option<Decimal>| value.map(Number);
        let runs_out_at = rate.runs_out_at_ms.map(rfc3339);
        Self { per_day: Number(rate.per_day), projected: number(rate.projected), runs_out_at }
    }
}

impl ForecastCounterView {
    pub fn new(outlook: &Outlook) -> Self {
        let Outlook { counter, days, forecast } = outlook;
        let group = &counter.group;
        let limit = counter.allowance().unwrap_or_default().saturating_sub(counter.blocked);
        let faster = forecast.faster().map(RateView::new);
        let (projected, runs_out_at) = faster.map_or((None, None), |rate| (rate.projected, rate.runs_out_at));
        Self {
            group_id: group.id.to_string(),
            label: group.label.to_string(),
            unit: group.unit,
            used: amount(counter.used, group.unit),
            limit: amount(limit, group.unit),
            period: counter.window.map(PeriodView::of),
            forecast_from: rfc3339(forecast.from_ms),
            projected,
            runs_out_at,
            range: forecast
                .range
                .map(|Range { slow, fast }| RangeView { slow: RateView::new(slow), fast: RateView::new(fast) }),
            by_window: forecast.by_window.map(RateView::new),
            by_days: forecast.by_days.map(RateView::new),
            days: *days,
        }
    }
}
