//! Errors of use cases. A denied reserve is a result, not an error.

use crate::domain::values::field_error::FieldError;
use crate::domain::values::number::Number;
use crate::store::error::{StoreError, is_forbidden};

use super::metering::decision::Decision;

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    #[error("the API key is missing, unknown or revoked")]
    InvalidKey,
    #[error("{0}")]
    ForbiddenKey(String),
    #[error("{0}")]
    NotFound(String),
    #[error("the reservation is {status}")]
    ReservationNotPending { status: String },
    #[error("the reservation has expired")]
    ReservationExpired,
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    #[error("the subscription has already ended")]
    AlreadyCanceled,
    #[error("the approval request has already been decided")]
    AlreadyDecided,
    #[error("the owner has too many live credits")]
    TooManyCredits,
    #[error("{0}")]
    PlanInUse(String),
    #[error("the version is not the current one")]
    VersionConflict,
    /// A denial of a call that must not be denied, for example with `enforce`.
    #[error("denied")]
    Denied(Box<Decision>),
    #[error("the store is unavailable")]
    StoreUnavailable(String),
    /// The store can be reached but cannot execute the call now.
    #[error("the store rejected the call")]
    StoreRefused(String),
    #[error("internal error")]
    Internal(String),
}

impl ServiceError {
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// Whether Redis rejects the gateway's user, or does not permit a command.
    pub fn is_forbidden_by_store(&self) -> bool {
        matches!(self, Self::StoreUnavailable(what) | Self::Internal(what) if is_forbidden(what))
    }
}

/// Serializes a value as JSON.
///
/// # Errors
/// [`ServiceError::Internal`]; none in practice.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, ServiceError> {
    serde_json::to_string(value).map_err(|error| ServiceError::Internal(error.to_string()))
}

impl From<FieldError> for ServiceError {
    fn from(error: FieldError) -> Self {
        Self::Invalid(vec![error])
    }
}

impl From<Vec<FieldError>> for ServiceError {
    fn from(faults: Vec<FieldError>) -> Self {
        Self::Invalid(faults)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(what) => Self::StoreUnavailable(what),
            StoreError::Refused(what) | StoreError::Full(what) => Self::StoreRefused(what),
            StoreError::Unexpected(what) => Self::Internal(what),
        }
    }
}

/// Checks that a quantity is greater than 0.
///
/// # Errors
/// A fault of `quantity`.
pub fn positive(quantity: Number) -> Result<Number, FieldError> {
    if quantity.0.is_zero() { Err(FieldError::new("quantity", "must be greater than 0")) } else { Ok(quantity) }
}
