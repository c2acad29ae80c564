//! Every repeated write says so, also where its answer is all that was kept of the first.

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;

use crate::store::operation::Replayed;

pub const HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");

pub async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    let told = response.request().extensions().get::<Replayed>().is_some_and(Replayed::is_told);
    if told && response.status().is_success() {
        response.headers_mut().insert(HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}
