//! The parameters of `GET reports/usage`.

use std::collections::BTreeSet;

use crate::domain::reporting::report::{By, Line, Ratio, Step, span_fault};
use crate::domain::reporting::rollup::Count;
use crate::domain::time::day::{DAY_MS, Day};
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, UserId};
use crate::http::wire::cursor;
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
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "calls" => Ok(Self::Calls),
            "denials" => Ok(Self::Denials),
            "observed" => Ok(Self::Observed),
            "cost" => Ok(Self::Cost),
            _ => Err(document::not_one_of(text, &["calls", "denials", "observed", "cost"])),
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

/// The names of the parameters.
const PARAMETERS: [&str; 14] = [
    "from",
    "to",
    "period",
    "by",
    "event",
    "userId",
    "keyId",
    "groupId",
    "metadata.<name>",
    "ratio",
    "format",
    "top",
    "limit",
    "cursor",
];

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
    /// All faults of the parameters.
    pub fn read(given: Vec<(String, String)>) -> Result<Self, Vec<FieldError>> {
        let (mut query, mut faults) = (ReportQuery::default(), Faults::default());
        let (mut format, mut limit, mut after) = (Some(Format::Json), None, None);
        let mut top = None;
        let mut seen = BTreeSet::new();
        for (name, value) in given {
            if name != "ratio" && !seen.insert(name.clone()) {
                faults.add(&name, "must occur only once");
                continue;
            }
            match name.as_str() {
                "from" => query.from = faults.take(day("from", &value, false)),
                "to" => query.to = faults.take(day("to", &value, true)),
                "period" => {
                    let wrong = || document::not_one_of(&value, &["day", "week", "month", "total"]);
                    let step = Step::parse(&value).ok_or_else(wrong);
                    query.step = faults.check("period", step).unwrap_or_default();
                }
                "by" => query.by = list(&value, &mut faults),
                "event" => query.filter.event = Some(value),
                "userId" => query.filter.user = faults.check("userId", UserId::parse(&value)),
                "keyId" => query.filter.key = Some(value),
                "groupId" => query.filter.group = faults.check("groupId", GroupId::parse(&value)),
                "ratio" => {
                    let ratio = ratio(&value, query.ratios.len());
                    query.ratios.extend(faults.check("ratio", ratio));
                }
                "format" => format = faults.check("format", read_format(&value)),
                "limit" => limit = faults.check("limit", read_limit(&value)),
                "top" => top = faults.check("top", Top::parse(&value)),
                "cursor" => after = faults.take(cursor::line(&value).ok_or_else(bad_cursor)),
                _ => match name.strip_prefix("metadata.") {
                    Some(field) if !field.is_empty() => {
                        query.filter.labels.insert(field.to_owned(), value);
                    }
                    _ => faults.0.push(document::unknown_parameter(&name, &PARAMETERS)),
                },
            }
        }
        if let (Some(from), Some(to)) = (query.from, query.to) {
            faults.0.extend(span_fault(from, to));
        }
        // How many values a line has is not known if `by` has a fault.
        let is_known = faults.0.iter().all(|fault| fault.field != "by");
        if is_known && after.as_ref().is_some_and(|(_, values)| values.len() != query.by.len()) {
            faults.0.push(bad_cursor());
        }
        if top.is_some() && after.is_some() {
            faults.add("cursor", "cannot be combined with `top`; use `limit` for more lines");
        }
        let limit = limit.or((format == Some(Format::Json)).then_some(100));
        faults.or(format.map(|format| Self { query, format, limit, top, after }))
    }
}

/// A day, or the day of a time. With `ends`, midnight belongs to the day before.
///
/// # Errors
/// A fault of the parameter.
pub fn day(name: &str, text: &str, ends: bool) -> Result<Day, FieldError> {
    if let Some(day) = Day::parse(text) {
        return Ok(day);
    }
    let wrong = || FieldError::new(name, "must be a day such as 2027-01-31, or an RFC 3339 time");
    let at_ms = parse_rfc3339(text).ok_or_else(wrong)?;
    Ok(Day::of(if ends && at_ms % DAY_MS == 0 { at_ms - 1 } else { at_ms }))
}

/// What `by` names.
pub fn list(text: &str, faults: &mut Faults) -> Vec<By> {
    let names: Vec<&str> = text.split(',').filter(|name| !name.is_empty()).collect();
    if names.len() > MOST_BY {
        faults.add("by", format!("must have at most {MOST_BY} names"));
        return Vec::new();
    }
    names.into_iter().filter_map(|name| faults.check("by", By::parse(name))).collect()
}

fn ratio(text: &str, before: usize) -> Result<Ratio, String> {
    if before >= MOST_RATIOS || text.len() > MOST_RATIO_BYTES {
        return Err(format!("must occur at most {MOST_RATIOS} times, with at most {MOST_RATIO_BYTES} bytes each"));
    }
    Ratio::parse(text)
}

fn read_format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "csv" => Ok(Format::Csv),
        _ => Err(document::not_one_of(text, &["json", "csv"])),
    }
}

fn read_limit(text: &str) -> Result<usize, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=1000).contains(limit));
    limit.ok_or("must be between 1 and 1000")
}

fn bad_cursor() -> FieldError {
    FieldError::new("cursor", "must be `nextCursor` of an earlier page of the same report")
}
