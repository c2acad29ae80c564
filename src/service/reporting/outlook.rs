//! `GET reports/unusual` and `GET reports/forecast`: unusual values and forecasts.

use std::collections::BTreeMap;

use super::reports::RowSelection;
use crate::domain::metering::admission::Caller;
use crate::domain::metering::counter::Counter;
use crate::domain::reporting::report::{
    By, CounterUsage, Filter, Forecast, Line, ReportSpec, Step, Unusual, forecast, unusual,
};
use crate::domain::reporting::rollup::{COST_DECIMALS, Count, Fields, Metrics, RowSet, number};
use crate::domain::time::day::Day;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::tenant::Tenant;

/// How many complete days before today a forecast uses.
const FORECAST_DAYS: i64 = 7;

/// The metrics that are checked for each value; for groups their charges, since their cost is not known.
const METRICS: [&str; 3] = ["calls", "denials", "cost"];
const METRICS_OF_GROUPS: [&str; 3] = ["calls", "denials", "charged"];

/// An unusual value of a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// In the order of `by`.
    pub values: Vec<Option<String>>,
    /// `calls`, `denials`, `cost` (cents) or `charged` (in the group's unit).
    pub metric: &'static str,
    pub found: Unusual,
}

/// The comparison of a day with the days before.
#[derive(Clone, Debug)]
pub struct UnusualReport {
    pub day: Day,
    pub by: Vec<By>,
    /// First day of the comparison; it ends the day before.
    pub from: Day,
    pub outliers: Vec<Outlier>,
}

/// A counter with its forecast.
#[derive(Clone, Debug)]
pub struct Outlook {
    pub counter: Counter,
    /// Number of complete days that the rate is based on; 0 if none.
    pub days: i64,
    pub forecast: Forecast,
}

