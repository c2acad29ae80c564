//! `POST extend`.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::call::{count_decision, decided, ttl_ms};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::DecisionView;
use crate::service::metering::decision::Decision;
use crate::service::metering::extend::Extension;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendBody {
    pub(in crate::http) reservation_id: String,
    /// Counted from now; 1 to 3600.
    #[schema(minimum = 1, maximum = 3600)]
    ttl_seconds: Option<u64>,
    /// Additional amount, checked like a reserve.
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
}

impl ExtendBody {
    fn check(&self) -> Result<Extension, Vec<FieldError>> {
        let mut faults = Faults::default();
        let ttl_ms = self.ttl_seconds.and_then(|seconds| ttl_ms(seconds, &mut faults));
        if self.ttl_seconds.is_none() && self.quantity.is_none() {
            faults.add("ttlSeconds", "is required; provide `ttlSeconds`, `quantity` or both");
        }
        if self.quantity.is_some_and(|quantity| quantity.0.is_zero()) {
            faults.add("quantity", "must be greater than 0");
        }
        faults.or(Some(Extension { ttl_ms, quantity: self.quantity }))
    }

    pub(super) fn faults(&self) -> Vec<FieldError> {
        self.check().err().unwrap_or_default()
    }
}

/// Extend the time of a reservation, its amount, or both
#[utoipa::path(post, path = "/api/v1/extend", tag = "Metering", request_body = ExtendBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = DecisionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn extend(principal: Principal, body: Body<ExtendBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let ParsedBody { value, idempotency } = body.read_checked(ExtendBody::faults).await?;
    decided(&decide_extend(&principal, value, idempotency.as_ref()).await?)
}

/// Extends the reservation that the body names.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn decide_extend(
    principal: &Principal,
    body: ExtendBody,
    idempotency: Option<&Idempotency>,
) -> Result<Decision, ApiError> {
    let extension = body.check()?;
    let decision = principal.gateway.extend(&principal.tenant, &body.reservation_id, extension, idempotency).await?;
    count_decision("extend", &decision);
    Ok(decision)
}
