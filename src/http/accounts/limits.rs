//! `PUT`, `GET` and `DELETE limits`: another quota for one owner.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::configuration::scope::OwnerName;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::GroupId;
use crate::domain::values::number::{Number, NumberOrText, explicit_null};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, check_note, time};
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

/// The group in the path, the owner and the limit.
type Checked<T> = (GroupId, OwnerName, T);

impl OwnerLimitBody {
    fn check(&self, group: &str) -> Result<Checked<NewLimit>, Vec<FieldError>> {
        let mut faults = Faults::default();
        let group = faults.check("groupId", GroupId::parse(group));
        let owner = faults.check("scope", OwnerName::from_map(&self.scope));
        let quota = faults.check("quota", self.quota.ok_or("is required; null counts without limit"));
        let until_ms = time("until", self.until.as_deref(), &mut faults);
        check_note("note", self.note.as_deref(), &mut faults);
        let limit = quota.map(|quota| NewLimit { quota, until_ms, note: self.note.clone() });
        faults.or(group.zip(owner).zip(limit).map(|((group, owner), limit)| (group, owner, limit)))
    }
}

impl OwnerLimitScope {
    fn check(&self, group: &str) -> Result<Checked<()>, Vec<FieldError>> {
        let mut faults = Faults::default();
        let group = faults.check("groupId", GroupId::parse(group));
        let owner = faults.check("scope", OwnerName::from_map(&self.scope));
        faults.or(group.zip(owner).map(|(group, owner)| (group, owner, ())))
    }
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
    let ParsedBody { value: (group, owner, new), idempotency } = body.read_as(|body| body.check(&group)).await?;
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
    let (group, from, count) = query.read_as(|OwnerLimitQuery { group_id, cursor, limit }| {
        cursor::page_of_group(&group_id, cursor.as_deref(), limit)
    })?;
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
    let ParsedBody { value: (group, owner, ()), idempotency } = body.read_as(|body| body.check(&group)).await?;
    let name = LimitName { group: &group, owner: &owner };
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    principal.gateway.delete_limit(&principal.tenant, name, author).await?;
    Ok(HttpResponse::NoContent().finish())
}
