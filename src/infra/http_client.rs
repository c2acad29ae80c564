//! HTTP clients of the commands that talk to a gateway.

use std::time::Duration;

use reqwest::ClientBuilder;

/// How long an unused connection is kept: not as long as a gateway keeps it (`idle` of `http::limits`), or a call could be
/// sent into one that is being closed.
const UNUSED: Duration = Duration::from_secs(60);

/// The beginning of a client: it speaks TLS, and follows no redirect, since a redirected POST would become a GET.
pub fn builder() -> ClientBuilder {
    // Another TLS implementation may have been chosen before: it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).pool_idle_timeout(UNUSED)
}
