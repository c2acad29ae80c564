//! `GET` and `PUT configuration`: plans, policies, webhooks and settings as one document.

use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::versioned::{if_match, versioned};
use crate::service::configuration::apply::{Applied, ApplyRequest, Configuration};

/// Read the whole configuration as a document that can be applied; its ETag is the configuration's revision
///
/// URLs of webhooks are shown in full to admin keys only; other keys see the host.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "Configuration",
    responses((status = 200, body = Configuration), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let (configuration, revision) = principal.gateway.configuration(&principal.tenant).await?;
    let may_edit = principal.require(Access::Configure).is_ok();
    let configuration = if may_edit { configuration } else { configuration.masked() };
    Ok(versioned(revision, configuration))
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    /// Return what would change, and write nothing.
    #[serde(default)]
    dry_run: bool,
    /// False: entries that the document does not list stay, and the response lists them.
    #[serde(default = "yes")]
    #[param(default = true)]
    prune: bool,
}

/// Make the configuration match a document, completely or not at all
///
/// A section that is missing in the document stays unchanged. In a section that is present, entries that the document
/// does not list are deleted, unless `prune=false`. With `dryRun=true` nothing is written. `revision` and the ETag of its
/// answer are the configuration's revision: as `If-Match` of the same call without `dryRun` it makes sure that exactly
/// those changes are made. A dry run that would be refused is answered with the same problem, which has the difference as `preview`.
/// At most 1 MiB.
#[utoipa::path(put, path = "/api/v1/configuration", tag = "Configuration", request_body = Configuration,
    params(ApplyQuery, ("If-Match" = Option<String>, Header), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Applied), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(
    principal: Principal,
    request: HttpRequest,
    query: Query<ApplyQuery>,
    body: Body<Configuration>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ApplyQuery { dry_run, prune } = query.read()?;
    let ParsedBody { value, idempotency } = body.read_checked(Configuration::faults).await?;
    let (gateway, tenant) = (&principal.gateway, &principal.tenant);
    let wanted = ApplyRequest { document: &value, prune, if_match: if_match(&request)? };
    if !dry_run {
        let applied = gateway.apply(tenant, &wanted, &principal.key.id, idempotency.as_ref()).await?;
        return Ok(HttpResponse::Ok().json(applied));
    }
    let previewed = gateway.preview_configuration(tenant, &wanted).await?;
    match previewed.refusal {
        Some(error) => Err(ApiError::RefusedDryRun { error, preview: Box::new(previewed.applied) }),
        None => Ok(versioned(previewed.revision, previewed.applied)),
    }
}
