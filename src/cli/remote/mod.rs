//! A gateway as commands reach it: `QUOTAGATE_URL` and `QUOTAGATE_KEY`, and calls of its API.

pub mod ask;
pub mod problem;
pub mod table;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::config::Secret;
use problem::Problem;

/// A gateway may look at every user before it answers.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest page of a list.
const PAGE: usize = 200;

/// Which gateway, and with which key.
#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct Remote {
    /// Address of any node
    #[arg(long, env = "QUOTAGATE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL", global = true)]
    pub url: String,
    /// API key. Set the variable rather than the option, which other users of the machine can see
    #[arg(long, env = "QUOTAGATE_KEY", hide_env_values = true, value_name = "KEY", global = true)]
    pub key: Option<Secret>,
    /// The app, for the root admin key; other keys belong to one app
    #[arg(long, value_name = "APP", global = true)]
    app: Option<String>,
}

/// Which gateway, with which key, and which of its data.
#[derive(Clone, Debug, clap::Args)]
#[command(about = None, long_about = None)]
pub struct RemoteMode {
    #[command(flatten)]
    remote: Remote,
    /// The mode, for an admin key: live, test or test/<sandbox> [default: live; other keys have their own]
    #[arg(long, value_name = "MODE", global = true)]
    mode: Option<String>,
}

/// Why a command failed; one line.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("{0}")]
    Input(String),
    #[error("no key: set QUOTAGATE_KEY to an API key, or give --key")]
    NoKey,
    #[error("the key has characters that no key has: set QUOTAGATE_KEY to the whole key, as it was printed")]
    BadKey,
    #[error("cannot reach a gateway at {url}: {why}; QUOTAGATE_URL names another, `quotagate serve` starts one")]
    Unreachable { url: String, why: String },
    #[error("{}", refusal(.0))]
    Refused(Problem),
    #[error("the answer of {url} cannot be read: {why}")]
    Unreadable { url: String, why: String },
}

impl RemoteError {
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// The refusal, if it has this code.
    pub fn problem(&self, code: &str) -> Option<&Problem> {
        match self {
            Self::Refused(problem) if problem.is(code) => Some(problem),
            _ => None,
        }
    }
}

fn refusal(problem: &Problem) -> String {
    match problem.is("invalid_key") {
        true => format!("{} invalid_key: the gateway does not know this key: set QUOTAGATE_KEY", problem.status),
        false => problem.to_string(),
    }
}

impl Remote {
    /// # Errors
    /// [`RemoteError`]; no connection is made yet.
    pub fn client(&self) -> Result<Api, RemoteError> {
        self.client_in(None)
    }

    fn client_in(&self, mode: Option<&str>) -> Result<Api, RemoteError> {
        let bad = |why: String| {
            RemoteError::Input(format!("--url {:?} is not an address like http://127.0.0.1:8080{why}", self.url))
        };
        let base = Url::parse(&self.url).map_err(|error| bad(format!(" ({error})")))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(bad(String::new()));
        }
        let key = self.key.as_ref().map(Secret::expose).filter(|key| !key.is_empty()).ok_or(RemoteError::NoKey)?;
        let mut headers = HeaderMap::new();
        let header = |what: &str, value: &str| {
            HeaderValue::from_str(value)
                .map_err(|_| RemoteError::Input(format!("{what} has characters that are not allowed")))
        };
        // A header may have more than ASCII, such as the … of a key in the documentation.
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RemoteError::BadKey);
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| RemoteError::BadKey)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        for (name, option, value) in [("x-app", "--app", self.app.as_deref()), ("x-mode", "--mode", mode)] {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), header(option, value)?);
            }
        }
        let http =
            crate::infra::http_client::builder().connect_timeout(CONNECT_TIMEOUT).default_headers(headers).build();
        let http =
            http.map_err(|error| RemoteError::Input(format!("cannot make an HTTP client: {}", causes(&error))))?;
        Ok(Api { http, base })
    }
}

impl RemoteMode {
    /// Only an admin key has more than one kind of data.
    fn is_admin(&self) -> bool {
        self.remote.key.as_ref().is_some_and(|key| key.expose().starts_with("ak_"))
    }

    /// The data that a command works on, in words.
    fn place(&self) -> String {
        match self.mode.as_deref() {
            None if !self.is_admin() => "the data of this key".to_owned(),
            None | Some("live") => "live mode".to_owned(),
            Some(mode) => format!("the sandbox {}", mode.strip_prefix("test/").unwrap_or("main")),
        }
    }

    /// For an empty list: what there is none of, where, and what to do next.
    pub fn none(&self, what: &str, next: &str) -> String {
        let other = if self.is_admin() { " --mode live, test or test/<sandbox> chooses other data." } else { "" };
        format!("{what} in {}. {next}{other}", self.place())
    }

    /// For something that was not found: where it was looked for.
    pub fn searched(&self) -> String {
        let other = if self.is_admin() { "; --mode chooses other data" } else { "" };
        format!("This was {}{other}.", self.place())
    }

    /// # Errors
    /// [`RemoteError`]; no connection is made yet.
    pub fn client(&self) -> Result<Api, RemoteError> {
        self.remote.client_in(self.mode.as_deref())
    }
}

/// What a call sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    pub query: &'a [(&'a str, &'a str)],
    pub body: Option<&'a Value>,
    pub if_match: Option<&'a str>,
}

/// A response with its `ETag`, if it has one.
pub struct Answer {
    pub body: Value,
    pub etag: Option<String>,
}

/// A page, or several, of a list.
pub struct List {
    pub data: Vec<Value>,
    /// There is more of it than was asked for.
    pub more: bool,
}

