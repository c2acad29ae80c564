//! `GET estimates`: the estimates that the gateway has learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::reporting::rollup::Labels;
use crate::domain::values::field_error::Faults;
use crate::domain::values::number::Number;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::reporting::estimates::LearnedLine;

/// What was learned about one figure of an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearnedEstimateView {
    event: String,
    /// The name of the metadata field.
    field: String,
    /// The metadata values; an empty value stands for calls without the field. Null: all combinations together that
    /// came after the limit on combinations was reached.
    by: Option<BTreeMap<String, String>>,
    #[schema(value_type = f64)]
    quantile: Number,
    /// The estimate of this line. If several groups learn the figure of a call, the call uses the largest.
    #[schema(value_type = f64)]
    value: Number,
    /// False: there are fewer than 100 samples, so the value is `start`.
    learned: bool,
    /// The figures of the last seven days.
    samples: u64,
    /// How many of them are of reservations that used a learned estimate.
    compared: u64,
    /// How many of those exceeded the estimate.
    exceeded: u64,
    #[schema(value_type = f64)]
    start: Number,
    #[schema(value_type = Option<f64>)]
    max: Option<Number>,
}

impl LearnedEstimateView {
    fn new(line: LearnedLine) -> Self {
        let by = match line.row.labels {
            Labels::Each(labels) => Some(Arc::unwrap_or_clone(labels)),
            Labels::Other => None,
        };
        Self {
            event: line.row.event.as_str().unwrap_or_default().to_owned(),
            field: line.field,
            by,
            quantile: Number(line.estimate.quantile),
            value: Number(line.estimate.value(line.quantile)),
            learned: line.quantile.is_some(),
            samples: line.figures,
            compared: line.compared,
            exceeded: line.exceeded,
            start: Number(line.estimate.start),
            max: line.estimate.max.map(Number),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EstimatesQuery {
    /// Only estimates of this event; `*` stands for any characters, also none.
    event: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List the learned estimates
///
/// Estimates that plans and policies learn, by event, field and metadata values. The list is as of now, unless very
/// many new calls are not counted in it yet; calls use values that are at most a minute old.
#[utoipa::path(get, path = "/api/v1/estimates", tag = "Reports", params(EstimatesQuery),
    responses((status = 200, body = ListView<LearnedEstimateView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn estimates(
    principal: Principal,
    query: Query<EstimatesQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Explain)?;
    let (event, from, count) = query.read_as(|EstimatesQuery { event, cursor, limit }| {
        let mut faults = Faults::default();
        let (from, count) = cursor::page(cursor.as_deref(), limit, cursor::offset, &mut faults);
        faults.or(Some((event, from.unwrap_or_default(), count)))
    })?;
    let lines = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.estimates(&principal.tenant, event.as_deref()).await?)
        })
        .await?;
    let next_cursor = (lines.len() > from.saturating_add(count)).then(|| (from + count).to_string());
    let data = lines.into_iter().skip(from).take(count).map(LearnedEstimateView::new).collect();
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor }))
}
