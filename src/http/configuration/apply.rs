//! `GET` and `PUT configuration`: the whole of it as one document.

use actix_web::HttpResponse;

use super::plans::DryRun;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, Given, Query};
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::configuration::apply::{Applied, Configuration};

/// Read the whole configuration as a document that can be applied
///
/// Other keys than an admin's read only the hosts of webhooks' URLs.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "Configuration",
    responses((status = 200, body = Configuration), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let configuration = principal.gateway.configuration(&principal.tenant).await?;
    let may_edit = principal.require(Access::Configure).is_ok();
    Ok(HttpResponse::Ok().json(if may_edit { configuration } else { configuration.masked() }))
}

/// Make the configuration match a document, in one step or not at all
///
/// A part that is left out stays as it is; of a part that is there, what is not in it is deleted. At most 1 MiB.
#[utoipa::path(put, path = "/api/v1/configuration", tag = "Configuration", request_body = Configuration, params(DryRun, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Applied), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    query: Query<DryRun>,
    body: Body<Configuration>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let dry_run = query.read()?.dry_run;
    let Given { value, idempotency } = body.read().await?;
    let (gateway, tenant) = (&principal.gateway, &principal.tenant);
    let applied = match dry_run {
        true => gateway.preview_configuration(tenant, &value).await?,
        false => gateway.apply(tenant, &value, &principal.key.id, idempotency.as_ref()).await?,
    };
    Ok(HttpResponse::Ok().json(applied))
}
