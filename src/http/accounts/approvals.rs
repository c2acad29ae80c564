//! `GET approvals`, and approving, rejecting or reopening a request.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, check_note, only_note, time};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::accounts::approvals::{ApprovalDecision, ApprovalStatus, ApprovalView, Approve};
use crate::service::accounts::grants::Grant;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApprovalQuery {
    /// `open` (default) or `decided`.
    status: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List approval requests, newest first
#[utoipa::path(get, path = "/api/v1/approvals", tag = "Approvals", params(ApprovalQuery),
    responses((status = 200, body = ListView<ApprovalView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<ApprovalQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (open, from, count) = query.read_as(|ApprovalQuery { status, cursor, limit }| {
        let mut faults = Faults::default();
        let open = match status.as_deref() {
            None | Some("open") => Ok(true),
            Some("decided") => Ok(false),
            Some(other) => Err(document::not_one_of(other, &["open", "decided"])),
        };
        let open = faults.check("status", open);
        let (from, count) = cursor::page(cursor.as_deref(), limit, cursor::place, &mut faults);
        faults.or(open.map(|open| (open, from.unwrap_or_default(), count)))
    })?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(principal.gateway.approvals(&principal.tenant, open, from, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(cursor::place_text) }))
}

/// Read an approval request
#[utoipa::path(get, path = "/api/v1/approvals/{id}", tag = "Approvals", params(("id" = String, Path)),
    responses((status = 200, body = ApprovalView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    Ok(HttpResponse::Ok().json(principal.gateway.approval(&principal.tenant, &id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveBody {
    /// In the group's unit.
    #[schema(value_type = NumberOrText)]
    amount: Number,
    /// RFC 3339. Until then the grant enlarges each window. Without it, the grant ends with the present window.
    until: Option<String>,
    note: Option<String>,
    /// Who undoes the approval if it causes a problem.
    rollback_owner: Option<String>,
}

impl ApproveBody {
    fn check(&self) -> Result<Approve, Vec<FieldError>> {
        let mut faults = Faults::default();
        if self.amount.0.is_zero() {
            faults.add("amount", "must be greater than 0");
        }
        let until_ms = time("until", self.until.as_deref(), &mut faults);
        check_note("note", self.note.as_deref(), &mut faults);
        check_note("rollbackOwner", self.rollback_owner.as_deref(), &mut faults);
        let (note, rollback_owner) = (self.note.clone(), self.rollback_owner.clone());
        faults.or(Some(Approve { amount: self.amount, until_ms, note, rollback_owner }))
    }
}

/// Approve an amount: a grant for the counter, effective from the next call
#[utoipa::path(post, path = "/api/v1/approvals/{id}/approve", tag = "Approvals", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = ApproveBody,
    responses((status = 200, body = Grant), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn approve(
    principal: Principal,
    id: web::Path<String>,
    body: Body<ApproveBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Approve)?;
    let ParsedBody { value: approve, idempotency } = body.read_as(ApproveBody::check).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    Ok(HttpResponse::Ok().json(gateway.approve(&principal.tenant, &id, approve, by, idempotency.as_ref()).await?))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectBody {
    note: Option<String>,
}

/// Reject a request; its calls stay denied until the window ends or the request is reopened
#[utoipa::path(post, path = "/api/v1/approvals/{id}/reject", tag = "Approvals", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = RejectBody,
    responses((status = 200, body = ApprovalView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn reject(
    principal: Principal,
    id: web::Path<String>,
    body: Body<RejectBody>,
) -> Result<HttpResponse, ApiError> {
    decide(principal, &id, body, ApprovalStatus::Rejected).await
}

/// Reopen a rejected request
#[utoipa::path(post, path = "/api/v1/approvals/{id}/reopen", tag = "Approvals", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = RejectBody,
    responses((status = 200, body = ApprovalView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn reopen(
    principal: Principal,
    id: web::Path<String>,
    body: Body<RejectBody>,
) -> Result<HttpResponse, ApiError> {
    decide(principal, &id, body, ApprovalStatus::Open).await
}

async fn decide(
    principal: Principal,
    id: &str,
    body: Body<RejectBody>,
    status: ApprovalStatus,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Approve)?;
    let ParsedBody { value: note, idempotency } = body.read_as(|body| only_note(body.note.as_ref())).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let decision = ApprovalDecision { status, note: note.as_deref() };
    let decided = gateway.decide_approval(&principal.tenant, id, decision, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::Ok().json(decided))
}
