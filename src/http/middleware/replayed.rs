//! Marks replayed answers of repeated writes with `Idempotent-Replayed`.

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::domain::metering::idempotency::Replayed;

pub const HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Adds the header to a replayed answer.
pub fn mark(response: &mut ServiceResponse<impl MessageBody>) {
    let is_repetition = response.request().extensions().get::<Replayed>().is_some_and(Replayed::is_set);
    if is_repetition && response.status().is_success() {
        response.headers_mut().insert(HEADER, HeaderValue::from_static("true"));
    }
}