impl Gateway {
    /// Unusual values of a day (default: the last complete one) compared with the `days` before.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn unusual(
        &self,
        tenant: &Tenant,
        at: Option<Day>,
        days: i64,
        by: Vec<By>,
    ) -> Result<UnusualReport, ServiceError> {
        let fields = self.load_config(&tenant.app).await?.report_fields();
        let today = self.today(tenant).await?;
        let day = at.unwrap_or(today.plus(-1));
        let from = day.plus(-days);
        let asked = ReportSpec { from, to: day, step: Step::Day, by, filter: Filter::default(), ratios: Vec::new() };
        let (mut faults, row_set) = (asked.faults(&fields), asked.row_set());
        // `at` is the day itself, and `days` are those before it.
        let field = if at.is_some() { "at" } else { "days" };
        let first = self.first_day(tenant, row_set, Some(from), day, today);
        let first = faults.check(field, first.map_err(|fault| fault.message));
        faults.or(first)?;
        let wanted = RowSelection { tenant, row_set, from, to: day, user: None };
        self.fold_all(tenant, wanted.buckets()).await?;
        let mut histories: BTreeMap<Vec<Option<String>>, BTreeMap<Day, Line>> = BTreeMap::new();
        for (name, line) in self.lines(&wanted, &asked, &fields).await? {
            histories.entry(name.values).or_default().insert(name.start, line);
        }
        let mut outliers = Vec::new();
        for (values, history) in histories {
            let Some(last) = history.get(&day) else { continue };
            let calls = last.metrics.get(Count::Calls).max(last.metrics.get(Count::Denials));
            for metric in if asked.is_of_groups() { METRICS_OF_GROUPS } else { METRICS } {
                let of = |line: &Line| value(metric, line, &fields);
                let before: Vec<f64> = (1..=days).map(|ago| history.get(&day.plus(-ago)).map_or(0.0, of)).collect();
                if let Some(found) = unusual(of(last), &before, calls) {
                    outliers.push(Outlier { values: values.clone(), metric, found });
                }
            }
        }
        Ok(UnusualReport { day, by: asked.by, from, outliers })
    }

    /// Forecasts of a user's own counters with a quota.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn forecast(&self, tenant: &Tenant, user: &UserId) -> Result<(TimeMs, Vec<Outlook>), ServiceError> {
        let metadata = Metadata::default();
        let context = CounterContext { caller: Caller { user, app: &tenant.app, key: None }, metadata: &metadata };
        let own = |group: &crate::domain::configuration::limit_group::LimitGroup| {
            group.scope.is_user() && group.quota.is_some() && !group.is_concurrent()
        };
        let usage = self.usage(tenant, context, own).await?;
        let today = Day::of(usage.now_ms);
        let (days, charged) = self.charged_before(tenant, user, today).await?;
        let since_ms = usage.subscription.as_ref().map_or(TimeMs::MIN, |subscription| subscription.started_at_ms);
        let outlook = |counter: Counter| {
            let (window, unit) = (counter.window?, counter.group.unit);
            let limit = counter.allowance()?.saturating_sub(counter.blocked);
            let decimal = |amount: Amount| amount.to_decimal(unit);
            let of_day = |ago: i64| {
                let sums = charged.get(&today.plus(-ago))?;
                sums.get(&counter.group.id).map(|sum| number(*sum, unit.decimals()))
            };
            let course = CounterUsage {
                window,
                since_ms,
                now_ms: usage.now_ms,
                used: decimal(counter.used),
                limit: decimal(limit),
                days: (1..=days).rev().map(|ago| of_day(ago).unwrap_or_default()).collect(),
            };
            Some(Outlook { forecast: forecast(&course), counter, days })
        };
        Ok((usage.now_ms, usage.counters.into_iter().filter_map(outlook).collect()))
    }

    /// A user's charges in the complete days before today since the user was first seen: the number of days, and steps
    /// per day and group.
    async fn charged_before(
        &self,
        tenant: &Tenant,
        user: &UserId,
        today: Day,
    ) -> Result<(i64, BTreeMap<Day, BTreeMap<GroupId, i128>>), ServiceError> {
        let days = FORECAST_DAYS.min(self.rollup.days_of(RowSet::Users) - 1);
        let mut charged: BTreeMap<Day, BTreeMap<GroupId, i128>> = BTreeMap::new();
        if days < 1 {
            return Ok((0, charged));
        }
        let wanted = RowSelection {
            tenant,
            row_set: RowSet::Users,
            from: today.plus(-days),
            to: today.plus(-1),
            user: Some(user),
        };
        self.fold_all(tenant, wanted.buckets()).await?;
        self.read_rows(&wanted, |day, rows| {
            // A user who only bought credits has not called yet.
            let called = |metrics: &Metrics| metrics.counts.iter().any(|count| *count != 0);
            for metrics in rows.into_values().filter(called) {
                let of_day = charged.entry(day).or_default();
                for (group, sums) in metrics.groups.iter() {
                    let sum = of_day.entry(group.clone()).or_default();
                    *sum = sum.saturating_add(sums.charged);
                }
            }
            Ok(())
        })
        .await?;
        let first = charged.keys().next().copied().unwrap_or(today);
        Ok((today.since(first), charged))
    }
}

/// A sum for statistics; it does not have to be exact.
fn value(metric: &str, line: &Line, fields: &Fields) -> f64 {
    let metrics = &line.metrics;
    let plain = |sum: i128, decimals: u32| sum as f64 / 10_f64.powi(decimals.cast_signed());
    match metric {
        "calls" => plain(metrics.get(Count::Calls), 0),
        "denials" => plain(metrics.get(Count::Denials), 0),
        "cost" => plain(metrics.cost, COST_DECIMALS),
        _ => {
            let decimals = |group| fields.units.get(group).map_or(0, |unit| unit.decimals());
            metrics.groups.iter().map(|(group, sums)| plain(sums.charged, decimals(group))).sum()
        }
    }
}
