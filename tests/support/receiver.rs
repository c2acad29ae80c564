//! A webhook receiver on this machine: an HTTP server with configurable responses, which records requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// A received request.
#[derive(Clone, Debug)]
pub struct Got {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Fails unless the signature is valid according to the reference implementation of Standard Webhooks.
    #[track_caller]
    pub fn verify(&self, secret: &str) {
        self.verified(secret).unwrap();
    }

    pub fn verified(&self, secret: &str) -> Result<(), standardwebhooks::WebhookError> {
        let mut headers = reqwest::header::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.headers[name].parse().unwrap());
        }
        standardwebhooks::Webhook::new(secret).unwrap().verify(self.body.as_bytes(), &headers)
    }
}

/// How it responds: with a status, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    Never,
}

#[derive(Clone)]
struct State {
    got: Arc<Mutex<Vec<Got>>>,
    /// Used in order; the last one is repeated.
    replies: Arc<Mutex<Vec<Reply>>>,
}

pub struct Receiver {
    pub url: String,
    state: State,
    handle: actix_web::dev::ServerHandle,
}

impl Receiver {
    pub async fn start(replies: &[Reply]) -> Self {
        let state = State { got: Arc::default(), replies: Arc::new(Mutex::new(replies.to_vec())) };
        let shared = state.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(shared.clone())).default_service(web::to(receive))
        })
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, state, handle }
    }

    pub fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }

    /// Sets the responses from now on.
    pub fn answer(&self, replies: &[Reply]) {
        *self.state.replies.lock().unwrap() = replies.to_vec();
    }

    /// Waits until this many requests were received.
    pub async fn wait_for(&self, count: usize) -> Vec<Got> {
        super::eventually("the webhook is delivered", || async { self.got().len() >= count }).await;
        self.got()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn receive(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let text = |value: &actix_web::http::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    state.got.lock().unwrap().push(Got { headers, body: String::from_utf8(body.to_vec()).unwrap() });
    let reply = {
        let mut replies = state.replies.lock().unwrap();
        if replies.len() > 1 { replies.remove(0) } else { replies[0] }
    };
    match reply {
        Reply::Status(status) => HttpResponse::build(status.try_into().unwrap()).finish(),
        Reply::Never => std::future::pending().await,
    }
}
