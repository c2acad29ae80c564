//! The gateway as its client sees it: HTTP calls that are retried until they are certain.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// One attempt may take this long.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call is given up when an attempt fails this long after the first one began. Two calls
/// (reserve and commit) then still fit into the hold's [`super::drive::HOLD_SECONDS`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A running gateway and the key to it.
pub struct Gateway {
    http: Client,
    base: Url,
    authorization: HeaderValue,
    retries: AtomicU64,
}

/// The address or key cannot be used at all; one line.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("--url {url:?} is not an address like http://127.0.0.1:8080{}", detail(.why))]
    BadUrl { url: String, why: String },
    #[error("no key: give --key sk_… or set QUOTAGATE_KEY")]
    NoKey,
    #[error("the key holds characters that no key has")]
    BadKey,
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

/// A call that has no answer, or not the one wanted; one line.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the gateway refused the key: {0}")]
    KeyRefused(Problem),
    #[error("the gateway answered {0}")]
    Refused(Problem),
    #[error("the gateway's answer cannot be read: {0}")]
    Unreadable(String),
    #[error("cannot reach a gateway at {url}: {why}")]
    Unreachable { url: String, why: String },
}

/// An answer, and whether the gateway says that it had given it before.
pub struct Answer<T> {
    pub body: T,
    pub replayed: bool,
}

/// What an attempt failed with: for good, or worth another one.
enum Failure {
    Final(CallError),
    Passing { error: CallError, retry_after: Option<Duration> },
}

impl Gateway {
    /// Prepares the calls; talks to nobody yet.
    pub fn new(url: &str, key: &str, connections: usize) -> Result<Self, AddressError> {
        let bad_url = |why: &str| AddressError::BadUrl { url: url.to_owned(), why: why.to_owned() };
        let base = Url::parse(url).map_err(|error| bad_url(&error.to_string()))?;
        match base.scheme() {
            "http" | "https" if base.has_host() => {}
            _ => return Err(bad_url("")),
        }
        if key.is_empty() {
            return Err(AddressError::NoKey);
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| AddressError::BadKey)?;
        authorization.set_sensitive(true);
        let http = crate::infra::http_client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(connections)
            .no_proxy()
            .build()
            .map_err(|error| AddressError::Client(causes(&error)))?;
        Ok(Self { http, base, authorization, retries: AtomicU64::new(0) })
    }

    /// Reads once, without retries: a wrong address or key is told at once.
    pub async fn get_once<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, CallError> {
        let url = self.url(path, query);
        match self.attempt(self.http.get(url)).await {
            Ok(answer) => Ok(answer.body),
            Err(Failure::Final(error) | Failure::Passing { error, .. }) => Err(error),
        }
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, CallError> {
        let url = self.url(path, query);
        let answer = self.retried(|| self.http.get(url.clone())).await?;
        Ok(answer.body)
    }

    /// Writes. All attempts carry the same idempotency key, so the gateway acts once however
    /// many of them reach it.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        idempotency_key: &str,
    ) -> Result<Answer<T>, CallError> {
        let url = self.url(path, &[]);
        let request = || self.http.post(url.clone()).header("Idempotency-Key", idempotency_key).json(body);
        self.retried(request).await
    }

    /// How many attempts were repeated so far.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/{path}", self.base.path().trim_end_matches('/')));
        url.set_query(None);
        url.set_fragment(None);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn retried<T: DeserializeOwned>(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer<T>, CallError> {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            match self.attempt(request()).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { error, retry_after }) => {
                    if began.elapsed() >= GIVE_UP_AFTER {
                        return Err(error);
                    }
                    tokio::time::sleep(backoff(attempts, retry_after)).await;
                    attempts += 1;
                    self.retries.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer<T>, Failure> {
        let unreachable = |error: reqwest::Error| Failure::Passing {
            error: CallError::Unreachable { url: self.base.to_string(), why: causes(&error.without_url()) },
            retry_after: None,
        };
        let response = request.header(AUTHORIZATION, self.authorization.clone()).send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let replayed = response.headers().contains_key("Idempotent-Replayed");
        let bytes = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return match serde_json::from_slice(&bytes) {
                Ok(body) => Ok(Answer { body, replayed }),
                Err(error) => Err(Failure::Final(CallError::Unreadable(error.to_string()))),
            };
        }
        let problem = Problem::read(status, &bytes);
        Err(match status {
            // 502 and 504 come from a proxy between: the call may or may not have arrived.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Failure::Passing { error: CallError::Refused(problem), retry_after }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Final(CallError::KeyRefused(problem)),
            _ => Failure::Final(CallError::Refused(problem)),
        })
    }
}

/// How long to wait before the next attempt: doubling, longer if the gateway asks, bounded.
fn backoff(failed_before: u32, retry_after: Option<Duration>) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(2_u32.saturating_pow(failed_before))
        .max(retry_after.unwrap_or_default())
        .min(LONGEST_BACKOFF)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// An error with everything that it says caused it, on one line.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn detail(why: &str) -> String {
    match why {
        "" => String::new(),
        why => format!(" ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(url: &str) -> Result<Gateway, String> {
        Gateway::new(url, "sk_test_x", 1).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_stand_below_the_address_and_names_are_encoded() {
        for base in ["http://h:1", "http://h:1/", "http://h:1?x=1#y"] {
            let url = gateway(base).unwrap().url("usage", &[("userId", "a b&c")]);
            assert_eq!(url.as_str(), "http://h:1/api/v1/usage?userId=a+b%26c");
        }
        let url = gateway("http://h/quota/").unwrap().url("reserve", &[]);
        assert_eq!(url.as_str(), "http://h/quota/api/v1/reserve");
    }

    #[test]
    fn a_bad_address_is_one_clear_line() {
        for (url, expected) in [
            ("localhost:8080", "--url \"localhost:8080\" is not an address like http://127.0.0.1:8080"),
            (
                "nonsense",
                "--url \"nonsense\" is not an address like http://127.0.0.1:8080 (relative URL without a base)",
            ),
            ("ftp://h", "--url \"ftp://h\" is not an address like http://127.0.0.1:8080"),
        ] {
            assert_eq!(gateway(url).err().unwrap(), expected);
        }
    }

    #[test]
    fn a_missing_or_impossible_key_is_refused_without_showing_it() {
        let error = |key| Gateway::new("http://h", key, 1).err().unwrap().to_string();
        assert_eq!(error(""), "no key: give --key sk_… or set QUOTAGATE_KEY");
        assert_eq!(error("sk_\n"), "the key holds characters that no key has");
    }

    #[test]
    fn backoff_doubles_heeds_retry_after_and_is_bounded() {
        let ms = |failed, retry_after| backoff(failed, retry_after).as_millis();
        assert_eq!(ms(0, None), 100);
        assert_eq!(ms(3, None), 800);
        assert_eq!(ms(1, Some(Duration::from_secs(2))), 2_000);
        assert_eq!(ms(1, Some(Duration::from_secs(3_600))), 5_000);
        assert_eq!(ms(u32::MAX, None), 5_000);
    }
}
