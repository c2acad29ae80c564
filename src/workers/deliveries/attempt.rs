//! One delivery attempt: a signed POST (Standard Webhooks) to a permitted address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::DeliverOptions;
use super::resolver::PublicResolver;
use crate::domain::webhooks::address::is_public;
use crate::infra::http_client;
use crate::service::webhooks::deliveries::Due;

/// The result of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx
    Accepted(u16),
    /// Any other status; redirects are not followed.
    Refused(u16),
    /// No answer.
    Failed(String),
}

/// Sends messages to receivers.
pub struct Sender {
    http: reqwest::Client,
    allow_private: bool,
}

impl Sender {
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(options: DeliverOptions) -> Result<Self, reqwest::Error> {
        let builder = http_client::builder()
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(std::time::Duration::from_secs(5)))
            .no_proxy()
            .user_agent(concat!("quotagate/", env!("CARGO_PKG_VERSION")));
        let builder = match options.allow_private {
            true => builder,
            false => builder.dns_resolver(std::sync::Arc::new(PublicResolver)),
        };
        Ok(Self { http: builder.build()?, allow_private: options.allow_private })
    }

    pub async fn send(&self, due: &Due) -> Answer {
        let url = match reqwest::Url::parse(&due.url) {
            Ok(url) => url,
            Err(error) => return Answer::Failed(format!("invalid URL: {error}")),
        };
        // A literal address is not resolved, so it is checked here.
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !self.allow_private && literal.is_some_and(|address| !is_public(address)) {
            return Answer::Failed("the address must be public".to_owned());
        }
        let timestamp = (due.taken_at_ms / 1000).to_string();
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &due.message)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", signatures(&due.secrets, &due.message, &timestamp, &due.body))
            .body(due.body.clone());
        match request.send().await {
            Ok(response) if response.status().is_success() => Answer::Accepted(response.status().as_u16()),
            Ok(response) => Answer::Refused(response.status().as_u16()),
            Err(error) => Answer::Failed(fault(&error)),
        }
    }
}

/// The error without the URL, which may contain a secret.
fn fault(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no response in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().take(200).collect()
}

/// `v1,<base64>` per secret, separated by spaces: HMAC-SHA256 of `<id>.<timestamp>.<body>`
/// (Standard Webhooks, "Signature scheme").
fn signatures(secrets: &[String], id: &str, timestamp: &str, body: &str) -> String {
    let sign = |secret: &String| {
        let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::ids::{AppId, Mode, WebhookId};
    use crate::service::tenant::{Placement, Tenant};

    fn due(url: String) -> Due {
        Due {
            tenant: Tenant { app: AppId::parse("a").unwrap(), mode: Mode::Live, placement: Placement::App },
            webhook: WebhookId::parse("w").unwrap(),
            url,
            secrets: vec!["whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0".to_owned()],
            message: "msg_1".to_owned(),
            body: "{}".to_owned(),
            attempts: 0,
            taken_at_ms: 0,
        }
    }

    /// Addresses of this machine in any notation, and its name, are not called although a server listens there.
    #[tokio::test]
    async fn what_is_not_public_is_not_called_unless_that_is_allowed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"];
        let guarded = Sender::new(DeliverOptions::default()).unwrap();
        for host in hosts {
            let answer = guarded.send(&due(format!("http://{host}:{port}/"))).await;
            assert!(matches!(&answer, Answer::Failed(why) if why.contains("public")), "{host}: {answer:?}");
        }
        let called = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
        assert!(called.is_err(), "somebody called");
        let open = Sender::new(DeliverOptions { allow_private: true, ..DeliverOptions::default() }).unwrap();
        let request = due(format!("http://localhost:{port}/"));
        tokio::join!(open.send(&request), async { drop(listener.accept().await.unwrap()) });
    }
}
