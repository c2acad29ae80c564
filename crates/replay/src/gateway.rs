//! An HTTP client of the gateway that retries calls until their result is certain.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quotagate::cli::remote::causes;
use quotagate::cli::remote::problem::Problem;
use quotagate::infra::http_client;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The time limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call fails when an attempt fails this long after the first one began. Two calls (reserve and commit) then still
/// fit into the hold's [`super::drive::HOLD_SECONDS`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A running gateway and a key for it.
pub struct Gateway {
    http: Client,
    base: Url,
    authorization: HeaderValue,
    retries: AtomicU64,
}

/// The address or key cannot be used, in one line.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("--url {url:?} is not an address like http://127.0.0.1:8080{}", detail(.why))]
    BadUrl { url: String, why: String },
    #[error("no key: set QUOTAGATE_KEY to a secret key (sk_…), or give --key")]
    NoKey,
    #[error("the key contains invalid characters")]
    BadKey,
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
}

/// A call without an answer, or with an unexpected one, in one line.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the gateway refused the key: {0}")]
    KeyRefused(Problem),
    #[error("the gateway returned {0}")]
    Refused(Problem),
    #[error("cannot read the gateway's answer: {0}")]
    Unreadable(String),
    #[error("cannot reach a gateway at {url}: {why}")]
    Unreachable { url: String, why: String },
}

/// An answer, and whether the gateway marked it as replayed.
pub struct Answer<T> {
    pub body: T,
    pub replayed: bool,
}

/// Why an attempt failed: permanently, or worth a retry.
enum Failure {
    Final(CallError),
    Passing { error: CallError, retry_after: Option<Duration> },
}

impl Gateway {
    /// Prepares the client without connecting.
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
        let http = http_client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(connections)
            .no_proxy()
            .build()
            .map_err(|error| AddressError::Client(causes(&error)))?;
        Ok(Self { http, base, authorization, retries: AtomicU64::new(0) })
    }

    /// Reads once without retries, so that a wrong address or key is reported at once.
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

    /// Writes. All attempts have the same idempotency key, so the gateway acts once, however many attempts reach it.
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

    /// The number of retries so far.
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
            // 502 and 504 come from a proxy, so the call may or may not have arrived.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Failure::Passing { error: CallError::Refused(problem), retry_after }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Final(CallError::KeyRefused(problem)),
            _ => Failure::Final(CallError::Refused(problem)),
        })
    }
}

/// The wait before the next attempt: doubling, at least what the gateway asks for, limited.
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
        assert_eq!(error(""), "no key: set QUOTAGATE_KEY to a secret key (sk_…), or give --key");
        assert_eq!(error("sk_\n"), "the key contains invalid characters");
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
