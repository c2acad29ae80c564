//! Errors on the wire: `application/problem+json` (RFC 9457).

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT_ENCODING, ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::rate_limit;
use super::views::DecisionView;
use crate::domain::metering::reason::Reason;
use crate::domain::values::field_error::FieldError;
use crate::http::middleware::readers::Reader;
use crate::http::middleware::request_id;
use crate::service::error::ServiceError;
use crate::service::metering::decision::Decision;

/// Seconds that a client should wait before it asks an unavailable store again.
const STORE_RETRY_AFTER_S: u64 = 1;

/// RFC 9457, with a code that programs can rely on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `https://quotagate.dev/problems/<code>`: an identifier, not necessarily a page.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub code: &'static str,
    pub detail: String,
    pub request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `reservation_not_pending`: `held`, `committed` or `released`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation_status: Option<String>,
    /// With a denial (`onDeny=429`, `enforce`): the whole decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
}

/// What a handler fails with.
#[derive(Debug)]
pub enum ApiError {
    Service(ServiceError),
    /// With the methods that work.
    MethodNotAllowed {
        allow: String,
    },
    PayloadTooLarge {
        most_bytes: usize,
    },
    /// The key, or the node, has as many reads of this kind under way as it may.
    TooManyReads {
        reader: Reader,
        of_key: bool,
    },
    /// A `Content-Encoding` other than one `gzip`.
    UnsupportedEncoding,
    /// The body did not come in time.
    BodyTimeout {
        limit: Duration,
    },
    /// More refused keys than may wait for their answer.
    TooManyRefusedKeys {
        retry_after_s: u64,
    },
    /// A write by cookie without the session's token.
    CsrfToken,
    /// A denial that the caller asked to be an error.
    Denied {
        decision: Box<Decision>,
    },
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        Self::Service(error)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl ApiError {
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Service(ServiceError::invalid(field, message))
    }

    fn outline(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take that method")
            }
            Self::PayloadTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", "The body's encoding is not supported")
            }
            Self::TooManyReads { reader, .. } => (StatusCode::TOO_MANY_REQUESTS, reader.code(), reader.title()),
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body came too slowly"),
            Self::TooManyRefusedKeys { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_refused_keys", "Too many keys are refused")
            }
            Self::CsrfToken => (StatusCode::FORBIDDEN, "invalid_csrf_token", "The CSRF token is not valid"),
            Self::Denied { decision } => denial(decision),
            Self::Service(error) => match error {
                ServiceError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request", "The request is not valid"),
                ServiceError::InvalidKey => (StatusCode::UNAUTHORIZED, "invalid_key", "The API key is not valid"),
                ServiceError::ForbiddenKey(_) => {
                    (StatusCode::FORBIDDEN, "forbidden_key", "The API key may not do this")
                }
                ServiceError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "Not found"),
                ServiceError::ReservationNotPending { .. } => {
                    (StatusCode::CONFLICT, "reservation_not_pending", "The reservation has already ended")
                }
                ServiceError::ReservationExpired => {
                    (StatusCode::GONE, "reservation_expired", "The reservation has expired")
                }
                ServiceError::IdempotencyKeyReused => {
                    (StatusCode::CONFLICT, "idempotency_key_reused", "The idempotency key was used for another request")
                }
                ServiceError::AlreadyCanceled => {
                    (StatusCode::CONFLICT, "already_canceled", "The subscription has already ended")
                }
                ServiceError::AlreadyDecided => {
                    (StatusCode::CONFLICT, "already_decided", "The approval request is decided already")
                }
                ServiceError::PlanInUse(_) => (StatusCode::CONFLICT, "plan_in_use", "The plan is in use"),
                ServiceError::VersionConflict => {
                    (StatusCode::PRECONDITION_FAILED, "version_conflict", "The version has changed")
                }
                ServiceError::Denied(decision) => denial(decision),
                ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The store cannot be reached")
                }
                ServiceError::Internal(_) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong here")
                }
            },
        }
    }

    pub fn code(&self) -> &'static str {
        self.outline().1
    }

    fn detail(&self) -> String {
        match self {
            Self::MethodNotAllowed { .. } => "See the Allow header, or /openapi.json.".to_owned(),
            Self::PayloadTooLarge { most_bytes } => {
                format!("A body may have at most {most_bytes} bytes, also after it is decompressed.")
            }
            Self::UnsupportedEncoding => "`Content-Encoding` must be `gzip`, or be left out.".to_owned(),
            Self::TooManyReads { reader, of_key } => {
                let bounds = reader.bounds();
                let (who, most) = if *of_key { ("key", bounds.per_key) } else { ("node", bounds.per_node) };
                format!("At most {most} {} may be under way per {who}. Retry later.", reader.what())
            }
            Self::BodyTimeout { limit } => {
                format!("A body must be there {} s after its head; nothing was done.", limit.as_secs_f64())
            }
            Self::TooManyRefusedKeys { .. } => {
                "The API key is not valid, and this address has sent many such.".to_owned()
            }
            Self::CsrfToken => {
                "A write by cookie needs the session's csrfToken as `X-CSRF-Token`; GET session tells it.".to_owned()
            }
            Self::Denied { decision } => denial_detail(decision),
            Self::Service(error) => match error {
                ServiceError::Invalid(faults) => {
                    let faults: Vec<String> =
                        faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
                    faults.join("; ")
                }
                ServiceError::InvalidKey => {
                    "Send `Authorization: Bearer <key>` or `X-Api-Key: <key>` with a key that is not revoked."
                        .to_owned()
                }
                ServiceError::ForbiddenKey(what) | ServiceError::NotFound(what) | ServiceError::PlanInUse(what) => {
                    what.clone()
                }
                ServiceError::ReservationNotPending { status } => format!("It is {status}."),
                ServiceError::ReservationExpired => {
                    // Told of what is over for good and of what a commit may still charge: true of both.
                    "Its time is over. Until 15 minutes after its expiry a commit still charges it, as late, unless \
                        `ifExpired` is `reject`; after that nothing does: reserve again."
                        .to_owned()
                }
                ServiceError::IdempotencyKeyReused => {
                    "Use a new key for a new request, and the same body to repeat one.".to_owned()
                }
                ServiceError::AlreadyCanceled => "There is nothing left to cancel.".to_owned(),
                ServiceError::AlreadyDecided => "Read it again to see how.".to_owned(),
                ServiceError::VersionConflict => {
                    "If-Match does not name the current version; read it again.".to_owned()
                }
                ServiceError::Denied(decision) => denial_detail(decision),
                ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_) => {
                    "Nothing is known about this call's effect; repeat it with its idempotency key.".to_owned()
                }
                ServiceError::Internal(_) => "The fault is logged with this request id.".to_owned(),
            },
        }
    }

    /// The body of the answer; what went wrong here is logged.
    pub fn problem(&self) -> Problem {
        let (status, code, title) = self.outline();
        let request_id = request_id::current();
        if let Self::Service(ServiceError::Internal(what)) = self {
            tracing::error!(request_id, what, "internal error");
        }
        if let Self::Service(ServiceError::StoreUnavailable(what) | ServiceError::StoreRefused(what)) = self {
            tracing::warn!(request_id, what, "store unavailable");
        }
        let errors = match self {
            Self::Service(ServiceError::Invalid(faults)) => faults.clone(),
            _ => Vec::new(),
        };
        let reservation_status = match self {
            Self::Service(ServiceError::ReservationNotPending { status }) => Some(status.clone()),
            _ => None,
        };
        Problem {
            kind: format!("https://quotagate.dev/problems/{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: self.detail(),
            request_id,
            errors,
            reservation_status,
            decision: self.decision().map(DecisionView::new),
        }
    }

    /// It is the first answer to the same idempotency key.
    pub fn is_replayed(&self) -> bool {
        self.decision().is_some_and(|decision| decision.replayed)
    }

    fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Denied { decision } | Self::Service(ServiceError::Denied(decision)) => Some(decision),
            Self::Service(_)
            | Self::MethodNotAllowed { .. }
            | Self::PayloadTooLarge { .. }
            | Self::TooManyReads { .. }
            | Self::UnsupportedEncoding
            | Self::BodyTimeout { .. }
            | Self::TooManyRefusedKeys { .. }
            | Self::CsrfToken => None,
        }
    }
}

