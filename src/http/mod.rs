//! HTTP: routes by resource and their JSON. Decisions are made below, in `service` and in Redis.

mod access;
mod accounts;
mod configuration;
mod dashboard;
mod metering;
pub mod middleware;
mod nodes;
pub mod openapi;
mod reporting;
mod simulation;
mod webhooks;
pub mod wire;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpServer, Resource, web};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::TcpListener;
use std::time::Instant;

use crate::infra::threads::never_interrupt;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use access::{apps, audit, keys, sessions};
use accounts::{approvals, counters, credits, grants, limits, subscriptions, users};
use configuration::{apply, plans, policies, settings, test_clock};
use metering::usage::Draining;
use metering::{batch, can_use, commit, extend, release, reserve, track, usage};
use middleware::limits::Limits;
use middleware::readers::Readers;
use middleware::refused::Refusals;
use middleware::watchers::Watchers;
use middleware::{cors, refused, replayed, request_id, unread};
use nodes::health::Meters;
use nodes::{health, registry};
use reporting::{estimates, events, explain, history, reports};
use simulation::whatif;
use webhooks::{alerts, endpoints};
use wire::body;
use wire::problem::ApiError;

/// How the node listens.
pub struct Listen {
    pub listener: TcpListener,
    pub workers: usize,
    pub metrics: PrometheusHandle,
    pub limits: Limits,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    UntilStopped,
    /// Serving ended without being asked to.
    EndedItself,
}

/// How long accepted calls may take to finish when the node drains.
const DRAIN_S: u64 = 30;

/// Serves until `stop` resolves, then drains: accepted calls are completed.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listen: Listen,
    gateway: web::Data<Gateway>,
    stop: impl Future<Output = ()>,
) -> std::io::Result<Served> {
    let (drain, draining) = tokio::sync::watch::channel(false);
    let metrics = web::Data::new(listen.metrics);
    let limits = listen.limits;
    let refusals = web::Data::new(Refusals::new(limits.waiting_refusals));
    let draining = web::Data::new(Draining(draining));
    let readers = web::Data::new(Readers::start(limits.reads_of_key)?);
    let watchers = web::Data::new(Watchers::default());
    // Called on the thread of each worker.
    let server = HttpServer::new(move || {
        never_interrupt();
        App::new()
            .app_data(gateway.clone())
            .app_data(metrics.clone())
            .app_data(draining.clone())
            .app_data(readers.clone())
            .app_data(watchers.clone())
            .app_data(limits)
            .app_data(Meters::new("other".to_owned()))
            .app_data(refusals.clone())
            .wrap(from_fn(answered))
            .configure(routes)
            .default_service(web::to(not_found))
    })
    .workers(listen.workers)
    .max_connections(limits.connections.div_ceil(listen.workers.max(1)))
    .keep_alive(limits.idle)
    // The timeout of a connection's first request. Clients open connections in advance, so such a connection may be
    // idle like any other. With a shorter time, a call that arrives just when the time ends would get a 408.
    .client_request_timeout(limits.idle)
    .shutdown_timeout(DRAIN_S)
    .disable_signals()
    .listen(listen.listener)?
    .run();
    let handle = server.handle();
    let mut running = tokio::spawn(server);
    tokio::select! {
        ended = &mut running => {
            ended.map_err(std::io::Error::other)??;
            return Ok(Served::EndedItself);
        }
        () = stop => {}
    }
    // Streams do not end by themselves.
    let _ = drain.send(true);
    handle.stop(true).await;
    running.await.map_err(std::io::Error::other)??;
    Ok(Served::UntilStopped)
}

/// A resource of the API. A scope for all of them would cost each call about 700 instructions.
fn resource(path: &str) -> Resource {
    plain_resource(&[API, path].concat())
}

/// A resource outside of the API.
fn plain_resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(method_not_allowed)).app_data(Meters::new(path.to_owned()))
}

