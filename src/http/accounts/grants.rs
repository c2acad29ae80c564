//! `POST`, `GET` and `DELETE grants`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::configuration::scope::OwnerName;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, check_note, idempotency_without_body, time};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::accounts::grants::{Grant, NewGrant};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantBody {
    #[schema(value_type = String)]
    group_id: GroupId,
    /// Who the grant is for, such as `{"user": "u_42"}`: a value for each name in the group's scope.
    scope: BTreeMap<String, String>,
    /// In the group's unit.
    #[schema(value_type = NumberOrText)]
    amount: Number,
    /// RFC 3339. Until then the grant enlarges each window. Without it, the grant ends with the present window.
    expires_at: Option<String>,
    note: Option<String>,
}

impl GrantBody {
    fn check(&self) -> Result<NewGrant, Vec<FieldError>> {
        let mut faults = Faults::default();
        let owner = faults.check("scope", OwnerName::from_map(&self.scope));
        if self.amount.0.is_zero() {
            faults.add("amount", "must be greater than 0");
        }
        let expires_at_ms = time("expiresAt", self.expires_at.as_deref(), &mut faults);
        check_note("note", self.note.as_deref(), &mut faults);
        faults.or(owner.map(|owner| NewGrant {
            owner,
            group: self.group_id.clone(),
            amount: self.amount,
            expires_at_ms,
            note: self.note.clone(),
            approval: None,
        }))
    }
}

/// Grant extra quota to one counter for a limited time
#[utoipa::path(post, path = "/api/v1/grants", tag = "Grants", request_body = GrantBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Grant), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn create(principal: Principal, body: Body<GrantBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let ParsedBody { value: new, idempotency } = body.read_as(GrantBody::check).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let grant = gateway.create_grant(&principal.tenant, &new, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::Created().json(grant))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GrantQuery {
    /// Only grants of this user.
    user_id: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List active grants, those that end first at the top
#[utoipa::path(get, path = "/api/v1/grants", tag = "Grants", params(GrantQuery),
    responses((status = 200, body = ListView<Grant>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<GrantQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (user, from, count) = query.read_as(|GrantQuery { user_id, cursor, limit }| {
        let mut faults = Faults::default();
        let user = faults.check("userId", user_id.as_deref().map(UserId::parse).transpose());
        let (from, count) = cursor::page(cursor.as_deref(), limit, cursor::place, &mut faults);
        faults.or(user.map(|user| (user, from.unwrap_or_default(), count)))
    })?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(match user {
                Some(user) => (principal.gateway.grants_of(&principal.tenant, &user).await?, None),
                None => principal.gateway.grants(&principal.tenant, from, count).await?,
            })
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(cursor::place_text) }))
}

/// Revoke a grant; amounts that were already used stay used
#[utoipa::path(delete, path = "/api/v1/grants/{id}", tag = "Grants", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let (by, idempotency) = (&principal.key.id, idempotency_without_body(&request)?);
    principal.gateway.revoke_grant(&principal.tenant, &id, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::NoContent().finish())
}
