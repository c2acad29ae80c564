//! Error responses: `application/problem+json` (RFC 9457).

use std::collections::BTreeSet;
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
use crate::http::middleware::limits::Reader;
use crate::http::middleware::request_id;
use crate::service::configuration::apply::Applied;
use crate::service::error::ServiceError;
use crate::service::metering::decision::Decision;

/// `Retry-After` in seconds while the store is unavailable.
const STORE_RETRY_AFTER_S: u64 = 1;

/// An error as in RFC 9457, with a `code` for programs.
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
    /// With a dry run of `PUT configuration` that would be refused: what it would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<Applied>,
}

/// The errors of handlers.
#[derive(Debug)]
pub enum ApiError {
    Service(ServiceError),
    /// A dry run of what would be refused, with what it would change.
    RefusedDryRun {
        error: ServiceError,
        preview: Box<Applied>,
    },
    /// With the methods that work.
    MethodNotAllowed {
        allow: String,
    },
    PayloadTooLarge {
        most_bytes: usize,
    },
    /// The key or the node has reached its limit of concurrent reads of this kind.
    TooManyReads {
        reader: Reader,
        of_key: bool,
    },
    /// A `Content-Encoding` other than a single `gzip`.
    UnsupportedEncoding,
    /// The body did not arrive in time.
    BodyTimeout {
        limit: Duration,
    },
    /// Too many refusals of invalid keys are waiting for their answer.
    TooManyRefusedKeys {
        retry_after_s: u64,
    },
    /// A write with the session cookie but without the session's CSRF token.
    CsrfToken,
    /// A denial that the caller wants as an error.
    Denied {
        decision: Box<Decision>,
    },
}

impl From<FieldError> for ApiError {
    fn from(fault: FieldError) -> Self {
        Self::Service(fault.into())
    }
}

