//! Cross-origin reads with publishable keys. A preflight request carries no key, so every origin gets an answer. The
//! read itself is allowed only from the key's origins.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};

/// The origin from which the request's key may be used.
pub struct AllowedOrigin(pub String);

pub async fn preflight(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    if let Some(origin) = request.headers().get(ORIGIN) {
        response.insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        response.insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET"));
        response.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "authorization, x-api-key, x-user-token, x-request-id"));
        response.insert_header((ACCESS_CONTROL_MAX_AGE, "600"));
        response.insert_header((VARY, "Origin"));
    }
    response.finish()
}

/// Adds the headers that allow the browser's page to read the answer.
pub fn add_header(response: &mut ServiceResponse<impl MessageBody>) {
    let origin = response.request().extensions().get::<AllowedOrigin>().map(|origin| origin.0.clone());
    if let Some(value) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, retry-after, ratelimit, ratelimit-policy"),
        );
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}
