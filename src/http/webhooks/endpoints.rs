//! `GET`, `PUT` and `DELETE webhooks`, their secrets and deliveries.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::domain::values::field_error::Faults;
use crate::domain::webhooks::webhook::WebhookBody;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, idempotency_without_body};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::versioned::{if_match, versioned};
use crate::http::wire::views::ListView;
use crate::service::tenant::Author;
use crate::service::webhooks::deliveries::{DeliveryStatus, DeliveryView};
use crate::service::webhooks::endpoints::WebhookView;

/// A webhook as the caller may see it. Callers who may not edit it see only the host of its URL.
fn shown(principal: &Principal, webhook: WebhookView) -> WebhookView {
    if principal.require(Access::Configure).is_ok() { webhook } else { webhook.masked() }
}

/// List webhooks; only admin keys see whole URLs
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "Webhooks",
    responses((status = 200, body = ListView<WebhookView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let webhooks = principal.gateway.webhooks(&principal.tenant).await?;
    let shown: Vec<WebhookView> = webhooks.into_iter().map(|webhook| shown(&principal, webhook)).collect();
    Ok(HttpResponse::Ok().json(ListView::whole(shown)))
}

/// Read a webhook; only admin keys see its whole URL
#[utoipa::path(get, path = "/api/v1/webhooks/{id}", tag = "Webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let webhook = principal.gateway.webhook(&principal.tenant, &id).await?;
    Ok(versioned(webhook.version, shown(&principal, webhook)))
}

/// Create or replace a webhook; the answer to its creation is the only place that shows its secret
#[utoipa::path(put, path = "/api/v1/webhooks/{id}", tag = "Webhooks", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)), request_body = WebhookBody,
    responses((status = 200, body = WebhookView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
    body: Body<WebhookBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ParsedBody { value, idempotency } = body.read_checked(WebhookBody::faults).await?;
    let (gateway, matched) = (&principal.gateway, if_match(&request)?);
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    let webhook = gateway.put_webhook(&principal.tenant, &id, &value, matched, author).await?;
    Ok(versioned(webhook.version, webhook))
}

/// Delete a webhook and its pending deliveries
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "Webhooks", params(("id" = String, Path), ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let (by, idempotency) = (&principal.key.id, idempotency_without_body(&request)?);
    let (gateway, tenant) = (&principal.gateway, &principal.tenant);
    gateway.delete_webhook(tenant, &id, if_match(&request)?, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Create a new secret, shown only in this answer; messages are also signed with the old secret for 24 hours
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/rotate-secret", tag = "Webhooks", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = WebhookView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn rotate_secret(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let idempotency = idempotency_without_body(&request)?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    Ok(HttpResponse::Ok().json(gateway.rotate_secret(&principal.tenant, &id, by, idempotency.as_ref()).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Only deliveries with this status: `pending`, `delivered` or `dead`.
    status: Option<DeliveryStatus>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// List a webhook's deliveries, newest first; failed ones with `status=dead`
#[utoipa::path(get, path = "/api/v1/webhooks/{id}/deliveries", tag = "Webhooks", params(("id" = String, Path), DeliveryQuery),
    responses((status = 200, body = ListView<DeliveryView>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn deliveries(
    principal: Principal,
    id: web::Path<String>,
    query: Query<DeliveryQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let (status, offset, count) = query.read_as(|DeliveryQuery { status, cursor, limit }| {
        let mut faults = Faults::default();
        let (offset, count) = cursor::page(cursor.as_deref(), limit, cursor::offset, &mut faults);
        faults.or(Some((status, offset.unwrap_or_default(), count)))
    })?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            Ok(principal.gateway.deliveries(&principal.tenant, &id, status, offset, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(|next| next.to_string()) }))
}

/// Deliver a message again now
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/deliveries/{delivery}/resend", tag = "Webhooks", params(("id" = String, Path), ("delivery" = String, Path)),
    responses((status = 200, body = DeliveryView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem)))]
pub async fn resend(principal: Principal, path: web::Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let (id, delivery) = path.into_inner();
    let by = &principal.key.id;
    Ok(HttpResponse::Ok().json(principal.gateway.resend(&principal.tenant, &id, &delivery, by).await?))
}
