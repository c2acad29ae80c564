//! `GET` and `PUT app`: the settings of an app.

use actix_web::HttpResponse;

use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::configuration::app_config::Settings;

/// Read the app's settings
#[utoipa::path(get, path = "/api/v1/app", tag = "App",
    responses((status = 200, body = Settings), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    Ok(HttpResponse::Ok().json(principal.gateway.settings(&principal.tenant).await?))
}

/// Replace the app's settings; a field that is left out returns to its default
#[utoipa::path(put, path = "/api/v1/app", tag = "App", request_body = Settings, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Settings), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(principal: Principal, body: Body<Settings>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ParsedBody { value, idempotency } = body.read().await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    Ok(HttpResponse::Ok().json(gateway.put_settings(&principal.tenant, &value, by, idempotency.as_ref()).await?))
}
