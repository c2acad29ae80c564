//! `GET reports/usage`, `reports/unusual`, `reports/forecast` and `reports/limits`.

mod at_limits;
mod csv;
mod query;
mod views;

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::UserId;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::error::ServiceError;
use at_limits::LimitsView;
use query::{Format, UsageParameters, day, list};
use views::{ForecastCounterView, ForecastView, ReportView, UnusualLineView, UnusualView};

/// Sum usage by day, group, user, event, key or metadata, as JSON or CSV
///
/// Days are in UTC; `from` and `to` are inclusive, and a time means its day. In addition to the parameters below,
/// `metadata.<name>=` filters by metadata; an empty value selects rows without it. The report includes everything up
/// to the moment of the call.
#[utoipa::path(get, path = "/api/v1/reports/usage", tag = "Reports",
    params(("from" = Option<String>, Query, description = "first day, or an RFC 3339 time; default: 30 days in total"),
        ("to" = Option<String>, Query, description = "the last day, default today"),
        ("period" = Option<String>, Query, description = "day, week, month or total (default)"),
        ("by" = Option<String>, Query, description = "group, user, event, key, metadata.<name>; several separated by commas"),
        ("event" = Option<String>, Query, description = "a name or a glob"),
        ("userId" = Option<String>, Query), ("keyId" = Option<String>, Query), ("groupId" = Option<String>, Query),
        ("metadata.{name}" = Option<String>, Query),
        ("ratio" = Option<Vec<String>>, Query, description = "a ratio of two sums, such as completion_tokens/prompt_tokens or calls[metadata.cache=hit]/calls; may be repeated"),
        ("format" = Option<String>, Query, description = "json (default) or csv"),
        ("top" = Option<String>, Query, description = "calls, denials, observed or cost: sorts all lines by this value, largest first; cannot be combined with `cursor`"),
        ("limit" = Option<usize>, Query, description = "1 to 1000; default 100 for JSON, all lines for CSV"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before")),
    responses((status = 200, content((ReportView = "application/json"), (String = "text/csv"))), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn usage(
    principal: Principal,
    query: Query<Vec<(String, String)>>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let UsageParameters { query, format, limit, top, after } = query.read_as(UsageParameters::read)?;
    // The report is serialized on the same thread, since it may have many lines.
    let report = readers.run(Reader::Scan, principal, async move |principal| {
        let mut report = principal.gateway.report(&principal.tenant, query).await?;
        if let Some((start, values)) = after {
            report.lines.retain(|(name, _)| (name.start, &name.values) > (start, &values));
        }
        if let Some(top) = top {
            report.lines.sort_by_key(|(_, line)| std::cmp::Reverse(top.of(line)));
        }
        let more = top.is_none() && limit.is_some_and(|limit| report.lines.len() > limit);
        report.lines.truncate(limit.unwrap_or(usize::MAX));
        let next = report.lines.last().filter(|_| more).map(|(name, _)| cursor::line_text(name.start, &name.values));
        let text = match format {
            Format::Json => serde_json::to_string(&ReportView::new(&report, next.clone()))
                .map_err(|error| ServiceError::Internal(error.to_string()))?,
            Format::Csv => csv::text(&report)?,
        };
        Ok((text, next))
    });
    let (text, next) = report.await?;
    let mut response = HttpResponse::Ok();
    if format == Format::Json {
        return Ok(response.content_type("application/json").body(text));
    }
    if let Some(next) = next {
        response.insert_header(("x-next-cursor", next));
    }
    response.insert_header(("content-disposition", "attachment; filename=\"usage.csv\""));
    Ok(response.content_type("text/csv; charset=utf-8").body(text))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnusualQuery {
    /// The day to check; default: the last complete day.
    at: Option<String>,
    /// The number of preceding days to compare with, 7 to 366; default 28.
    days: Option<i64>,
    /// group, user, event, key, metadata.<name>; several separated by commas; default event.
    by: Option<String>,
}

/// Find values of a day that differ strongly from the days before
///
/// Reports calls, denials and cost (with `by=group`: charges) that exceed the mean of the preceding days plus three
/// standard deviations, and at least twice the mean, if the day has at least 20 calls or denials. Days without data
/// count as 0.
#[utoipa::path(get, path = "/api/v1/reports/unusual", tag = "Reports", params(UnusualQuery),
    responses((status = 200, body = UnusualView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn unusual(
    principal: Principal,
    query: Query<UnusualQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (at, days, by) = query.read_as(|UnusualQuery { at, days, by }| {
        let mut faults = Faults::default();
        let at = at.and_then(|at| faults.take(day("at", &at, false)));
        let days = days.unwrap_or(28);
        if !(7..=366).contains(&days) {
            faults.add("days", "must be between 7 and 366");
        }
        let by = list(by.as_deref().unwrap_or("event"), &mut faults);
        faults.or(Some((at, days, by)))
    })?;
    let report = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.unusual(&principal.tenant, at, days, by).await?)
        })
        .await?;
    let data = report.outliers.iter().map(|outlier| UnusualLineView::new(&report.by, outlier)).collect();
    let (from, day) = (report.from.to_string(), report.day.to_string());
    Ok(HttpResponse::Ok().json(UnusualView { day, from, data }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ForecastQuery {
    user_id: String,
}

/// Forecast a user's counters until the end of their windows, and when they reach their quota
///
/// Two rates are computed: usage since the start of the window, and charges of the last complete days (at most 7). The
/// faster one decides. There is a range, and no forecast before a tenth of the window.
#[utoipa::path(get, path = "/api/v1/reports/forecast", tag = "Reports", params(ForecastQuery),
    responses((status = 200, body = ForecastView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn forecast(
    principal: Principal,
    query: Query<ForecastQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let user = query.read_as(|ForecastQuery { user_id }| {
        UserId::parse(&user_id).map_err(|error| vec![FieldError::new("userId", error.to_string())])
    })?;
    let user_id = user.to_string();
    let (now_ms, outlooks) = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.forecast(&principal.tenant, &user).await?)
        })
        .await?;
    let data = outlooks.iter().map(ForecastCounterView::new).collect();
    let at = crate::domain::time::window::rfc3339(now_ms);
    Ok(HttpResponse::Ok().json(ForecastView { user_id, at, data }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LimitsQuery {
    /// Counters returned of each kind, 1 to 50, default 10.
    limit: Option<usize>,
}

/// List counters that are near or at their limits: of users, teams, keys, the app
///
/// Near means at least 75 % of quota and grants. Counters are recorded when they are charged or when a denial finds
/// them full; windows shorter than a day are not included. The 1,000 fullest of each kind are known; `more` says that
/// there may be others.
#[utoipa::path(get, path = "/api/v1/reports/limits", tag = "Reports", params(LimitsQuery),
    responses((status = 200, body = LimitsView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn limits(
    principal: Principal,
    query: Query<LimitsQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let count = query.read_as(|LimitsQuery { limit }| match limit.unwrap_or(10) {
        count @ 1..=50 => Ok(count),
        _ => Err(vec![FieldError::new("limit", "must be between 1 and 50")]),
    })?;
    let limits = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.limits(&principal.tenant, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(LimitsView::new(&limits)))
}