fn denial(decision: &Decision) -> (StatusCode, &'static str, &'static str) {
    let code = decision.reasons.first().map_or(Reason::LimitReached.as_str(), |reason| reason.as_str());
    (StatusCode::TOO_MANY_REQUESTS, code, "The call is denied")
}

fn denial_detail(decision: &Decision) -> String {
    let groups: Vec<&str> = decision.denied_by.iter().map(|denied| denied.group.id.as_str()).collect();
    match groups.is_empty() {
        true => "No limit group lets this event pass.".to_owned(),
        false => format!("No room in: {}.", groups.join(", ")),
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.outline().0
    }

    fn error_response(&self) -> HttpResponse {
        let (status, body) = (self.status_code(), self.problem());
        let decision = self.decision();
        let mut response = HttpResponse::build(status);
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((ALLOW, allow.as_str()));
        }
        if matches!(self, Self::UnsupportedEncoding) {
            response.insert_header((ACCEPT_ENCODING, "gzip"));
        }
        if matches!(self, Self::BodyTimeout { .. }) {
            // What is still to come of the body would be taken for the next call's head.
            response.force_close();
        }
        if let Self::TooManyRefusedKeys { retry_after_s } = self {
            response.insert_header((RETRY_AFTER, *retry_after_s));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, STORE_RETRY_AFTER_S));
        }
        if let Self::TooManyReads { reader, .. } = self {
            response.insert_header((RETRY_AFTER, reader.retry_after_s()));
            // Clients that repeat a 429 only where it says so repeat this one.
            response.insert_header((HeaderName::from_static("x-should-retry"), HeaderValue::from_static("true")));
        }
        if let Some(decision) = decision {
            rate_limit::insert(&mut response, decision);
            // Without this some clients repeat every 429 by themselves.
            let retry = if rate_limit::lifts_soon(decision) { "true" } else { "false" };
            response.insert_header((HeaderName::from_static("x-should-retry"), HeaderValue::from_static(retry)));
            if decision.replayed {
                response.insert_header((HeaderName::from_static("idempotent-replayed"), "true"));
            }
        }
        response.content_type("application/problem+json").json(body)
    }
}
