//! `GET /healthz`, `/readyz`, `/metrics`: for machines that watch the node.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::Gateway;
use crate::service::error::ServiceError;
use crate::service::readiness::PartView;
use crate::store::error::is_forbidden;

/// The process answers
#[utoipa::path(get, path = "/healthz", tag = "Health", security(()), responses((status = 200, body = String)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    ready: bool,
    redis_version: Option<String>,
    /// What an operator should know.
    warnings: Vec<String>,
    /// The node's background tasks. One that does not work makes no call wrong, so the node stays ready.
    parts: Vec<PartView>,
}

/// Redis can be reached and is set up to keep what it is told
#[utoipa::path(get, path = "/readyz", tag = "Health", security(()), responses((status = 200, body = ReadyView), (status = 503, body = ReadyView)))]
pub async fn readyz(gateway: web::Data<Gateway>) -> HttpResponse {
    let mut view = match gateway.readiness().await {
        Ok(found) => {
            let (version, warnings) = (Some(found.redis_version), found.warnings);
            ReadyView { ready: found.ready, redis_version: version, warnings, parts: Vec::new() }
        }
        Err(error) => {
            tracing::warn!(?error, "not ready");
            ReadyView { ready: false, redis_version: None, warnings: vec![unready(&error)], parts: Vec::new() }
        }
    };
    view.parts = gateway.part_views();
    let silent = view.parts.iter().filter(|part| !part.ok);
    view.warnings.extend(silent.map(|part| format!("the background task {} does not work", part.name)));
    view.warnings.extend(gateway.degraded.warnings(gateway.allows_without_store()));
    if view.ready { HttpResponse::Ok().json(view) } else { HttpResponse::ServiceUnavailable().json(view) }
}

/// Why Redis could not be asked, without its own words: anybody may read this, and the log has them.
fn unready(error: &ServiceError) -> String {
    match error {
        // Whose data it is, by ids that nobody can use.
        ServiceError::StoreRefused(what) if what.starts_with("Redis holds ") => return what.clone(),
        ServiceError::StoreUnavailable(what) | ServiceError::Internal(what) if is_forbidden(what) => {
            "Redis can be reached and does not let its user in, or not do all that is needed: the log says what"
        }
        ServiceError::StoreUnavailable(_) => "Redis cannot be reached",
        _ => "Redis can be reached and does not answer as it should: the log says how",
    }
    .to_owned()
}

/// Prometheus metrics
#[utoipa::path(get, path = "/metrics", tag = "Health", security(()), responses((status = 200, body = String)))]
pub async fn metrics(handle: web::Data<PrometheusHandle>, gateway: web::Data<Gateway>) -> HttpResponse {
    // What is not known is not told; the rest is.
    if let Err(error) = gateway.gauge_memory().await {
        tracing::debug!(?error, "the memory of Redis is not known");
    }
    if let Err(error) = gateway.gauge_verified().await {
        tracing::debug!(?error, "the last verification is not known");
    }
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}

/// Latency by call; the route's pattern, never the path, so that no id becomes a label.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let call = request.match_pattern().unwrap_or_else(|| "other".to_owned());
    let response = next.call(request).await?;
    let status = response.status().as_u16().to_string();
    metrics::histogram!("quotagate_request_seconds", "call" => call.clone()).record(started.elapsed().as_secs_f64());
    metrics::counter!("quotagate_requests_total", "call" => call, "status" => status).increment(1);
    Ok(response)
}
