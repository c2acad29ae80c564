//! Documents with a version: `ETag` in answers, `If-Match` in requests, and the body of a rollback.

use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::wire::header::{Header, single};
use crate::http::wire::problem::ApiError;
use crate::service::configuration::plans::IfMatch;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    pub(in crate::http) version: u64,
}

/// Answers with a document and its version as `ETag`.
pub fn versioned(version: u64, document: impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((ETAG, format!("\"{version}\""))).json(document)
}

/// The value of `If-Match`: `*`, or a version as its `ETag` or as a plain number.
///
/// # Errors
/// invalid_request for anything else, since no version has such a tag.
pub fn if_match(request: &HttpRequest) -> Result<IfMatch, ApiError> {
    let Some(text) = single(request, Header::IfMatch)? else {
        return Ok(IfMatch::Absent);
    };
    if text == "*" {
        return Ok(IfMatch::Any);
    }
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = Some(quoted.unwrap_or(text)).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let version = digits.and_then(|digits| digits.parse().ok());
    let invalid = || Header::IfMatch.invalid("must be `*` or one version, such as \"7\", as in `ETag`");
    version.map(IfMatch::Version).ok_or_else(invalid)
}
