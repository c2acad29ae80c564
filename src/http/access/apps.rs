//! `POST`, `GET` and `DELETE apps`, for the root admin key only.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::values::ids::AppId;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, idempotency_without_body};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::access::known_apps::AppView;
use crate::service::error::ServiceError;
use crate::service::tenant::Placement;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppBody {
    #[schema(value_type = String)]
    id: AppId,
    /// Cannot be changed later.
    #[serde(default)]
    placement: Placement,
}

/// Create an app
#[utoipa::path(post, path = "/api/v1/apps", tag = "Apps", request_body = AppBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = AppView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn create(principal: Principal, body: Body<AppBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Apps)?;
    let ParsedBody { value: fields, idempotency } = body.read().await?;
    Ok(HttpResponse::Created().json(
        principal.gateway.create_app(&fields.id, fields.placement, &principal.key.id, idempotency.as_ref()).await?,
    ))
}

/// List apps
#[utoipa::path(get, path = "/api/v1/apps", tag = "Apps",
    responses((status = 200, body = ListView<AppView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Apps)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.apps().await?)))
}

/// Delete an app with its keys, users, counters and configuration
#[utoipa::path(delete, path = "/api/v1/apps/{id}", tag = "Apps", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Apps)?;
    let missing = || ServiceError::NotFound(format!("App `{id}` not found."));
    let id = AppId::parse(&id).map_err(|_| missing())?;
    let idempotency = idempotency_without_body(&request)?;
    principal.gateway.delete_app(&id, &principal.key.id, idempotency.as_ref()).await?;
    Ok(HttpResponse::NoContent().finish())
}
