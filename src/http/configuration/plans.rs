//! `GET`, `PUT` and `DELETE plans`, and their versions.

use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, idempotency_without_body};
use crate::http::wire::header::{Header, single};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::configuration::dependents::DeletePreview;
use crate::service::configuration::plans::{IfMatch, PlanView};
use crate::service::configuration::preview::Preview;
use crate::service::configuration::versions::VersionView;
use crate::service::error::ServiceError;
use crate::service::tenant::Author;

pub(in crate::http) fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The value of `If-Match`: `*`, or a version as its `ETag` or as a plain number.
///
/// # Errors
/// invalid_request for anything else, since no version has such a tag.
pub(in crate::http) fn if_match(request: &HttpRequest) -> Result<IfMatch, ApiError> {
    let Some(text) = single(request, Header::IfMatch)? else {
        return Ok(IfMatch::Absent);
    };
    if text == "*" {
        return Ok(IfMatch::Any);
    }
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = Some(quoted.unwrap_or(text)).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let version = digits.and_then(|digits| digits.parse().ok());
    let invalid = || Header::IfMatch.invalid("must be `*` or one version, such as \"7\", as its ETag says");
    version.map(IfMatch::Version).ok_or_else(invalid)
}

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
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(plan.version))).json(plan))
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
    let text = gateway.put_plan(tenant, &id, &value, if_match(&request)?, author).await?;
    written(&text)
}

/// The plan as it is now.
fn written(text: &str) -> Result<HttpResponse, ApiError> {
    let plan: PlanView = serde_json::from_str(text).map_err(|error| ServiceError::Internal(error.to_string()))?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(plan.version))).json(PutPlan::Plan(Box::new(plan))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Return what would change, without writing it.
    #[serde(default)]
    pub dry_run: bool,
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    pub(in crate::http) version: u64,
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
    let rolled_back = gateway.roll_back_plan(&principal.tenant, &id, value.version, matched, author).await?;
    written(&rolled_back)
}
