//! `POST`, `GET` and `DELETE session`: how an operator signs in to the dashboard. The browser keeps a cookie that
//! scripts cannot read; writes with the cookie also need the session's CSRF token.

use actix_web::http::Method;
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::wire::body::{Body, Given};
use crate::http::wire::header::{Header, single};
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::access::keys::Role;
use crate::service::access::sessions::{LIFETIME_MS, Session};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;

const NAME: &str = "quotagate_session";

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

fn cookie(request: &HttpRequest, id: &str, lifetime_s: u64) -> String {
    // Also behind a proxy that terminates TLS and says so.
    let secure = if request.connection_info().scheme() == "https" { "; Secure" } else { "" };
    format!("{NAME}={id}; Path=/; Max-Age={lifetime_s}; HttpOnly; SameSite=Strict{secure}")
}

/// The session of the request's cookie. A write also needs the CSRF token.
///
/// # Errors
/// invalid_key, invalid_csrf_token, invalid_request
pub async fn of(request: &HttpRequest, gateway: &Gateway) -> Result<Session, ApiError> {
    let session = gateway.session(&id_of(request)?.ok_or(ServiceError::InvalidKey)?).await?;
    // A token that is repeated or cannot be read counts as wrong.
    let token = single(request, Header::CsrfToken).ok().flatten();
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    match reads || session.accepts_csrf_token(token) {
        true => Ok(session),
        false => Err(ApiError::CsrfToken),
    }
}

/// Whether the request has a session cookie, valid or not.
pub fn is_presented(request: &HttpRequest) -> bool {
    id_of(request).is_ok_and(|id| id.is_some())
}

/// The ID in the session's cookie. Other cookies are ignored.
///
/// # Errors
/// invalid_request if there are two: a page on a neighbouring domain could have set one of them.
fn id_of(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let cookies = request.headers().get_all(COOKIE).flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let own = |pair: &'_ [u8]| {
        let value = pair.trim_ascii().strip_prefix(NAME.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())
    };
    let mut ids = cookies.filter_map(own);
    match (ids.next(), ids.next()) {
        (id, None) => Ok(id),
        _ => Err(ApiError::invalid("Cookie", format!("must have `{NAME}` only once"))),
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
    let Given { value, .. } = body.read().await?;
    let session = gateway.open_session(value.key.trim()).await?;
    let cookie = cookie(&request, &session.id, LIFETIME_MS / 1000);
    Ok(HttpResponse::Ok().insert_header((SET_COOKIE, cookie)).json(view(&session)))
}

/// Read who is signed in with the cookie
#[utoipa::path(get, path = "/api/v1/session", tag = "Session",
    responses((status = 200, body = SessionView), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(view(&of(&request, &gateway).await?)))
}

/// Sign out on every node at once
#[utoipa::path(delete, path = "/api/v1/session", tag = "Session", params(("X-CSRF-Token" = String, Header)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn delete(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    gateway.end_session(&of(&request, &gateway).await?).await?;
    Ok(HttpResponse::NoContent().insert_header((SET_COOKIE, cookie(&request, "", 0))).finish())
}
