//! Reading a request's body, query string and idempotency key. Every error names its field.

use std::borrow::Cow;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::pin::pin;
use std::task::Poll;

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
use crate::domain::values::document::{self, MOST_FAULTS};
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

/// The maximum number of parameters of a query, since faults are found by parsing it again.
const MOST_PARAMETERS: usize = 100;

/// How often a faulty query string is parsed to find further faults.
const MOST_READINGS: usize = 60;

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
        let mut bytes = pin!(payload::read(&request, payload, most));
        // Nearly all bodies have arrived together with their heads, and need no timer.
        let bytes = match futures::poll!(&mut bytes) {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => tokio::time::timeout(limits.body_timeout, bytes)
                .await
                .unwrap_or(Err(ApiError::BodyTimeout { limit: limits.body_timeout })),
        };
        parse(&request, bytes?, check)
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

/// A query string of type `T`. Like a body, it is parsed when the handler reads it: a stranger's costs nothing.
pub struct Query<T> {
    text: String,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Query<T> {
    /// For queries that need no check after parsing.
    ///
    /// # Errors
    /// invalid_request naming each faulty parameter
    pub fn read(self) -> Result<T, ApiError> {
        self.read_as(Ok)
    }

    /// Converts the query. The faults that `convert` finds are returned together with those of parameters that have the
    /// wrong form.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_as<U>(self, convert: impl FnOnce(T) -> Result<U, Vec<FieldError>>) -> Result<U, ApiError> {
        if self.text.split('&').count() > MOST_PARAMETERS {
            return Err(FieldError::new("query", format!("must have at most {MOST_PARAMETERS} parameters")).into());
        }
        let (value, mut faults) = read_query(&self.text);
        match value.map(convert) {
            Some(Ok(converted)) if faults.is_empty() => return Ok(converted),
            Some(Err(further)) => document::add_further(&mut faults, further),
            Some(Ok(_)) | None => {}
        }
        // A parameter that is repeated may have the same fault each time.
        faults.dedup();
        faults.truncate(MOST_FAULTS);
        Err(faults.into())
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self { text: request.query_string().to_owned(), kind: PhantomData }))
    }
}

/// The query without the parameters that cannot be parsed, None if the rest cannot be parsed either; and all faults.
fn read_query<T: DeserializeOwned>(query: &str) -> (Option<T>, Vec<FieldError>) {
    let parse_text = |text: &str| {
        let parsed = web::Query::<T>::from_query(text).map(web::Query::into_inner);
        parsed.map_err(|error| error.to_string().trim_start_matches("Query deserialize error: ").to_owned())
    };
    if let Ok(value) = parse_text(query) {
        return (Some(value), Vec::new());
    }
    let parse = |parts: &[Cow<'_, str>]| parse_text(&parts.join("&"));
    let mut parts: Vec<Cow<'_, str>> = query.split('&').map(Cow::Borrowed).collect();
    let mut faults: Vec<FieldError> = Vec::new();
    // Parsing ends at a fault, so the parameter is removed, and the others are parsed again.
    for _ in 0..MOST_READINGS {
        let message = match parse(&parts) {
            Ok(value) => return (Some(value), faults),
            Err(message) => message,
        };
        let mut fault = document::fault_of_query(&message);
        if message.starts_with("missing field `") {
            // Any text will do: the parameter has a fault already.
            parts.push(Cow::Owned(format!("{}=1", fault.field)));
        } else {
            // Parameters are parsed in order, so the faulty one is the last of the first parts that have this fault.
            let places: Vec<usize> = (0..parts.len()).collect();
            let culprit = places.partition_point(|last| parse(&parts[..=*last]).err().as_ref() != Some(&message));
            if culprit == parts.len() {
                faults.push(fault);
                break;
            }
            let part = parts.remove(culprit);
            // Further ones of that name would be faulty too.
            let mut later = parts.split_off(culprit);
            later.retain(|other| name_of(other) != name_of(&part));
            parts.append(&mut later);
            if fault.field == "body" {
                // The message does not name the parameter.
                fault.field = name_of(&part).to_owned();
            }
        }
        if !faults.iter().any(|known| known.field == fault.field) {
            faults.push(fault);
        }
        if faults.len() == MOST_FAULTS {
            break;
        }
    }
    (None, faults)
}

/// The name of a parameter.
fn name_of(part: &str) -> &str {
    part.split('=').next().unwrap_or(part)
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
