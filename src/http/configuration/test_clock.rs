//! `GET sandboxes`; `PUT`, `GET` and `DELETE test-clock`.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::time::window::{TimeMs, parse_rfc3339, rfc3339};
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{Mode, Sandbox};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Body;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockBody {
    /// RFC 3339; the clock only moves forward.
    now: String,
}

impl ClockBody {
    fn check(&self) -> Result<TimeMs, Vec<FieldError>> {
        let wrong =
            || FieldError::new("now", "must be an RFC 3339 time of 1970 or later, such as 2026-01-31T10:00:00Z");
        parse_rfc3339(&self.now).filter(|now| *now >= 0).ok_or_else(|| vec![wrong()])
    }
}

/// A sandbox's clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClockView {
    /// Null while the sandbox runs on real time.
    now: Option<String>,
}

/// A sandbox of test mode.
#[derive(Debug, Serialize, ToSchema)]
pub struct SandboxView {
    sandbox: String,
    /// The value for `X-Mode`.
    mode: String,
    /// The time of its clock; null while it runs on real time.
    now: Option<String>,
}

/// List the app's sandboxes with their clocks; a sandbox is created with its first test key
#[utoipa::path(get, path = "/api/v1/sandboxes", tag = "Test clock",
    responses((status = 200, body = ListView<SandboxView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn sandboxes(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let found = principal.gateway.sandboxes(&principal.tenant).await?;
    let view = |(sandbox, now): (Sandbox, Option<TimeMs>)| SandboxView {
        sandbox: sandbox.to_string(),
        mode: Mode::Test(sandbox).to_string(),
        now: now.map(rfc3339),
    };
    Ok(HttpResponse::Ok().json(ListView::whole(found.into_iter().map(view).collect())))
}

/// Freeze the sandbox's clock at a time, or move it forward
#[utoipa::path(put, path = "/api/v1/test-clock", tag = "Test clock", request_body = ClockBody,
    responses((status = 200, body = ClockView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn put(principal: Principal, body: Body<ClockBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::TestClock)?;
    let now = body.read_as(ClockBody::check).await?.value;
    principal.gateway.set_test_clock(&principal.tenant, now).await?;
    Ok(HttpResponse::Ok().json(ClockView { now: Some(rfc3339(now)) }))
}

/// Read the sandbox's clock
#[utoipa::path(get, path = "/api/v1/test-clock", tag = "Test clock",
    responses((status = 200, body = ClockView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::TestClock)?;
    let now = principal.gateway.test_clock(&principal.tenant).await?;
    Ok(HttpResponse::Ok().json(ClockView { now: now.map(rfc3339) }))
}

/// Empty the sandbox and return it to real time; configuration and keys are not changed
#[utoipa::path(delete, path = "/api/v1/test-clock", tag = "Test clock",
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::TestClock)?;
    principal.gateway.empty_sandbox(&principal.tenant).await?;
    Ok(HttpResponse::NoContent().finish())
}
