//! HTTP clients of the commands that talk to a gateway.

use reqwest::ClientBuilder;

/// The beginning of a client: it speaks TLS, and follows no redirect, since a redirected POST would become a GET.
pub fn builder() -> ClientBuilder {
    // Another TLS implementation may have been chosen before: it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none())
}
