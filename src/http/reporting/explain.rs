//! `GET explain`: why a call was or would be allowed or denied.

pub mod draft;
mod reservation;
mod summary;
mod views;

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::metering::reservation::ONE;
use crate::domain::values::amount::parse_decimal;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{EventName, UserId};
use crate::domain::values::number::Number;
use crate::http::metering::call::item;
use crate::http::metering::usage::{scope_values, unknown_scope};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::access::key_record::KeyKind;
use crate::service::error::positive;
use crate::service::metering::call::CallItem;
use crate::service::reporting::explain::Question;
use reservation::ExplainedReservationView;
use views::ExplainedCallView;

/// The parameters besides `key` and `metadata.<name>`.
const PARAMETERS: [&str; 4] = ["reservationId", "userId", "event", "quantity"];

/// Either `reservationId`, or `userId` and `event` with the other fields of a reserve.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainQuery {
    reservation_id: Option<String>,
    user_id: Option<String>,
    event: Option<String>,
    quantity: Option<String>,
    /// The parameters `key` and `metadata.<name>`.
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

impl ExplainQuery {
    /// `reservationId` cannot be combined with the parameters of a call.
    fn is_alone(&self) -> Result<(), Vec<FieldError>> {
        let given = [("userId", &self.user_id), ("event", &self.event), ("quantity", &self.quantity)];
        let named = given.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
        let mut faults = Faults::default();
        let (known, unknown): (Vec<&str>, Vec<&str>) =
            self.rest.keys().map(String::as_str).partition(|name| *name == "key" || name.starts_with("metadata."));
        for name in named.chain(known) {
            faults.add(name, "cannot be combined with `reservationId`");
        }
        faults.0.extend(unknown.into_iter().map(|name| unknown_scope(name, &PARAMETERS)));
        faults.or(Some(()))
    }
}

/// Why a call was or would be allowed or denied.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplanationView {
    /// For `userId` and `event`: the answer that a reserve would get now.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<ExplainedCallView>,
    /// For `reservationId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<ExplainedReservationView>,
}

/// What to explain.
enum Asked {
    Reservation(String),
    Call(Box<Question>),
}

/// The call that the parameters describe. A secret key explains calls of itself, with its own metadata, unless the
/// query names another key.
fn question(principal: &Principal, query: ExplainQuery) -> Result<Question, Vec<FieldError>> {
    let mut faults = Faults::default();
    let missing = "is required; provide it or `reservationId`";
    let user = faults.check("userId", query.user_id.ok_or(missing));
    let user = user.and_then(|user| faults.check("userId", UserId::parse(&user)));
    let event = faults.check("event", query.event.ok_or(missing));
    let event = event.and_then(|event| faults.check("event", EventName::parse(&event)));
    let quantity = query.quantity.as_deref().map(parse_decimal).transpose();
    let quantity = faults.check("quantity", quantity).flatten().map_or(ONE, Number);
    let (key, metadata) = scope_values(query.rest, &PARAMETERS, &mut faults);
    let own = principal.key.kind == KeyKind::Secret && key.as_ref().is_none_or(|key| *key == principal.key.id);
    let item = event.and_then(|event| match own {
        true => faults.take(item(principal, event, quantity, metadata)),
        false => Some(CallItem { event, quantity, metadata }),
    });
    faults.0.extend(match &item {
        Some(item) => item.faults(),
        None => positive(quantity).err().into_iter().collect(),
    });
    let key = key.or_else(|| own.then(|| principal.key.id.clone()));
    faults.or(user.zip(item).map(|(user, item)| Question { user, item, key }))
}

/// Explain what happened to a reservation, or why a call would be allowed or denied now, without writing anything
#[utoipa::path(get, path = "/api/v1/explain", tag = "Usage",
    params(("reservationId" = Option<String>, Query, description = "a reservation; cannot be combined with the other parameters"),
        ("userId" = Option<String>, Query), ("event" = Option<String>, Query), ("quantity" = Option<String>, Query, description = "default 1"),
        ("metadata.{name}" = Option<String>, Query, description = "metadata of the call"),
        ("key" = Option<String>, Query, description = "ID of the calling key; default: the secret key of this request")),
    responses((status = 200, body = ExplanationView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 410, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn explain(
    principal: Principal,
    query: Query<ExplainQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Explain)?;
    let asked = query.read_as(|query| match query.reservation_id.clone() {
        Some(id) => query.is_alone().map(|()| Asked::Reservation(id)),
        None => question(&principal, query).map(|question| Asked::Call(Box::new(question))),
    })?;
    let view = match asked {
        Asked::Reservation(id) => {
            let reservation = readers.run(Reader::Scan, principal, async move |principal| {
                let (gateway, tenant) = (&principal.gateway, &principal.tenant);
                let explained = gateway.explain_reservation(tenant, &id).await?;
                let config = gateway.load_config(&tenant.app).await?;
                Ok(ExplainedReservationView::new(&config, &explained))
            });
            ExplanationView { call: None, reservation: Some(reservation.await?) }
        }
        Asked::Call(question) => {
            let call = readers.run(Reader::Page, principal, async move |principal| {
                let explanation = principal.gateway.explain(&principal.tenant, &question).await?;
                Ok(ExplainedCallView::new(&question, &explanation))
            });
            ExplanationView { call: Some(call.await?), reservation: None }
        }
    };
    Ok(HttpResponse::Ok().json(view))
}
