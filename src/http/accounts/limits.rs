//! `PUT`, `GET` and `DELETE limits`: another quota for one owner.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::subscriptions::time;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::values::ids::GroupId;
use crate::domain::values::number::{Number, NumberOrText, explicit_null};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, check_note, page_size};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::accounts::limits::{LimitName, NewLimit, OwnerLimit};
use crate::service::tenant::Author;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnerLimitBody {
    /// Whose limit it is, such as `{"metadata.team": "red"}`: a value for each name in the group's scope.
    scope: BTreeMap<String, String>,
    /// In the group's unit, instead of the group's quota. 0 denies every matching call; null counts without limit.
    #[serde(default, deserialize_with = "explicit_null")]
    #[schema(value_type = Option<NumberOrText>, required = true)]
    quota: Option<Option<Number>>,
    /// RFC 3339: the limit ends at this time.
    until: Option<String>,
    note: Option<String>,
}

/// Whose limit to remove.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerLimitScope {
    /// Such as `{"metadata.team": "red"}`: a value for each name in the group's scope.
    scope: BTreeMap<String, String>,
}

fn group_id(text: &str) -> Result<GroupId, ApiError> {
    GroupId::parse(text).map_err(|error| ApiError::invalid("groupId", error.to_string()))
}

fn owner(scope: &BTreeMap<String, String>) -> Result<OwnerName, ApiError> {
    OwnerName::from_map(scope).map_err(|message| ApiError::invalid("scope", message))
}

/// Set another quota for one owner; it applies to the next call
#[utoipa::path(put, path = "/api/v1/limits/{groupId}", tag = "Limits", request_body = OwnerLimitBody,
    params(("groupId" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = OwnerLimit), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    group: web::Path<String>,
    body: Body<OwnerLimitBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let ParsedBody { value: fields, idempotency } = body.read().await?;
    check_note(fields.note.as_deref())?;
    let quota = fields.quota.ok_or_else(|| ApiError::invalid("quota", "is required; null counts without limit"))?;
    let until_ms = time("until", fields.until.as_deref())?;
    let new = NewLimit { quota, until_ms, note: fields.note };
    let (group, owner) = (group_id(&group)?, owner(&fields.scope)?);
    let name = LimitName { group: &group, owner: &owner };
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    Ok(HttpResponse::Ok().json(principal.gateway.put_limit(&principal.tenant, name, &new, author).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OwnerLimitQuery {
    group_id: String,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50. A page may have fewer, also if there are more.
    limit: Option<usize>,
}

/// List the owners whose quota differs from that of the group
#[utoipa::path(get, path = "/api/v1/limits", tag = "Limits", params(OwnerLimitQuery),
    responses((status = 200, body = ListView<OwnerLimit>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<OwnerLimitQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    // Reading users or setting limits is permission enough.
    if principal.require(Access::ReadUsers).is_err() {
        principal.require(Access::Subscriptions)?;
    }
    let OwnerLimitQuery { group_id: group, cursor, limit } = query.read()?;
    let group = group_id(&group)?;
    let from = cursor::read(cursor.as_deref(), cursor::place)?.unwrap_or_default();
    let count = page_size(limit)?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(principal.gateway.owner_limits(&principal.tenant, &group, from, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(cursor::place_text) }))
}

/// Remove the limit of one owner, so that the group's quota applies again
#[utoipa::path(delete, path = "/api/v1/limits/{groupId}", tag = "Limits", request_body = OwnerLimitScope,
    params(("groupId" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    group: web::Path<String>,
    body: Body<OwnerLimitScope>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let ParsedBody { value: fields, idempotency } = body.read().await?;
    let (group, owner) = (group_id(&group)?, owner(&fields.scope)?);
    let name = LimitName { group: &group, owner: &owner };
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    principal.gateway.delete_limit(&principal.tenant, name, author).await?;
    Ok(HttpResponse::NoContent().finish())
}
