//! HTTP clients for commands that call a gateway.

use std::time::Duration;

use reqwest::ClientBuilder;

/// How long an unused connection is kept: less than at the gateway (`idle` of `http::limits`), so that no call is sent
/// into a connection that is being closed.
const UNUSED: Duration = Duration::from_secs(60);

/// A client builder with TLS and without redirects, since a redirected POST would become a GET.
pub fn builder() -> ClientBuilder {
    // If another TLS implementation was installed before, that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).pool_idle_timeout(UNUSED)
}
