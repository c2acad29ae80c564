//! Every answer carries a request ID: the client's `X-Request-Id` if it is valid, otherwise a new one.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::values::digits::hex_text;

tokio::task_local! {
    static CURRENT: String;
}

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The ID of the request that this task answers; empty outside of a request.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

fn header_id(request: &ServiceRequest) -> Option<String> {
    let text = request.headers().get(HEADER)?.to_str().ok()?;
    let plain = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain.then(|| text.to_owned())
}

/// The request's ID: the client's, or a new one.
pub fn of(request: &ServiceRequest) -> String {
    header_id(request).unwrap_or_else(|| ["req_", &hex_text(&rand::random::<[u8; 8]>())].concat())
}

/// Runs what answers the request with this ID.
pub fn during<F: Future>(id: String, answer: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(id, answer)
}

/// Adds the ID to an answer.
pub fn insert(id: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HEADER, value);
    }
}
