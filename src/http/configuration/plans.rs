//! `GET`, `PUT` and `DELETE plans`, and their versions.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, DryRun, ParsedBody, Query, idempotency_without_body};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::versioned::{RollbackBody, if_match, versioned};
use crate::http::wire::views::ListView;
use crate::service::configuration::dependents::DeletePreview;
use crate::service::configuration::plans::PlanView;
use crate::service::configuration::preview::Preview;
use crate::service::configuration::versions::VersionView;
use crate::service::tenant::Author;

/// List plans
#[utoipa::path(get, path = "/api/v1/plans", tag = "Plans",
    responses((status = 200, body = ListView<PlanView>), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadPlans)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.plans(&principal.tenant).await?)))
}

/// Read a plan
#[utoipa::path(get, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path)),
    responses((status = 200, body = PlanView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadPlans)?;
    let plan = principal.gateway.plan(&principal.tenant, &id).await?;
    Ok(versioned(plan.version, plan))
}

/// Create or replace a plan, effective from the next call on every node
///
/// With `dryRun=true` nothing is written, and the answer says what would change and how many users a lowered quota
/// would put over their limit.
#[utoipa::path(put, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path), DryRun, ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = PlanBody,
    responses((status = 200, body = PutPlan), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    query: Query<DryRun>,
    body: Body<PlanBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let dry_run = query.read()?.dry_run;
    let ParsedBody { value, idempotency } = body.read_checked(|body| Plan::faults(&id, body)).await?;
    let (gateway, tenant, by) = (&principal.gateway, &principal.tenant, &principal.key.id);
    if dry_run {
        let preview = gateway.preview_plan(tenant, &id, &value, if_match(&request)?).await?;
        return Ok(HttpResponse::Ok().json(PutPlan::Preview(preview)));
    }
    let author = Author { key: by, idempotency: idempotency.as_ref() };
    let plan = gateway.put_plan(tenant, &id, &value, if_match(&request)?, author).await?;
    Ok(versioned(plan.version, PutPlan::Plan(Box::new(plan))))
}

/// The plan; with `dryRun`, what would change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PutPlan {
    Plan(Box<PlanView>),
    Preview(Preview),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteQuery {
    move_to: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// Delete a plan without users; with `moveTo` its users are first moved to that plan
///
/// With `dryRun=true` nothing is written, and the answer lists what depends on the plan: users, groups, grants,
/// approval requests, webhooks.
#[utoipa::path(delete, path = "/api/v1/plans/{id}", tag = "Plans", params(("id" = String, Path), ("moveTo" = Option<String>, Query), DryRun, ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DeletePreview, description = "with `dryRun`"), (status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    query: Query<DeleteQuery>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let DeleteQuery { move_to, dry_run } = query.read()?;
    let (gateway, tenant, matched) = (&principal.gateway, &principal.tenant, if_match(&request)?);
    if dry_run {
        let preview = gateway.preview_plan_delete(tenant, &id, matched, move_to.as_deref()).await?;
        return Ok(HttpResponse::Ok().json(preview));
    }
    let idempotency = idempotency_without_body(&request)?;
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    gateway.delete_plan(tenant, &id, matched, move_to.as_deref(), author).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// List a plan's versions, newest first
#[utoipa::path(get, path = "/api/v1/plans/{id}/versions", tag = "Plans", params(("id" = String, Path)),
    responses((status = 200, body = ListView<VersionView>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn versions(
    principal: Principal,
    id: web::Path<String>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let versions = readers.run(Reader::Page, principal, async move |principal| {
        Ok(principal.gateway.plan_history(&principal.tenant, &id).await?)
    });
    Ok(HttpResponse::Ok().json(ListView::whole(versions.await?)))
}

/// Restore an earlier version as a new version
#[utoipa::path(post, path = "/api/v1/plans/{id}/rollback", tag = "Plans", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = RollbackBody,
    responses((status = 200, body = PlanView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn rollback(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body<RollbackBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ParsedBody { value, idempotency } = body.read().await?;
    let (gateway, matched) = (&principal.gateway, if_match(&request)?);
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    let plan = gateway.roll_back_plan(&principal.tenant, &id, value.version, matched, author).await?;
    Ok(versioned(plan.version, plan))
}
