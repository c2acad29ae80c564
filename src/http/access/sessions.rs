//! `POST`, `GET` and `DELETE session`: how an operator signs in to the dashboard. The browser keeps a cookie that
//! scripts cannot read; writes with the cookie also need the session's CSRF token.

use actix_web::http::header::SET_COOKIE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::wire::body::{Body, ParsedBody};
use crate::http::wire::header::{Header, single};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::session_cookie;
use crate::service::access::key_record::Role;
use crate::service::access::sessions::{LIFETIME_MS, Session};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionBody {
    /// An admin key (`ak_…`).
    key: String,
}

/// The signed-in operator.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: Option<Role>,
    /// Null for the root key, which names its app in `X-App`.
    app: Option<String>,
    /// Must be sent as `X-CSRF-Token` with every write.
    csrf_token: String,
    expires_at: String,
}

fn view(session: &Session) -> SessionView {
    SessionView {
        key_id: session.key.id.to_string(),
        name: session.key.name.clone(),
        role: session.key.role,
        app: session.key.app.as_ref().map(ToString::to_string),
        csrf_token: session.csrf_token(),
        expires_at: session.expires_at.clone(),
    }
}

/// Exchange an admin key for a session: a cookie that is valid for 12 hours or until the key is revoked
#[utoipa::path(post, path = "/api/v1/session", tag = "Session", request_body = SessionBody, security(()),
    responses((status = 200, body = SessionView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn create(
    gateway: web::Data<Gateway>,
    request: HttpRequest,
    body: Body<SessionBody>,
) -> Result<HttpResponse, ApiError> {
    // Prevents other sites from signing a user in.
    let site = single(&request, Header::FetchSite)?;
    if !matches!(site, None | Some("same-origin" | "none")) {
        return Err(ServiceError::ForbiddenKey("Sign in from the dashboard's own page.".to_owned()).into());
    }
    let ParsedBody { value, .. } = body.read().await?;
    let session = gateway.open_session(value.key.trim()).await?;
    let cookie = session_cookie::cookie(&request, &session.id, LIFETIME_MS / 1000);
    Ok(HttpResponse::Ok().insert_header((SET_COOKIE, cookie)).json(view(&session)))
}

/// Read who is signed in with the cookie
#[utoipa::path(get, path = "/api/v1/session", tag = "Session",
    responses((status = 200, body = SessionView), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(view(&session_cookie::of(&request, &gateway).await?)))
}

/// Sign out on every node at once
#[utoipa::path(delete, path = "/api/v1/session", tag = "Session", params(("X-CSRF-Token" = String, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    gateway.end_session(&session_cookie::of(&request, &gateway).await?).await?;
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, session_cookie::cookie(&request, "", 0))).finish())
}
