//! `GET /healthz`, `/readyz`, `/metrics`: for monitoring.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::nodes::readiness::PartView;

/// Check that the process answers
#[utoipa::path(get, path = "/healthz", tag = "Health", security(()), responses((status = 200, body = String)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyView {
    ready: bool,
    redis_version: Option<String>,
    /// Warnings for the operator.
    warnings: Vec<String>,
    /// The node's background tasks. The node stays ready if one fails, since no decision depends on them.
    parts: Vec<PartView>,
}

/// Check that Redis can be reached and is configured to persist writes
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
    view.warnings.extend(silent.map(|part| format!("the background task {} has failed", part.name)));
    view.warnings.extend(gateway.degraded.warnings(gateway.allows_without_store()));
    if view.ready { HttpResponse::Ok().json(view) } else { HttpResponse::ServiceUnavailable().json(view) }
}

/// Why Redis is not ready, without Redis' own error text: anybody may read this page, and the log has the details.
fn unready(error: &ServiceError) -> String {
    match error {
        // The ids of two data sets, which are no secret.
        ServiceError::StoreRefused(what) if what.starts_with("Redis holds ") => return what.clone(),
        error if error.is_forbidden_by_store() => {
            "Redis can be reached but rejects the login or a required command; the log has the details"
        }
        ServiceError::StoreUnavailable(_) => "Redis cannot be reached",
        _ => "Redis can be reached but returns errors; the log has the details",
    }
    .to_owned()
}

/// Prometheus metrics
#[utoipa::path(get, path = "/metrics", tag = "Health", security(()), responses((status = 200, body = String)))]
pub async fn metrics(handle: web::Data<PrometheusHandle>, gateway: web::Data<Gateway>) -> HttpResponse {
    // Metrics that cannot be read are left out; the others are returned.
    if let Err(error) = gateway.gauge_memory().await {
        tracing::debug!(?error, "cannot read the memory of Redis");
    }
    if let Err(error) = gateway.gauge_verified().await {
        tracing::debug!(?error, "cannot read the last verification");
    }
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(handle.render())
}

/// The metrics of one resource, looked up once per worker thread.
pub struct Meters {
    /// The route's pattern instead of the path, so that no id becomes a label.
    call: String,
    seconds: OnceCell<Histogram>,
    /// Counters by status.
    answers: RefCell<Vec<(StatusCode, Counter)>>,
}

impl Meters {
    pub fn new(call: String) -> Self {
        Self { call, seconds: OnceCell::new(), answers: RefCell::default() }
    }

    fn record(&self, status: StatusCode, took: Duration) {
        let call = || self.call.clone();
        let seconds = self.seconds.get_or_init(|| metrics::histogram!("quotagate_request_seconds", "call" => call()));
        seconds.record(took.as_secs_f64());
        let mut answers = self.answers.borrow_mut();
        let known = answers.iter().position(|(known, _)| *known == status).unwrap_or_else(|| {
            let code = status.as_u16().to_string();
            answers.push((status, metrics::counter!("quotagate_requests_total", "call" => call(), "status" => code)));
            answers.len() - 1
        });
        answers[known].1.increment(1);
    }
}

/// Records an answer and its duration.
pub fn measure(response: &ServiceResponse<impl MessageBody>, took: Duration) {
    // The metrics of the resource; for unknown paths those of the app.
    if let Some(meters) = response.request().app_data::<Meters>() {
        meters.record(response.status(), took);
    }
}
