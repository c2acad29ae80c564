//! The cookie of a dashboard's session.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::COOKIE;

use super::header::{Header, single};
use super::problem::ApiError;
use crate::service::access::sessions::Session;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;

const NAME: &str = "quotagate_session";

/// The value of `Set-Cookie`.
pub fn cookie(request: &HttpRequest, id: &str, lifetime_s: u64) -> String {
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
