//! `GET alerts`: the history of the messages that webhooks receive.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::domain::values::field_error::Faults;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::webhooks::outbox::AlertView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List alerts, approval requests and expired reservations, newest first: the same messages that webhooks receive
#[utoipa::path(get, path = "/api/v1/alerts", tag = "Alerts", params(AlertQuery),
    responses((status = 200, body = ListView<AlertView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<AlertQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (before, count) = query.read_as(|AlertQuery { cursor, limit }| {
        let mut faults = Faults::default();
        let page = cursor::page(cursor.as_deref(), limit, cursor::entry, &mut faults);
        faults.or(Some(page))
    })?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(principal.gateway.alerts(&principal.tenant, before, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(cursor::entry_text) }))
}
