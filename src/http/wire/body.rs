//! Reading a request's body, query string and idempotency key. Every error names its field.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::header::{Header, single};
use super::payload;
use super::problem::ApiError;
use crate::domain::metering::idempotency::{Idempotency, Replayed};
use crate::domain::values::document;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::IdempotencyKey;
use crate::http::middleware::limits::Limits;
use crate::service::error::ServiceError;

/// 64 KiB, after decompression.
pub const MOST_BYTES: usize = 64 * 1024;
/// 1 MiB, for a whole configuration.
pub const MOST_DOCUMENT_BYTES: usize = 1024 * 1024;
/// 4 KiB, for bodies that are read before authentication.
pub const MOST_STRANGER_BYTES: usize = 4 * 1024;

/// 256 KiB, for many operations in one body.
pub const MOST_BATCH_BYTES: usize = 256 * 1024;

/// The size limit of a resource's bodies, where it differs from [`MOST_BYTES`].
#[derive(Clone, Copy)]
pub struct MostBytes(pub usize);

/// A JSON body of type `T`, with the client's idempotency key if there is one. An empty body means `{}`, so that calls
/// without required fields need no body. A PUT must have a body, since it replaces the whole resource.
pub struct ParsedBody<T> {
    pub value: T,
    pub idempotency: Option<Idempotency>,
}

/// A body that has not been read yet. Handlers read it after they have checked the key and its permissions.
pub struct Body<T> {
    request: HttpRequest,
    payload: Payload,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Body<T> {
    /// Reads the body within its limits of size and time.
    ///
    /// # Errors
    /// invalid_request naming the field; payload_too_large; unsupported_encoding; request_timeout
    pub async fn read(self) -> Result<ParsedBody<T>, ApiError> {
        self.read_checked(|_| Vec::new()).await
    }

    /// Like [`Self::read`]. If fields have the wrong form, `check` may find further faults in the others, so that all
    /// are returned at once.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_checked(self, check: impl FnOnce(&T) -> Vec<FieldError>) -> Result<ParsedBody<T>, ApiError> {
        let Self { request, payload, .. } = self;
        let limits = request.app_data::<Limits>().copied().unwrap_or_default();
        let most = request.app_data::<MostBytes>().map_or(MOST_BYTES, |most| most.0);
        let bytes = tokio::time::timeout(limits.body_timeout, payload::read(&request, payload, most)).await;
        parse(&request, bytes.map_err(|_| ApiError::BodyTimeout { limit: limits.body_timeout })??, check)
    }
}

fn parse<T: DeserializeOwned>(
    request: &HttpRequest,
    bytes: Bytes,
    check: impl FnOnce(&T) -> Vec<FieldError>,
) -> Result<ParsedBody<T>, ApiError> {
    let bytes = match (bytes.trim_ascii().is_empty(), request.method()) {
        (false, _) => bytes,
        (true, &Method::PUT) => {
            return Err(ApiError::invalid("body", "is required: a PUT replaces the whole resource"));
        }
        (true, _) => Bytes::from_static(b"{}"),
    };
    Ok(ParsedBody {
        value: document::read_checked(&bytes, check).map_err(ServiceError::Invalid)?,
        idempotency: idempotency(request, &bytes)?,
    })
}

impl<T> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Ok(Self { request: request.clone(), payload: payload.take(), kind: PhantomData }))
    }
}

/// The `Idempotency-Key` of a write, together with the request that a repetition must equal.
///
/// # Errors
/// invalid_request for a key that is repeated, empty or too long.
pub fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(text) = single(request, Header::IdempotencyKey)? else {
        return Ok(None);
    };
    let key = IdempotencyKey::parse(text).map_err(|error| Header::IdempotencyKey.invalid(error.to_string()))?;
    let idempotency = repeatable(key, &format!("{} {}", request.method(), request.path()), body);
    request.extensions_mut().insert(idempotency.replayed.clone());
    Ok(Some(idempotency))
}

/// An idempotency key together with the request that a repetition must equal: the call, such as `POST
/// /api/v1/reserve`, and its canonical body.
pub fn repeatable(key: IdempotencyKey, call: &str, body: &[u8]) -> Idempotency {
    // Maps are sorted by key, so the order of fields makes no difference.
    let canonical = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    Idempotency { key, request: format!("{call} {canonical}"), replayed: Replayed::default() }
}

/// The idempotency key of a call without a body; the query string takes the body's place.
///
/// # Errors
/// As [`idempotency`].
pub fn idempotency_without_body(request: &HttpRequest) -> Result<Option<Idempotency>, ApiError> {
    idempotency(request, request.query_string().as_bytes())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Return what would change, without writing it.
    #[serde(default)]
    pub dry_run: bool,
}

/// A query string of type `T`. Like a body, it is checked when the handler reads it.
pub struct Query<T>(Result<T, ApiError>);

impl<T> Query<T> {
    /// # Errors
    /// invalid_request naming the field
    pub fn read(self) -> Result<T, ApiError> {
        self.0
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(read_query(request.query_string()))))
    }
}

fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let parse = |query: &str| {
        let parsed = web::Query::<T>::from_query(query).map(web::Query::into_inner);
        parsed.map_err(|error| error.to_string().trim_start_matches("Query deserialize error: ").to_owned())
    };
    parse(query).map_err(|message| {
        let fault = document::fault_of(&message);
        if fault.field != "body" {
            return ApiError::invalid(fault.field, fault.message);
        }
        // The message does not name the parameter: without it, the query has no fault or another one.
        let parts: Vec<&str> = query.split('&').collect();
        let culprit = (0..parts.len()).find(|place| {
            let others = parts.iter().enumerate().filter(|(other, _)| other != place).map(|(_, part)| *part);
            parse(&others.collect::<Vec<_>>().join("&")).err().as_ref() != Some(&message)
        });
        let name = culprit.and_then(|place| parts[place].split('=').next()).unwrap_or("query");
        ApiError::invalid(name, fault.message)
    })
}

/// How many items a page holds: 1 to 200, default 50.
///
/// # Errors
/// invalid_request
pub fn page_size(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit.unwrap_or(50) {
        size @ 1..=200 => Ok(size),
        _ => Err(ApiError::invalid("limit", "must be between 1 and 200")),
    }
}

/// Checks a note for the audit log.
///
/// # Errors
/// invalid_request
pub fn check_note(note: Option<&str>) -> Result<(), ApiError> {
    match note {
        Some(note) if note.len() > 1024 => Err(ApiError::invalid("note", "must have at most 1024 bytes")),
        _ => Ok(()),
    }
}
