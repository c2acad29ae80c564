//! Request headers that decide which data a call acts on. Each is absent or has exactly one valid value. A value that
//! cannot be read never counts as absent, since the call would then act on other data than the caller named.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderName, IF_MATCH, ORIGIN};

use super::problem::ApiError;

// Constants, because creating a name validates each of its characters.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const APP: HeaderName = HeaderName::from_static("x-app");
const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MODE: HeaderName = HeaderName::from_static("x-mode");
const USER_TOKEN: HeaderName = HeaderName::from_static("x-user-token");

/// A header that is read through [`single`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    ApiKey,
    App,
    Authorization,
    ContentEncoding,
    CsrfToken,
    FetchSite,
    IdempotencyKey,
    IfMatch,
    LastEventId,
    Mode,
    Origin,
    UserToken,
}

impl Header {
    /// The name as written in documents and error messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "X-Api-Key",
            Self::App => "X-App",
            Self::Authorization => "Authorization",
            Self::ContentEncoding => "Content-Encoding",
            Self::CsrfToken => "X-CSRF-Token",
            Self::FetchSite => "Sec-Fetch-Site",
            Self::IdempotencyKey => "Idempotency-Key",
            Self::IfMatch => "If-Match",
            Self::LastEventId => "Last-Event-ID",
            Self::Mode => "X-Mode",
            Self::Origin => "Origin",
            Self::UserToken => "X-User-Token",
        }
    }

    const fn name(self) -> HeaderName {
        match self {
            Self::ApiKey => API_KEY,
            Self::App => APP,
            Self::Authorization => AUTHORIZATION,
            Self::ContentEncoding => CONTENT_ENCODING,
            Self::CsrfToken => CSRF_TOKEN,
            Self::FetchSite => FETCH_SITE,
            Self::IdempotencyKey => IDEMPOTENCY_KEY,
            Self::IfMatch => IF_MATCH,
            Self::LastEventId => LAST_EVENT_ID,
            Self::Mode => MODE,
            Self::Origin => ORIGIN,
            Self::UserToken => USER_TOKEN,
        }
    }

    /// A 400 that names this header.
    pub fn invalid(self, message: impl Into<String>) -> ApiError {
        ApiError::invalid(self.as_str(), message)
    }
}

/// The value of a header without surrounding spaces; None if the request does not have the header.
///
/// # Errors
/// invalid_request naming the header if it is repeated, empty, or not plain ASCII.
pub fn single(request: &HttpRequest, header: Header) -> Result<Option<&str>, ApiError> {
    let mut values = request.headers().get_all(header.name());
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(header.invalid("must be sent only once"));
    }
    match value.to_str().map(str::trim) {
        Ok("") => Err(header.invalid("must not be empty")),
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(header.invalid("must contain only visible ASCII characters")),
    }
}

/// The key that a request sends in its headers.
///
/// # Errors
/// invalid_request naming the header, also if two headers contain different keys.
pub fn presented_key(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    let bearer = single(request, Header::Authorization)?.map(bearer).transpose()?;
    let key = single(request, Header::ApiKey)?;
    match (bearer, key) {
        (Some(bearer), Some(key)) if bearer != key => {
            Err(Header::ApiKey.invalid("must be left out, or equal the key in `Authorization`"))
        }
        (bearer, key) => Ok(bearer.or(key)),
    }
}

fn bearer(value: &str) -> Result<&str, ApiError> {
    let key = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let key = key
        .map(|(_, key)| key.trim())
        .filter(|key| !key.is_empty() && !key.bytes().any(|byte| byte == b' ' || byte == b'\t'));
    key.ok_or_else(|| Header::Authorization.invalid("must be `Bearer <key>`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;

    /// A request with these headers.
    fn request(headers: &[(&'static str, &[u8])]) -> HttpRequest {
        let mut request = TestRequest::default();
        for (name, value) in headers {
            request = request.append_header((*name, HeaderValue::from_bytes(value).unwrap()));
        }
        request.to_http_request()
    }

    #[test]
    fn a_header_has_one_plain_value_or_is_refused() {
        let read = |values: &[&'static [u8]]| {
            let headers: Vec<(&str, &[u8])> = values.iter().map(|value| ("x-mode", *value)).collect();
            single(&request(&headers), Header::Mode).map(|value| value.map(str::to_owned)).ok()
        };
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&[b" test "]), Some(Some("test".to_owned())));
        for refused in
            [&[b"test".as_slice(), b"test"] as &[&[u8]], &[b""], &[b" "], &["t\u{eb}st".as_bytes()], &[b"t\xebst"]]
        {
            assert_eq!(read(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_key_is_presented_in_one_way() {
        let key =
            |headers: &[(&'static str, &[u8])]| presented_key(&request(headers)).map(|key| key.map(str::to_owned)).ok();
        let sk = || Some(Some("sk_1".to_owned()));
        assert_eq!(key(&[]), Some(None));
        assert_eq!(key(&[("authorization", b"Bearer sk_1")]), sk());
        assert_eq!(key(&[("authorization", b"bearer  sk_1 ")]), sk());
        assert_eq!(key(&[("x-api-key", b"sk_1")]), sk());
        assert_eq!(key(&[("x-api-key", b"sk_1"), ("authorization", b"Bearer sk_1")]), sk());
        for refused in [b"Basic c2s6MQ==".as_slice(), b"Bearer", b"Bearer ", b"sk_1", b"Bearer a b", b"Bearer\tsk_1"] {
            assert_eq!(key(&[("authorization", refused)]), None, "{refused:?}");
        }
        assert_eq!(key(&[("x-api-key", b"sk_2"), ("authorization", b"Bearer sk_1")]), None);
        assert_eq!(key(&[("x-api-key", b"sk_1"), ("x-api-key", b"sk_1")]), None);
    }
}
