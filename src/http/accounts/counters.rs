//! `GET counters`: the counters of one group whose owners are teams, keys, workflows or the app.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{CounterView, ListView};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CounterQuery {
    group_id: String,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List the counters of a group whose scope is more than `user`
#[utoipa::path(get, path = "/api/v1/counters", tag = "Counters", params(CounterQuery),
    responses((status = 200, body = ListView<CounterView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<CounterQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (group, from, count) = query.read_as(|CounterQuery { group_id, cursor, limit }| {
        cursor::page_of_group(&group_id, cursor.as_deref(), limit)
    })?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(principal.gateway.shared_counters(&principal.tenant, &group, from, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data: CounterView::all(&data), next_cursor: next.map(cursor::place_text) }))
}
