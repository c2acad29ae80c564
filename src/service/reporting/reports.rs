//! `GET reports/usage`: selects and sums the rows of rollups, after folding new entries.

use std::collections::HashMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::reporting::report::{
    By, Filter, Line, LineName, Lines, Ratio, ReportSpec, Step, TooManyLines, span_fault,
};
use crate::domain::reporting::rollup::{Fields, Metrics, RowName, RowSet};
use crate::domain::time::day::Day;
use crate::domain::time::window::TimeMs;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::UserId;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::reporting::stream::{Place, Stream};

/// Days whose rows are read concurrently, for small and for large days.
const READ_AT_ONCE: usize = 4;
const READ_LARGE_AT_ONCE: usize = 1;
/// The maximum number of rows that one report reads.
const MOST_ROWS: usize = 2_000_000;
/// The default number of days of a report, including today.
const USUAL_DAYS: i64 = 30;

/// The query; by default it covers 30 days until today.
#[derive(Clone, Debug, Default)]
pub struct ReportQuery {
    pub from: Option<Day>,
    /// Inclusive.
    pub to: Option<Day>,
    pub step: Step,
    pub by: Vec<By>,
    pub filter: Filter,
    pub ratios: Vec<Ratio>,
}

/// A report with its lines in order.
#[derive(Debug)]
pub struct Report {
    pub asked: ReportSpec,
    pub fields: Fields,
    pub lines: Vec<(LineName, Line)>,
    /// All entries are counted. False if too many were new, so that some are not folded yet.
    pub whole: bool,
}

/// Which rows to read.
pub(in crate::service) struct RowSelection<'a> {
    pub tenant: &'a Tenant,
    pub row_set: RowSet,
    pub from: Day,
    pub to: Day,
    /// Only rows of this user.
    pub user: Option<&'a UserId>,
}

impl RowSelection<'_> {
    pub(in crate::service) fn buckets(&self) -> Vec<Bucket> {
        self.user.map_or_else(|| self.tenant.buckets(), |user| vec![self.tenant.bucket_of(user)])
    }

    fn places(&self) -> Vec<(Bucket, Place)> {
        let days = (0..=self.to.since(self.from)).map(|later| self.from.plus(later));
        let streams = |day| Stream::ALL.map(|stream| Place { row_set: self.row_set, stream, day });
        let places: Vec<Place> = days.flat_map(streams).collect();
        let pairs = |bucket: Bucket| places.iter().map(move |place| (bucket.clone(), *place)).collect::<Vec<_>>();
        self.buckets().into_iter().flat_map(pairs).collect()
    }
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`], also for queries that rollups cannot answer, naming the parameter.
    pub async fn report(&self, tenant: &Tenant, query: ReportQuery) -> Result<Report, ServiceError> {
        let fields = self.load_config(&tenant.app).await?.report_fields();
        let today = self.today(tenant).await?;
        let (from, to) = (query.from, query.to.unwrap_or(today));
        let ReportQuery { step, by, filter, ratios, .. } = query;
        let mut asked = ReportSpec { from: to, to, step, by, filter, ratios };
        let mut faults = asked.faults(&fields);
        let first = faults.take(self.first_day(tenant, asked.row_set(), from, to, today));
        asked.from = faults.or(first)?;
        let user = asked.filter.user.as_ref();
        let wanted = RowSelection { tenant, row_set: asked.row_set(), from: asked.from, to, user };
        let whole = self.fold_all(tenant, wanted.buckets()).await?;
        let lines = self.lines(&wanted, &asked, &fields).await?;
        Ok(Report { asked, fields, lines, whole })
    }

    /// The lines of the query.
    pub(in crate::service) async fn lines(
        &self,
        wanted: &RowSelection<'_>,
        asked: &ReportSpec,
        fields: &Fields,
    ) -> Result<Vec<(LineName, Line)>, ServiceError> {
        let mut lines = Lines::new(asked, fields);
        self.read_rows(wanted, |day, rows| rows.iter().try_for_each(|(row, metrics)| lines.add(day, row, metrics)))
            .await?;
        Ok(lines.finish().into_iter().collect())
    }

    /// Calls `each` with the rows of each day, bucket and stream.
    pub(in crate::service) async fn read_rows(
        &self,
        wanted: &RowSelection<'_>,
        mut each: impl FnMut(Day, HashMap<RowName, Metrics>) -> Result<(), TooManyLines>,
    ) -> Result<(), ServiceError> {
        let large = wanted.row_set == RowSet::Users && wanted.user.is_none();
        let at_once = if large { READ_LARGE_AT_ONCE } else { READ_AT_ONCE };
        let read = async |(bucket, place): (Bucket, Place)| {
            Ok::<_, ServiceError>((place.day, self.store.read_rollup(&bucket, place, wanted.user).await?))
        };
        let mut reads = stream::iter(wanted.places()).map(read).buffered(at_once);
        let mut count = 0;
        while let Some((day, rows)) = reads.try_next().await? {
            count += rows.len();
            if count > MOST_ROWS {
                return Err(ServiceError::invalid(
                    "from",
                    "must be later: the report has to read more than 2,000,000 rows",
                ));
            }
            each(day, rows).map_err(|error| ServiceError::invalid("by", error.to_string()))?;
        }
        Ok(())
    }

    /// Today, by the clock of the mode.
    pub(in crate::service) async fn today(&self, tenant: &Tenant) -> Result<Day, ServiceError> {
        Ok(Day::of(self.mode_now(tenant).await?))
    }

    /// The clock of the mode.
    pub(in crate::service) async fn mode_now(&self, tenant: &Tenant) -> Result<TimeMs, ServiceError> {
        match tenant.buckets().first() {
            Some(bucket) => self.now(bucket).await,
            None => Err(ServiceError::Internal("a mode without buckets".to_owned())),
        }
    }

    /// The first day of the query, within the stored days.
    ///
    /// # Errors
    /// Rows of that day are no longer stored, or the day is after the last one.
    pub(in crate::service) fn first_day(
        &self,
        tenant: &Tenant,
        row_set: RowSet,
        from: Option<Day>,
        to: Day,
        today: Day,
    ) -> Result<Day, FieldError> {
        let kept = self.rollup.days_of(row_set);
        // In a sandbox the clock is moved manually, while storage time is real time, so any of its days may be stored.
        let oldest = if tenant.mode.is_sandbox() { None } else { Some(today.plus(1 - kept)) };
        let usual = to.plus(1 - USUAL_DAYS);
        let from = from.unwrap_or_else(|| oldest.map_or(usual, |oldest| usual.max(oldest)));
        let setting = if row_set == RowSet::Users {
            "QUOTAGATE_ROLLUP_USER_DAYS, which applies to reports by user"
        } else {
            "QUOTAGATE_ROLLUP_DAYS"
        };
        if let Some(oldest) = oldest.filter(|oldest| from < *oldest) {
            let message =
                format!("must be {oldest} or later, since report rows are stored for {kept} days ({setting})");
            return Err(FieldError::new("from", message));
        }
        span_fault(from, to).map_or(Ok(from), Err)
    }
}
