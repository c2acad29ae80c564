//! Reading a request: body, query, idempotency key. Every fault names its field.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::problem::ApiError;
use crate::domain::ids::IdempotencyKey;
use crate::store::operation::Idempotency;

/// 64 KiB.
pub const MOST_BYTES: usize = 64 * 1024;
/// 1 MiB, for a whole configuration.
pub const MOST_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The bound of a resource's bodies, where it is not [`MOST_BYTES`].
#[derive(Clone, Copy)]
pub struct MostBytes(pub usize);

/// A JSON body of type `T`, with the client's idempotency key if it sent one.
pub struct Given<T> {
    pub value: T,
    pub idempotency: Option<Idempotency>,
}

/// A body that is told to be wrong only when it is read: the key comes first.
pub struct Body<T>(Result<Given<T>, ApiError>);

impl<T> Body<T> {
    /// # Errors
    /// invalid_request naming the field; payload_too_large
    pub fn read(self) -> Result<Given<T>, ApiError> {
        self.0
    }
}

fn given<T: DeserializeOwned>(
    request: &HttpRequest,
    bytes: Result<Bytes, actix_web::Error>,
) -> Result<Given<T>, ApiError> {
    let bytes = bytes.map_err(|error| match error.as_response_error().status_code() {
        actix_web::http::StatusCode::PAYLOAD_TOO_LARGE => {
            let most_bytes = request.app_data::<MostBytes>().map_or(MOST_BYTES, |most| most.0);
            ApiError::PayloadTooLarge { most_bytes }
        }
        _ => ApiError::invalid("body", "could not be read"),
    })?;
    Ok(Given { value: parse(&bytes)?, idempotency: idempotency(request, &bytes)? })
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let bytes = bytes.await;
            Ok(Self(given(&request, bytes)))
        })
    }
}

/// # Errors
/// invalid_request naming the field by its path.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // serde would take an array for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err(ApiError::invalid("body", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let text = inner.to_string();
        // A number beyond every range is told as a fault of syntax too: it is only one if the text is not JSON at all.
        if (inner.is_syntax() || inner.is_eof()) && serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
            return ApiError::invalid("body", format!("is not JSON: {text}"));
        }
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        ApiError::invalid(field(&path, message), message)
    })?;
    deserializer.end().map_err(|error| ApiError::invalid("body", format!("is not JSON: {error}")))?;
    Ok(value)
}

/// The path of a fault; a missing or unknown field is named itself, not the object that it is missing from.
fn field(path: &str, message: &str) -> String {
    // `?`: the fault lies in a name itself.
    let parent = if matches!(path, "." | "?") { "" } else { path.strip_suffix(".?").unwrap_or(path) };
    let named = ["missing field `", "unknown field `", "duplicate field `"].iter().find_map(|start| {
        let name = message.strip_prefix(start)?.split('`').next()?;
        // The path of an unknown field ends with its name already.
        let known = parent == name || parent.ends_with(&format!(".{name}"));
        (!known).then_some(name)
    });
    match (parent, named) {
        ("", None) => "body".to_owned(),
        ("", Some(name)) => name.to_owned(),
        (parent, None) => parent.to_owned(),
        (parent, Some(name)) => format!("{parent}.{name}"),
    }
}

/// The `Idempotency-Key` of a write, with what a repetition has to be equal to: the call and its canonical body.
///
/// # Errors
/// invalid_request for an empty or too long key.
pub fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = request.headers().get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| ApiError::invalid("Idempotency-Key", "must be plain text"))?;
    let key = IdempotencyKey::parse(text).map_err(|error| ApiError::invalid("Idempotency-Key", error.to_string()))?;
    // Maps are sorted by key: the same fields in another order are the same request.
    let canonical = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    Ok(Some(Idempotency { key, request: format!("{} {} {canonical}", request.method(), request.path()) }))
}

/// A query string of type `T`; as a body, it is judged when it is read.
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
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parsed = web::Query::<T>::from_query(request.query_string());
        std::future::ready(Ok(Self(parsed.map(web::Query::into_inner).map_err(|error| {
            let text = error.to_string();
            let message = text.strip_prefix("Query deserialize error: ").unwrap_or(&text);
            let named = field(".", message);
            ApiError::invalid(if named == "body" { "query".to_owned() } else { named }, message)
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        user_id: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        count: u32,
    }

    #[test]
    fn faults_name_their_field() {
        for (body, expected) in [
            ("{", "body"),
            ("[]", "body"),
            ("{} x", "userId"),
            (r#"{"userId":"a"} x"#, "body"),
            ("{}", "userId"),
            (r#"{"userId":1}"#, "userId"),
            (r#"{"userId":"a","x":1}"#, "x"),
            (r#"{"userId":"a","userId":"b"}"#, "userId"),
            (r#"{"userId":"a","inner":[{}]}"#, "inner[0].count"),
            (r#"{"userId":"a","inner":[{"count":1,"y":2}]}"#, "inner[0].y"),
            (r#"{"userId":"a","inner":[{"count":-1}]}"#, "inner[0].count"),
        ] {
            match parse::<Outer>(body.as_bytes()) {
                Err(ApiError::Service(crate::service::error::ServiceError::Invalid(faults))) => {
                    assert_eq!(faults[0].field, expected, "{body}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