/// All that surrounds a handler. It is one middleware, since each one costs a call about 700 instructions.
async fn answered(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let id = request_id::of(&request);
    let unread = unread::share(&mut request);
    let answer = async {
        let started = Instant::now();
        let mut response = next.call(request).await?;
        cors::add_header(&mut response);
        replayed::mark(&mut response);
        health::measure(&response, started.elapsed());
        Ok::<_, actix_web::Error>(refused::delayed(response).await)
    };
    let mut response = request_id::during(id.clone(), answer).await?;
    let headers = response.headers_mut();
    request_id::insert(&id, headers);
    // Answers of the API must not be cached. Files of the dashboard set their own headers.
    for (name, value) in [(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(unread::hold(response, unread))
}

const API: &str = "/api/v1";

fn routes(config: &mut web::ServiceConfig) {
    // Routes are tried in this order.
    config
        .service(resource("/reserve").route(web::post().to(reserve::reserve)))
        .service(resource("/commit").route(web::post().to(commit::commit)))
        .service(resource("/release").route(web::post().to(release::release)))
        .service(resource("/extend").route(web::post().to(extend::extend)))
        .service(resource("/reservations/{id}/outcome").route(web::post().to(release::outcome)))
        .service(resource("/reservations/{id}/release").route(web::post().to(release::release_by_hand)))
        .service(resource("/track").route(web::post().to(track::track)))
        .service(resource("/can-use").route(web::post().to(can_use::can_use)))
        .service(
            resource("/batch").app_data(body::MostBytes(body::MOST_BATCH_BYTES)).route(web::post().to(batch::batch)),
        )
        .service(readable("/usage").route(web::get().to(usage::get_usage)))
        .service(readable("/usage/stream").route(web::get().to(usage::stream_usage)))
        .service(readable("/usage/history").route(web::get().to(history::history)))
        .service(resource("/events").route(web::get().to(events::list)))
        .service(resource("/events/stream").route(web::get().to(events::stream)))
        .service(
            resource("/explain")
                .route(web::get().to(explain::explain))
                .route(web::post().to(explain::draft::explain_draft)),
        )
        .service(
            resource("/subscriptions")
                .route(web::post().to(subscriptions::subscribe))
                .route(web::delete().to(subscriptions::cancel)),
        )
        .service(readable("/plans").route(web::get().to(plans::list)))
        .service(
            readable("/plans/{id}")
                .route(web::get().to(plans::get))
                .route(web::put().to(plans::put))
                .route(web::delete().to(plans::delete)),
        )
        .service(resource("/plans/{id}/versions").route(web::get().to(plans::versions)))
        .service(resource("/plans/{id}/rollback").route(web::post().to(plans::rollback)))
        .service(resource("/policies").route(web::get().to(policies::list)))
        .service(
            resource("/policies/{id}")
                .route(web::get().to(policies::get))
                .route(web::put().to(policies::put))
                .route(web::delete().to(policies::delete)),
        )
        .service(resource("/policies/{id}/versions").route(web::get().to(policies::versions)))
        .service(resource("/policies/{id}/rollback").route(web::post().to(policies::rollback)))
        .service(resource("/policies/{id}/review").route(web::post().to(policies::review)))
        .service(resource("/approvals").route(web::get().to(approvals::list)))
        .service(resource("/approvals/{id}").route(web::get().to(approvals::get)))
        .service(resource("/approvals/{id}/approve").route(web::post().to(approvals::approve)))
        .service(resource("/approvals/{id}/reject").route(web::post().to(approvals::reject)))
        .service(resource("/approvals/{id}/reopen").route(web::post().to(approvals::reopen)))
        .service(resource("/webhooks").route(web::get().to(endpoints::list)))
        .service(
            resource("/webhooks/{id}")
                .route(web::get().to(endpoints::get))
                .route(web::put().to(endpoints::put))
                .route(web::delete().to(endpoints::delete)),
        )
        .service(resource("/webhooks/{id}/rotate-secret").route(web::post().to(endpoints::rotate_secret)))
        .service(resource("/webhooks/{id}/deliveries").route(web::get().to(endpoints::deliveries)))
        .service(resource("/webhooks/{id}/deliveries/{delivery}/resend").route(web::post().to(endpoints::resend)))
        .service(resource("/alerts").route(web::get().to(alerts::list)))
        .service(resource("/reports/usage").route(web::get().to(reports::usage)))
        .service(resource("/reports/unusual").route(web::get().to(reports::unusual)))
        .service(resource("/reports/forecast").route(web::get().to(reports::forecast)))
        .service(resource("/reports/limits").route(web::get().to(reports::limits)))
        .service(resource("/estimates").route(web::get().to(estimates::estimates)))
        .service(resource("/whatif").route(web::post().to(whatif::whatif)))
        .service(resource("/counters").route(web::get().to(counters::list)))
        .service(resource("/users").route(web::get().to(users::list)))
        .service(resource("/users/{id}").route(web::get().to(users::get)).route(web::put().to(users::put)))
        .service(resource("/users/{id}/block").route(web::post().to(users::block)))
        .service(resource("/users/{id}/unblock").route(web::post().to(users::unblock)))
        .service(resource("/users/{id}/reset").route(web::post().to(users::reset)))
        .service(resource("/credits").route(web::post().to(credits::create)).route(web::get().to(credits::list)))
        .service(resource("/credits/{id}/void").route(web::post().to(credits::void)))
        .service(resource("/grants").route(web::post().to(grants::create)).route(web::get().to(grants::list)))
        .service(resource("/grants/{id}").route(web::delete().to(grants::delete)))
        .service(resource("/limits").route(web::get().to(limits::list)))
        .service(
            resource("/limits/{groupId}").route(web::put().to(limits::put)).route(web::delete().to(limits::delete)),
        )
        .service(resource("/audit").route(web::get().to(audit::list)))
        .service(resource("/app").route(web::get().to(settings::get)).route(web::put().to(settings::put)))
        .service(
            resource("/configuration")
                .app_data(body::MostBytes(body::MOST_DOCUMENT_BYTES))
                .route(web::get().to(apply::get))
                .route(web::put().to(apply::put)),
        )
        .service(resource("/keys").route(web::post().to(keys::create)).route(web::get().to(keys::list)))
        .service(resource("/keys/{id}").route(web::delete().to(keys::delete)))
        .service(
            resource("/session")
                .app_data(body::MostBytes(body::MOST_STRANGER_BYTES))
                .route(web::post().to(sessions::create))
                .route(web::get().to(sessions::get))
                .route(web::delete().to(sessions::delete)),
        )
        .service(resource("/apps").route(web::post().to(apps::create)).route(web::get().to(apps::list)))
        .service(resource("/apps/{id}").route(web::delete().to(apps::delete)))
        .service(resource("/nodes").route(web::get().to(registry::list)))
        .service(resource("/sandboxes").route(web::get().to(test_clock::sandboxes)))
        .service(
            resource("/test-clock")
                .route(web::put().to(test_clock::put))
                .route(web::get().to(test_clock::get))
                .route(web::delete().to(test_clock::delete)),
        )
        .service(plain_resource("/healthz").route(web::get().to(health::healthz)))
        .service(plain_resource("/readyz").route(web::get().to(health::readyz)))
        .service(plain_resource("/metrics").route(web::get().to(health::metrics)))
        .service(plain_resource("/openapi.json").route(web::get().to(openapi::serve)))
        .configure(dashboard::routes);
}

/// A resource that browsers may read with publishable keys.
fn readable(path: &str) -> Resource {
    resource(path).route(web::method(actix_web::http::Method::OPTIONS).to(cors::preflight))
}

async fn not_found(request: HttpRequest) -> Result<actix_web::HttpResponse, ApiError> {
    Err(ServiceError::NotFound(format!("The path {} does not exist.", request.path())).into())
}

async fn method_not_allowed(request: HttpRequest) -> Result<actix_web::HttpResponse, ApiError> {
    let pattern = request.match_pattern().unwrap_or_default();
    Err(ApiError::MethodNotAllowed { allow: openapi::methods(&pattern).join(", ") })
}
