//! `POST reserve`.

use actix_web::HttpResponse;
use serde::Deserialize;

use super::call::{ReserveBody, call, call_faults, count_decision, decided};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::field_error::FieldError;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::DecisionView;
use crate::service::metering::decision::Decision;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveQuery {
    on_deny: Option<String>,
}

/// Check every limit that applies, and hold the amount in all of them or in none
#[utoipa::path(post, path = "/api/v1/reserve", tag = "Metering", request_body = ReserveBody,
    params(("onDeny" = Option<u16>, Query, description = "429: a denial is a 429 problem"), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DecisionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn reserve(
    principal: Principal,
    query: Query<ReserveQuery>,
    body: Body<ReserveBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let deny_status = query.read_as(|query| match query.on_deny.as_deref() {
        None | Some("200") => Ok(false),
        Some("429") => Ok(true),
        Some(_) => Err(vec![FieldError::new("onDeny", "must be 200 or 429")]),
    })?;
    let ParsedBody { value, idempotency } = body.read_checked(|body| call_faults(&principal, body)).await?;
    let decision = decide_reserve(&principal, value, idempotency.as_ref()).await?;
    if deny_status && !decision.allowed {
        return Err(ApiError::Denied { decision: Box::new(decision) });
    }
    decided(&decision)
}

/// Reserves as the body requests.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_reserve(
    principal: &Principal,
    body: ReserveBody,
    idempotency: Option<&Idempotency>,
) -> Result<Decision, ApiError> {
    let (call, ttl_ms) = call(principal, body)?;
    let decision = principal.gateway.reserve(&principal.tenant, &call, ttl_ms, idempotency).await?;
    count_decision("reserve", &decision);
    Ok(decision)
}