impl From<Vec<FieldError>> for ApiError {
    fn from(faults: Vec<FieldError>) -> Self {
        Self::Service(faults.into())
    }
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
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
            }
            Self::PayloadTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", "Unsupported content encoding")
            }
            Self::TooManyReads { reader, .. } => (StatusCode::TOO_MANY_REQUESTS, reader.code(), reader.title()),
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body arrived too slowly"),
            Self::TooManyRefusedKeys { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_refused_keys", "Too many invalid keys")
            }
            Self::CsrfToken => (StatusCode::FORBIDDEN, "invalid_csrf_token", "The CSRF token is not valid"),
            Self::Denied { decision } => denial(decision),
            Self::Service(error) | Self::RefusedDryRun { error, .. } => match error {
                ServiceError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_request", "The request is not valid"),
                ServiceError::InvalidKey => (StatusCode::UNAUTHORIZED, "invalid_key", "The API key is not valid"),
                ServiceError::ForbiddenKey(_) => {
                    (StatusCode::FORBIDDEN, "forbidden_key", "The API key does not allow this call")
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
                    (StatusCode::CONFLICT, "already_decided", "The approval request has already been decided")
                }
                ServiceError::TooManyCredits => {
                    (StatusCode::CONFLICT, "too_many_credits", "The owner has too many live credits")
                }
                ServiceError::PlanInUse(_) => (StatusCode::CONFLICT, "plan_in_use", "The plan is in use"),
                ServiceError::VersionConflict => {
                    (StatusCode::PRECONDITION_FAILED, "version_conflict", "The version has changed")
                }
                ServiceError::Denied(decision) => denial(decision),
                ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The store is unavailable")
                }
                ServiceError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal error"),
            },
        }
    }

    pub fn code(&self) -> &'static str {
        self.outline().1
    }

    fn detail(&self) -> String {
        match self {
            Self::MethodNotAllowed { .. } => "The `Allow` header lists the methods of this path; see also /openapi.json.".to_owned(),
            Self::PayloadTooLarge { most_bytes } => {
                format!("The body must have at most {most_bytes} bytes, before and after decompression.")
            }
            Self::UnsupportedEncoding => "`Content-Encoding` must be `gzip` or be left out.".to_owned(),
            Self::TooManyReads { reader, of_key } => {
                let bounds = reader.bounds();
                let (who, most) = if *of_key { ("key", bounds.per_key) } else { ("node", bounds.per_node) };
                format!("At most {most} {} can run at the same time per {who}. Retry later.", reader.what())
            }
            Self::BodyTimeout { limit } => {
                format!("The body must arrive within {} s after the request's headers. Nothing was done.", limit.as_secs_f64())
            }
            Self::TooManyRefusedKeys { .. } => {
                "The API key is not valid, and this address has sent too many invalid keys.".to_owned()
            }
            Self::CsrfToken => {
                "A write with the session cookie needs the header `X-CSRF-Token`; `GET session` returns it as `csrfToken`.".to_owned()
            }
            Self::Denied { decision } => denial_detail(decision),
            Self::Service(error) | Self::RefusedDryRun { error, .. } => match error {
                ServiceError::Invalid(faults) => {
                    faults.iter().map(FieldError::sentence).collect::<Vec<_>>().join(" ")
                }
                ServiceError::InvalidKey => {
                    "Send `Authorization: Bearer <key>` or `X-Api-Key: <key>` with a key that is not revoked."
                        .to_owned()
                }
                ServiceError::ForbiddenKey(what) | ServiceError::NotFound(what) | ServiceError::PlanInUse(what) => {
                    what.clone()
                }
                ServiceError::ReservationNotPending { status } => format!("The reservation is already {status}."),
                ServiceError::ReservationExpired => {
                    // This error is returned within and after the grace period, so the sentence is true in both cases.
                    "The reservation has expired. A commit within 15 minutes after its expiry is still charged, as late, \
                        unless `ifExpired` is `reject`. After that, reserve again."
                        .to_owned()
                }
                ServiceError::IdempotencyKeyReused => {
                    "Use a new key for a new request, and the same body to repeat one.".to_owned()
                }
                ServiceError::AlreadyCanceled => "A subscription that has ended cannot be cancelled.".to_owned(),
                ServiceError::TooManyCredits => {
                    "An owner has at most 64 live credits in one group, including those that are only held.".to_owned()
                }
                ServiceError::AlreadyDecided => "Read the approval request to see the decision.".to_owned(),
                ServiceError::VersionConflict => {
                    "`If-Match` is not the current version. Read the resource again, and retry with its `ETag`.".to_owned()
                }
                ServiceError::Denied(decision) => denial_detail(decision),
                ServiceError::StoreUnavailable(_) | ServiceError::StoreRefused(_) => {
                    "It is unknown whether the call had an effect. Repeat it with the same idempotency key.".to_owned()
                }
                ServiceError::Internal(_) => "The error is logged with this request ID.".to_owned(),
            },
        }
    }

    /// The body of the answer. Errors of the gateway itself are logged.
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
            Self::Service(ServiceError::Invalid(faults))
            | Self::RefusedDryRun { error: ServiceError::Invalid(faults), .. } => faults.clone(),
            _ => Vec::new(),
        };
        let preview = match self {
            Self::RefusedDryRun { preview, .. } => Some(preview.as_ref().clone()),
            _ => None,
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
            preview,
        }
    }

    /// Whether this is the stored answer of an earlier call with the same idempotency key.
    pub fn is_replayed(&self) -> bool {
        self.decision().is_some_and(|decision| decision.replayed)
    }

    fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Denied { decision } | Self::Service(ServiceError::Denied(decision)) => Some(decision),
            Self::Service(_)
            | Self::RefusedDryRun { .. }
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
    let groups = groups.join(", ");
    match decision.reasons.first() {
        Some(Reason::UserBlocked) => "The user is blocked.".to_owned(),
        Some(Reason::NoSubscription) => "The user has no subscription, and the app has no default plan.".to_owned(),
        Some(Reason::UnmatchedEvent) => "No limit group of the plan matches the event.".to_owned(),
        Some(Reason::UncoveredEvent) => format!("No rule matches the event in: {groups}."),
        Some(Reason::MissingScope) => {
            let missing = decision.denied_by.iter().flat_map(|denied| &denied.missing_scope);
            let names: BTreeSet<String> = missing.map(|name| format!("`{name}`")).collect();
            match names.is_empty() {
                true => format!("Maximum number of scope values reached: {groups}."),
                false => format!("Missing in the call: {}.", names.into_iter().collect::<Vec<_>>().join(", ")),
            }
        }
        Some(Reason::CallTooLarge) => format!("Larger than `maxPerCall` of: {groups}."),
        Some(Reason::ApprovalRequired) => format!("Limit reached, approval required: {groups}."),
        Some(Reason::LimitReached) | None => format!("Limit reached: {groups}."),
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
            // The rest of the body would be read as the next call's head.
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
            // Some clients repeat a 429 only if this header says so.
            response.insert_header((HeaderName::from_static("x-should-retry"), HeaderValue::from_static("true")));
        }
        if let Some(decision) = decision {
            rate_limit::insert(&mut response, decision);
            // Without this header some clients repeat every 429.
            let retry = if rate_limit::lifts_soon(decision) { "true" } else { "false" };
            response.insert_header((HeaderName::from_static("x-should-retry"), HeaderValue::from_static(retry)));
            if decision.replayed {
                response.insert_header((HeaderName::from_static("idempotent-replayed"), "true"));
            }
        }
        response.content_type("application/problem+json").json(body)
    }
}
