//! `POST commit`.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use super::call::claimed;
use super::settlement::{SettlementView, count_settlement, settled};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::Actual;
use crate::domain::reporting::ledger::Outcome;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::metering::settle::{Commit, Settlement};

const fn yes() -> bool {
    true
}

/// How to treat a commit after the reservation has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IfExpired {
    /// Within 15 minutes after expiry it is charged and flagged as late, since the amount was spent.
    #[default]
    Charge,
    /// The commit fails with 410.
    Reject,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitBody {
    pub(in crate::http) reservation_id: String,
    /// The actual quantity; 0 is allowed.
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
    /// Actual figures, merged over the metadata of the reserve.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// With false, this amount is charged and the rest stays held.
    #[serde(default = "yes", rename = "final")]
    is_final: bool,
    #[serde(default)]
    if_expired: IfExpired,
    /// How useful the result was; can also be sent later with `POST reservations/{id}/outcome`.
    outcome: Option<Outcome>,
    /// Figures of a reservation with several items, in the same order; cannot be combined with `quantity` or
    /// `metadata`.
    items: Option<Vec<ActualBody>>,
}

/// Actual figures of one item.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActualBody {
    #[schema(value_type = Option<NumberOrText>)]
    quantity: Option<Number>,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
}

/// The figures of a commit: none, one set for the reservation, or one set per item. The key's metadata overrides the
/// caller's; without figures from the caller there are none.
fn figures(
    principal: &Principal,
    quantity: Option<Number>,
    metadata: Metadata,
    items: Option<Vec<ActualBody>>,
) -> Result<Vec<Actual>, Vec<FieldError>> {
    let actual = |quantity: Option<Number>, metadata: Metadata| -> Result<Actual, FieldError> {
        let metadata = if metadata.is_empty() { metadata } else { claimed(principal, metadata)? };
        Ok(Actual { quantity, metadata })
    };
    let of_call = quantity.is_some() || !metadata.is_empty();
    match items {
        None if !of_call => Ok(Vec::new()),
        None => Ok(vec![actual(quantity, metadata).map_err(|fault| vec![fault])?]),
        Some(items) => {
            let mut faults = Faults::default();
            if of_call {
                faults.add("items", "cannot be combined with `quantity` or `metadata`");
            }
            let mut found = Vec::with_capacity(items.len());
            for (place, item) in items.into_iter().enumerate() {
                let item =
                    actual(item.quantity, item.metadata).map_err(|fault| fault.within(&format!("items[{place}]")));
                found.extend(faults.take(item));
            }
            faults.or(Some(found))
        }
    }
}

/// The faults of a body.
pub(super) fn commit_faults(principal: &Principal, body: &CommitBody) -> Vec<FieldError> {
    figures(principal, body.quantity, body.metadata.clone(), body.items.clone()).err().unwrap_or_default()
}

/// Charge what was spent, and return the rest of the hold
#[utoipa::path(post, path = "/api/v1/commit", tag = "Metering", request_body = CommitBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SettlementView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 410, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn commit(principal: Principal, body: Body<CommitBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    let ParsedBody { value, idempotency } = body.read_checked(|body| commit_faults(&principal, body)).await?;
    settled(&settle_commit(&principal, value, idempotency.as_ref()).await?)
}

/// Commits as the body says.
///
/// # Errors
/// As the route.
pub(in crate::http) async fn settle_commit(
    principal: &Principal,
    body: CommitBody,
    idempotency: Option<&Idempotency>,
) -> Result<Settlement, ApiError> {
    let commit = Commit {
        actual: figures(principal, body.quantity, body.metadata, body.items)?,
        is_final: body.is_final,
        reject_late: body.if_expired == IfExpired::Reject,
        outcome: body.outcome,
    };
    let settlement = principal.gateway.commit(&principal.tenant, &body.reservation_id, &commit, idempotency).await?;
    count_settlement("commit", &settlement);
    Ok(settlement)
}
