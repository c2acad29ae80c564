//! `POST`, `GET` and `DELETE keys`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::Sandbox;
use crate::domain::values::metadata::Metadata;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, idempotency_without_body};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::access::key_record::{KeyKind, KeyMode, Role};
use crate::service::access::keys::{KeyView, NewKey};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyBody {
    kind: KeyKind,
    /// For secret and publishable keys.
    mode: Option<KeyMode>,
    /// For test keys; default `main`.
    #[schema(value_type = Option<String>)]
    sandbox: Option<Sandbox>,
    /// For admin keys.
    role: Option<Role>,
    name: Option<String>,
    /// For secret keys: overrides the metadata that the caller sends.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
    /// For publishable keys: the origins from which browsers may use the key.
    #[serde(default)]
    origins: Vec<String>,
    /// For publishable keys: reading usage requires `X-User-Token`.
    #[serde(default)]
    require_user_token: bool,
}

impl KeyBody {
    fn check(&self) -> Result<NewKey, Vec<FieldError>> {
        let new = NewKey {
            kind: self.kind,
            mode: self.mode,
            sandbox: self.sandbox.clone(),
            role: self.role,
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            origins: self.origins.clone(),
            require_user_token: self.require_user_token,
        };
        new.check().map(|()| new)
    }
}

/// Create a key; the answer is the only place that shows it
#[utoipa::path(post, path = "/api/v1/keys", tag = "Keys", request_body = KeyBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = KeyView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn create(principal: Principal, body: Body<KeyBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let ParsedBody { value: new, idempotency } = body.read_as(KeyBody::check).await?;
    let created = principal.gateway.create_key(&principal.tenant, new, &principal.key.id, idempotency.as_ref()).await?;
    Ok(HttpResponse::Created().json(created))
}

/// List keys with their masked prefixes
#[utoipa::path(get, path = "/api/v1/keys", tag = "Keys",
    responses((status = 200, body = ListView<KeyView>), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn list(principal: Principal) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    Ok(HttpResponse::Ok().json(ListView::whole(principal.gateway.list_keys(&principal.tenant.app).await?)))
}

/// Revoke a key on all nodes within one second
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "Keys", params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(
    principal: Principal,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Configure)?;
    let (by, idempotency) = (&principal.key.id, idempotency_without_body(&request)?);
    principal.gateway.delete_key(&principal.tenant.app, &id, by, idempotency.as_ref()).await?;
    Ok(HttpResponse::NoContent().finish())
}