/// The API of a gateway.
pub struct Api {
    http: Client,
    base: Url,
}

impl Api {
    /// # Errors
    /// [`RemoteError`]
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, RemoteError> {
        Ok(self.call(Method::GET, path, Call { query, ..Call::default() }).await?.body)
    }

    /// # Errors
    /// [`RemoteError`]
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, RemoteError> {
        Ok(self.call(Method::POST, path, Call { body: Some(body), ..Call::default() }).await?.body)
    }

    /// # Errors
    /// [`RemoteError`]
    pub async fn call(&self, method: Method, path: &[&str], call: Call<'_>) -> Result<Answer, RemoteError> {
        let mut request = self.request(method, path, call.query)?.timeout(TIMEOUT);
        if let Some(body) = call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if let Some(tag) = call.if_match {
            request = request.header("if-match", tag);
        }
        let response = self.send(request).await?;
        let etag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let text = response.bytes().await.map_err(|error| self.unreachable(error))?;
        if text.is_empty() {
            return Ok(Answer { body: Value::Null, etag });
        }
        let body = serde_json::from_slice(&text)
            .map_err(|error| RemoteError::Unreadable { url: self.base.to_string(), why: error.to_string() })?;
        Ok(Answer { body, etag })
    }

    /// The first `limit` things of a list, over as many pages as they take.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)], limit: usize) -> Result<List, RemoteError> {
        let mut list = List { data: Vec::new(), more: true };
        let mut cursor: Option<String> = None;
        while list.more && list.data.len() < limit {
            let count = (limit - list.data.len()).min(PAGE).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &count));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            list.data.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            list.more = cursor.is_some();
        }
        Ok(list)
    }

    /// A stream of the API, which has no end.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn stream(&self, path: &[&str]) -> Result<Response, RemoteError> {
        self.send(self.request(Method::GET, path, &[])?).await
    }

    /// A text beside the API.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn text(&self, name: &str) -> Result<String, RemoteError> {
        let url = self.below(&[name])?;
        let response = self.send(self.http.get(url).timeout(TIMEOUT)).await?;
        response.text().await.map_err(|error| self.unreachable(error))
    }

    /// Its address.
    pub fn address(&self) -> &Url {
        &self.base
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, RemoteError> {
        let url = self.below(&[&["api", "v1"], path].concat())?;
        Ok(self.http.request(method, url).query(query))
    }

    fn below(&self, path: &[&str]) -> Result<Url, RemoteError> {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Such a segment would name another path.
        if let Some(name) = path.iter().find(|name| ["", ".", ".."].contains(*name)) {
            return Err(RemoteError::Input(format!("{name:?} is not a valid ID")));
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        Err(RemoteError::Refused(Problem::read(status, &body)))
    }

    /// The connection failed.
    pub fn unreachable(&self, error: reqwest::Error) -> RemoteError {
        RemoteError::Unreachable { url: self.base.to_string(), why: causes(&error.without_url()) }
    }
}

/// An error with everything that it says caused it, on one line.
pub fn causes(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn api(url: &str, key: &str) -> Result<Api, String> {
        let remote = Remote { url: url.to_owned(), key: key.parse().ok(), app: None };
        remote.client().map_err(|error| error.to_string())
    }

    #[test]
    fn paths_stand_below_the_address_and_names_are_encoded() {
        for base in ["http://h:1", "http://h:1/", "http://h:1?x=1#y"] {
            let url = api(base, "k").unwrap().below(&["users", "a/b c%2e?#ä"]).unwrap();
            assert_eq!(url.as_str(), "http://h:1/users/a%2Fb%20c%252e%3F%23%C3%A4");
        }
        assert_eq!(
            api("http://h/quota/", "k").unwrap().below(&["metrics"]).unwrap().as_str(),
            "http://h/quota/metrics"
        );
        for name in ["", ".", ".."] {
            assert!(api("http://h", "k").unwrap().below(&["users", name]).is_err(), "{name}");
        }
    }

    #[test]
    fn only_admin_keys_are_told_that_there_is_other_data() {
        for (key, mode, place, other) in [
            ("ak_x", None, "live mode", true),
            ("ak_x", Some("live"), "live mode", true),
            ("ak_x", Some("test"), "the sandbox main", true),
            ("ak_x", Some("test/ci"), "the sandbox ci", true),
            ("sk_test_x", None, "the data of this key", false),
        ] {
            let remote = Remote { url: "http://h".to_owned(), key: key.parse().ok(), app: None };
            let remote = RemoteMode { remote, mode: mode.map(str::to_owned) };
            let (none, searched) = (remote.none("No users", "Add one."), remote.searched());
            assert!(none.starts_with(&format!("No users in {place}. Add one.")), "{none}");
            assert!(searched.starts_with(&format!("This was {place}")), "{searched}");
            assert_eq!((none.contains("--mode"), searched.contains("--mode")), (other, other), "{none} {searched}");
        }
    }

    #[test]
    fn what_cannot_be_called_is_one_clear_line() {
        let bad_key = "the key has characters that no key has: set QUOTAGATE_KEY to the whole key, as it was printed";
        for (url, key, expected) in [
            ("localhost:8080", "k", "--url \"localhost:8080\" is not an address like http://127.0.0.1:8080"),
            ("x", "k", "--url \"x\" is not an address like http://127.0.0.1:8080 (relative URL without a base)"),
            ("http://h", "", "no key: set QUOTAGATE_KEY to an API key, or give --key"),
            ("http://h", "sk_\n", bad_key),
            ("http://h", "ak_…", bad_key),
        ] {
            assert_eq!(api(url, key).err().unwrap(), expected);
        }
    }
}
