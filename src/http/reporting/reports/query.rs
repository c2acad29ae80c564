//! The parameters of `GET reports/usage`.

use crate::domain::reporting::report::{By, Line, Ratio, Step};
use crate::domain::reporting::rollup::Count;
use crate::domain::time::day::{DAY_MS, Day};
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::ids::GroupId;
use crate::http::wire::cursor;
use crate::http::wire::problem::ApiError;
use crate::service::reporting::reports::ReportQuery;

/// The maximum number of names in `by`, the number of ratios, and the length of each.
const MOST_BY: usize = 4;
const MOST_RATIOS: usize = 8;
const MOST_RATIO_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
}

/// The value that lines are sorted by, largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    Calls,
    Denials,
    Observed,
    Cost,
}

impl Top {
    fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "calls" => Ok(Self::Calls),
            "denials" => Ok(Self::Denials),
            "observed" => Ok(Self::Observed),
            "cost" => Ok(Self::Cost),
            _ => Err(ApiError::invalid("top", "must be `calls`, `denials`, `observed` or `cost`")),
        }
    }

    pub fn of(self, line: &Line) -> i128 {
        match self {
            Self::Calls => line.metrics.get(Count::Calls),
            Self::Denials => line.metrics.get(Count::Denials),
            Self::Observed => line.metrics.get(Count::Observed),
            Self::Cost => line.metrics.cost,
        }
    }
}

/// The parsed parameters, and how to return the report.
pub struct UsageParameters {
    pub query: ReportQuery,
    pub format: Format,
    /// None returns all lines.
    pub limit: Option<usize>,
    /// None sorts by time, then by the values of `by`.
    pub top: Option<Top>,
    /// The last line of the previous page.
    pub after: Option<(Day, Vec<Option<String>>)>,
}

impl UsageParameters {
    /// # Errors
    /// invalid_request naming the parameter
    pub fn read(given: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut query = ReportQuery::default();
        let (mut format, mut limit, mut after) = (Format::Json, None, None);
        let mut top = None;
        let mut seen = std::collections::BTreeSet::new();
        for (name, value) in given {
            if name != "ratio" && !seen.insert(name.clone()) {
                return Err(ApiError::invalid(name, "must occur only once"));
            }
            match name.as_str() {
                "from" => query.from = Some(day("from", &value, false)?),
                "to" => query.to = Some(day("to", &value, true)?),
                "period" => {
                    let wrong = || ApiError::invalid("period", "must be `day`, `week`, `month` or `total`");
                    query.step = Step::parse(&value).ok_or_else(wrong)?;
                }
                "by" => query.by = list(&value)?,
                "event" => query.filter.event = Some(value),
                "userId" => query.filter.user = Some(value),
                "keyId" => query.filter.key = Some(value),
                "groupId" => {
                    let group = GroupId::parse(&value);
                    query.filter.group = Some(group.map_err(|error| ApiError::invalid("groupId", error.to_string()))?);
                }
                "ratio" => query.ratios.push(ratio(&value, query.ratios.len())?),
                "format" => format = read_format(&value)?,
                "limit" => limit = Some(read_limit(&value)?),
                "top" => top = Some(Top::parse(&value)?),
                "cursor" => after = Some(cursor::line(&value).ok_or_else(bad_cursor)?),
                _ => match name.strip_prefix("metadata.") {
                    Some(field) if !field.is_empty() => {
                        query.filter.labels.insert(field.to_owned(), value);
                    }
                    _ => return Err(ApiError::invalid(name, "is not a parameter of this call")),
                },
            }
        }
        if after.as_ref().is_some_and(|(_, values)| values.len() != query.by.len()) {
            return Err(bad_cursor());
        }
        if top.is_some() && after.is_some() {
            return Err(ApiError::invalid("cursor", "cannot be combined with `top`; use `limit` for more lines"));
        }
        let limit = limit.or((format == Format::Json).then_some(100));
        Ok(Self { query, format, limit, top, after })
    }
}

/// A day, or the day of a time. With `ends`, midnight belongs to the day before.
///
/// # Errors
/// invalid_request naming the parameter
pub fn day(name: &str, text: &str, ends: bool) -> Result<Day, ApiError> {
    if let Some(day) = Day::parse(text) {
        return Ok(day);
    }
    let at_ms = parse_rfc3339(text)
        .ok_or_else(|| ApiError::invalid(name, "must be a day such as 2027-01-31, or an RFC 3339 time"))?;
    Ok(Day::of(if ends && at_ms % DAY_MS == 0 { at_ms - 1 } else { at_ms }))
}

/// # Errors
/// invalid_request
pub fn list(text: &str) -> Result<Vec<By>, ApiError> {
    let by = text.split(',').filter(|name| !name.is_empty()).map(By::parse).collect::<Result<Vec<_>, _>>();
    match by.map_err(|message| ApiError::invalid("by", message))? {
        by if by.len() <= MOST_BY => Ok(by),
        _ => Err(ApiError::invalid("by", format!("must have at most {MOST_BY} names"))),
    }
}

fn ratio(text: &str, before: usize) -> Result<Ratio, ApiError> {
    if before >= MOST_RATIOS || text.len() > MOST_RATIO_BYTES {
        let message = format!("must occur at most {MOST_RATIOS} times, with at most {MOST_RATIO_BYTES} bytes each");
        return Err(ApiError::invalid("ratio", message));
    }
    Ratio::parse(text).map_err(|message| ApiError::invalid("ratio", message))
}

fn read_format(text: &str) -> Result<Format, ApiError> {
    match text {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        _ => Err(ApiError::invalid("format", "must be `json` or `csv`")),
    }
}

fn read_limit(text: &str) -> Result<usize, ApiError> {
    let limit = text.parse().ok().filter(|limit| (1..=1000).contains(limit));
    limit.ok_or_else(|| ApiError::invalid("limit", "must be between 1 and 1000"))
}

fn bad_cursor() -> ApiError {
    ApiError::invalid("cursor", "must be `nextCursor` of an earlier page of the same report")
}
