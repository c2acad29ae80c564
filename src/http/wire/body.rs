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
use crate::domain::time::window::{TimeMs, parse_rfc3339};
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
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

/// The maximum number of faults that are returned for one query string.
const MOST_QUERY_FAULTS: usize = 20;

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

    /// Like [`Self::read`], and converts the body. The faults that `convert` finds are returned together with those of
    /// fields that have the wrong form.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_as<U>(
        self,
        convert: impl Fn(&T) -> Result<U, Vec<FieldError>>,
    ) -> Result<ParsedBody<U>, ApiError> {
        let parsed = self.read_checked(|body| convert(body).err().unwrap_or_default()).await?;
        let value = convert(&parsed.value)?;
        Ok(ParsedBody { value, idempotency: parsed.idempotency })
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
    let (mut parts, mut faults) = (query.split('&').collect::<Vec<_>>(), Vec::new());
    // Parsing ends at a fault, so the parameter is removed, and the others are parsed again.
    loop {
        let message = match parse(&parts.join("&")) {
            Ok(value) if faults.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(message) => message,
        };
        let mut fault = document::fault_of(&message);
        if fault.field == "body" {
            // The message does not name the parameter: without it, the query has no fault or another one.
            let culprit = (0..parts.len()).find(|place| {
                let others = parts.iter().enumerate().filter(|(other, _)| other != place).map(|(_, part)| *part);
                parse(&others.collect::<Vec<_>>().join("&")).err().as_ref() != Some(&message)
            });
            fault.field = culprit.map_or("query", |place| name_of(parts[place])).to_owned();
        }
        let others: Vec<&str> = parts.iter().copied().filter(|part| name_of(part) != fault.field).collect();
        let is_removed = others.len() < parts.len();
        // A required parameter that was removed is missing now.
        if !faults.iter().any(|known: &FieldError| known.field == fault.field) {
            faults.push(fault);
        }
        if !is_removed || faults.len() >= MOST_QUERY_FAULTS {
            break;
        }
        parts = others;
    }
    Err(faults.into())
}

/// The name of a parameter.
fn name_of(part: &str) -> &str {
    part.split('=').next().unwrap_or(part)
}

/// How many items a page holds: 1 to 200, default 50.
///
/// # Errors
/// Any other number.
pub fn page_size(limit: Option<usize>) -> Result<usize, FieldError> {
    match limit.unwrap_or(50) {
        size @ 1..=200 => Ok(size),
        _ => Err(FieldError::new("limit", "must be between 1 and 200")),
    }
}

/// The time in a field that may be left out.
pub fn time(field: &str, text: Option<&str>, faults: &mut Faults) -> Option<TimeMs> {
    let read = parse_rfc3339(text?);
    if read.is_none() {
        faults.add(field, "must be an RFC 3339 time, such as 2026-01-31T10:00:00Z");
    }
    read
}

/// Checks a note for the audit log.
pub fn check_note(field: &str, note: Option<&str>, faults: &mut Faults) {
    if note.is_some_and(|note| note.len() > 1024) {
        faults.add(field, "must have at most 1024 bytes");
    }
}

/// The note of a body that has no other field to check.
///
/// # Errors
/// It is too long.
pub fn only_note(note: Option<&String>) -> Result<Option<String>, Vec<FieldError>> {
    let mut faults = Faults::default();
    check_note("note", note.map(String::as_str), &mut faults);
    faults.or(Some(note.cloned()))
}
