//! `POST release`, by applications and by operators, and the outcome of a reservation.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{count, replayed};
use super::settlement::{SettlementView, count_settlement, settled};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::reporting::ledger::Outcome;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::metering::settle::{Release, Settlement};

/// Checks a text that is stored with a call.
fn note(field: &str, text: Option<&str>, faults: &mut Faults) {
    if text.is_some_and(|text| text.len() > 256 || text.chars().any(char::is_control)) {
        faults.add(field, "must have at most 256 bytes without control characters");
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseBody {
    pub(in crate::http) reservation_id: String,
    reason: Option<String>,
    error_code: Option<String>,
}

impl ReleaseBody {
    pub(super) fn faults(&self) -> Vec<FieldError> {
        let mut faults = Faults::default();
        note("reason", self.reason.as_deref(), &mut faults);
        note("errorCode", self.error_code.as_deref(), &mut faults);
        faults.0
    }
}

/// Return everything that is still held
#[utoipa::path(post, path = "/api/v1/release", tag = "Metering", request_body = ReleaseBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn release(principal: Principal, body: Body<ReleaseBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let ParsedBody { value, idempotency } = body.read_checked(ReleaseBody::faults).await?;
    settled(&settle_release(&principal, value, idempotency.as_ref()).await?)
}

/// Releases the reservation that the body names.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn settle_release(
    principal: &Principal,
    body: ReleaseBody,
    idempotency: Option<&Idempotency>,
) -> Result<Settlement, ApiError> {
    let faults = body.faults();
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let release = Release { reason: body.reason, error_code: body.error_code };
    let settlement = principal.gateway.release(&principal.tenant, &body.reservation_id, release, idempotency).await?;
    count_settlement("release", &settlement);
    Ok(settlement)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseByHandBody {
    /// The reason; recorded in the ledger and in the audit log. At most 256 bytes.
    reason: Option<String>,
}

impl ReleaseByHandBody {
    fn check(&self) -> Result<Option<String>, Vec<FieldError>> {
        let mut faults = Faults::default();
        note("reason", self.reason.as_deref(), &mut faults);
        faults.or(Some(self.reason.clone()))
    }
}

/// Release a reservation as an operator
///
/// For example when a worker hangs and its hold blocks other calls. If the application is still working, its commit
/// then fails with 409 `reservation_not_pending`.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/release", tag = "Users", request_body = ReleaseByHandBody,
    operation_id = "release_reservation", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn release_by_hand(
    principal: Principal,
    id: web::Path<String>,
    body: Body<ReleaseByHandBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let ParsedBody { value: reason, idempotency } = body.read_as(ReleaseByHandBody::check).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let released = gateway.release_by_hand(&principal.tenant, &id, reason, by, idempotency.as_ref()).await?;
    count_settlement("release_by_hand", &released);
    settled(&released)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeBody {
    outcome: Outcome,
}

/// The outcome of a commit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeView {
    reservation_id: String,
    outcome: Outcome,
    /// The same outcome was recorded before; nothing changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

/// Record whether the result was accepted or rejected
///
/// For reports such as the cost per accepted result. Possible until 15 minutes after the reservation's expiry; a later
/// call replaces the outcome.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/outcome", tag = "Metering", request_body = OutcomeBody,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = OutcomeView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn outcome(
    principal: Principal,
    id: web::Path<String>,
    body: Body<OutcomeBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let ParsedBody { value: OutcomeBody { outcome }, idempotency } = body.read().await?;
    let reservation_id = id.into_inner();
    let (gateway, tenant) = (&principal.gateway, &principal.tenant);
    let was = gateway.outcome(tenant, &reservation_id, outcome, idempotency.as_ref()).await?;
    count("outcome", outcome.as_str());
    let mut response = HttpResponse::Ok();
    replayed(&mut response, was);
    Ok(response.json(OutcomeView { reservation_id, outcome, replayed: was }))
}
