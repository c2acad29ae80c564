//! `GET /healthz`, `/readyz`, `/metrics`: for machines that watch the node.

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

/// The metrics of one resource, looked up once per thread that serves.
pub struct Meters {
    /// The route's pattern, never the path, so that no id becomes a label.
    call: String,
    seconds: OnceCell<Histogram>,
    /// By status.
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

/// Records an answer and how long it took.
pub fn measure(response: &ServiceResponse<impl MessageBody>, took: Duration) {
    // Those of the resource, else those of the app for what matches none.
    if let Some(meters) = response.request().app_data::<Meters>() {
        meters.record(response.status(), took);
    }
}
