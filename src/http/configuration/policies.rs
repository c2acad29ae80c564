//! `GET`, `PUT` and `DELETE policies`, their versions and reviews.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, DryRun, ParsedBody, Query, idempotency_without_body, only_note};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::versioned::{RollbackBody, if_match, versioned};
use crate::http::wire::views::ListView;
use crate::service::configuration::dependents::DeletePreview;
use crate::service::configuration::policies::PolicyView;
use crate::service::configuration::preview::Preview;
use crate::service::configuration::versions::PolicyVersionView;
use crate::service::tenant::Author;

/// List every policy with its owner and whether a review is due
#[utoipa::path(get, path = "/api/v1/policies", tag = "Policies",
    responses((status = 200, body = ListView<PolicyView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.policies(&principal.tenant).await?)))
}

/// Read a policy
#[utoipa::path(get, path = "/api/v1/policies/{id}", tag = "Policies", params(("id" = String, Path)),
    responses((status = 200, body = PolicyView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let policy = principal.gateway.policy(&principal.tenant, &id).await?;
    Ok(versioned(policy.version, policy))
}

/// The policy; with `dryRun`, what would change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PutPolicy {
    Policy(Box<PolicyView>),
    Preview(Preview),
}

/// Create or replace a policy, effective from the next call on every node
#[utoipa::path(put, path = "/api/v1/policies/{id}", tag = "Policies", params(("id" = String, Path), DryRun, ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = PolicyBody,
    responses((status = 200, body = PutPolicy), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    query: Query<DryRun>,
    body: Body<PolicyBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let dry_run = query.read()?.dry_run;
    let ParsedBody { value, idempotency } = body.read_checked(|body| Policy::faults(&id, body)).await?;
    let (gateway, tenant, by) = (&principal.gateway, &principal.tenant, &principal.key.id);
    if dry_run {
        let preview = gateway.preview_policy(tenant, &id, &value, if_match(&request)?).await?;
        return Ok(HttpResponse::Ok().json(PutPolicy::Preview(preview)));
    }
    let author = Author { key: by, idempotency: idempotency.as_ref() };
    let policy = gateway.put_policy(tenant, &id, &value, if_match(&request)?, author).await?;
    Ok(versioned(policy.version, PutPolicy::Policy(Box::new(policy))))
}

/// Delete a policy; open reservations in its groups can still be committed or released
///
/// With `dryRun=true` nothing is written, and the answer lists what depends on the policy: groups, grants, approval
/// requests, webhooks.
#[utoipa::path(delete, path = "/api/v1/policies/{id}", tag = "Policies", params(("id" = String, Path), DryRun, ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DeletePreview, description = "with `dryRun`"), (status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    query: Query<DryRun>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let (gateway, tenant, matched) = (&principal.gateway, &principal.tenant, if_match(&request)?);
    if query.read()?.dry_run {
        return Ok(HttpResponse::Ok().json(gateway.preview_policy_delete(tenant, &id, matched).await?));
    }
    let (by, idempotency) = (&principal.key.id, idempotency_without_body(&request)?);
    gateway.delete_policy(tenant, &id, matched, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    note: Option<String>,
}

/// Record that somebody has reviewed the policy
#[utoipa::path(post, path = "/api/v1/policies/{id}/review", tag = "Policies", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = ReviewBody,
    responses((status = 200, body = PolicyView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn review(
    principal: Principal,
    id: web::Path<String>,
    body: Body<ReviewBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ParsedBody { value: note, idempotency } = body.read_as(|body| only_note(body.note.as_ref())).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let reviewed = gateway.review_policy(&principal.tenant, &id, note.as_deref(), by, idempotency.as_ref()).await?;
    Ok(HttpResponse::Ok().json(reviewed))
}

/// List a policy's versions, newest first
#[utoipa::path(get, path = "/api/v1/policies/{id}/versions", tag = "Policies", params(("id" = String, Path)),
    responses((status = 200, body = ListView<PolicyVersionView>), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn versions(
    principal: Principal,
    id: web::Path<String>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let versions = readers.run(Reader::Page, principal, async move |principal| {
        Ok(principal.gateway.policy_history(&principal.tenant, &id).await?)
    });
    Ok(HttpResponse::Ok().json(ListView::whole(versions.await?)))
}

/// Restore an earlier version as a new version
#[utoipa::path(post, path = "/api/v1/policies/{id}/rollback", tag = "Policies", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = RollbackBody,
    responses((status = 200, body = PolicyView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
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
    let policy = gateway.roll_back_policy(&principal.tenant, &id, value.version, matched, author).await?;
    Ok(versioned(policy.version, policy))
}
