//! `GET`, `PUT` and `DELETE plans`.

use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};

use super::auth::{Access, Principal};
use super::body::{Body, Given};
use super::problem::{ApiError, Problem};
use super::views::ListView;
use crate::domain::plan_body::PlanBody;
use crate::service::error::ServiceError;
use crate::service::plans::{IfMatch, PlanView};

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

fn if_match(request: &HttpRequest) -> IfMatch {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return IfMatch::Absent;
    };
    let text = value.to_str().unwrap_or_default().trim();
    match text {
        "*" => IfMatch::Any,
        text => text.trim_matches('"').parse().map_or(IfMatch::Never, IfMatch::Version),
    }
}

/// List plans
#[utoipa::path(get, path = "/api/v1/plans", tag = "Plans",
    responses((status = 200, body = ListView<PlanBody>), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadPlans)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.plans(&principal.tenant).await?)))
}

/// Read a plan
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path)),
    responses((status = 200, body = PlanBody), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadPlans)?;
    let plan = principal.gateway.plan(&principal.tenant, &id).await?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(plan.version))).json(plan))
}

/// Create or replace a plan; the change binds on the next call, on every node
#[utoipa::path(put, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = PlanBody,
    responses((status = 200, body = PlanBody), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body<PlanBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let Given { value, idempotency } = body.read()?;
    let text =
        principal.gateway.put_plan(&principal.tenant, &id, &value, if_match(&request), idempotency.as_ref()).await?;
    let plan: PlanView = serde_json::from_str(&text).map_err(|error| ServiceError::Internal(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(plan.version))).json(plan))
}

/// Delete a plan that nobody is on
#[utoipa::path(delete, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    principal.gateway.delete_plan(&principal.tenant, &id, if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}
