//! Slow clients.

use std::time::{Duration, Instant};

use quotagate::http::middleware::limits::Limits;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Redis, Running, in_time};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

/// Sends a head that announces a body, and the beginning of the body; returns what arrives until the node closes the
/// connection.
async fn answer_to_half_a_body(node: &Running, head: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(node.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request =
        format!("{head}\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"userId\"");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has ended too.
    let _ = in_time("the connection is closed", stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer, but {answer:?}"));
    (head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_answered_408_and_its_connection_closed() {
    let redis = Redis::start().await;
    let limits = Limits { body_timeout: Duration::from_millis(200), idle: LONG, ..Limits::default() };
    let node = Running::with_limits(&redis.url(), limits).await;
    for path in ["PUT /api/v1/plans/p", "PUT /api/v1/configuration", "POST /api/v1/keys"] {
        let head = format!("{path} HTTP/1.1\r\nAuthorization: Bearer {}", crate::support::ROOT_KEY);
        let (head, problem) = answer_to_half_a_body(&node, &head).await;
        assert!(head.starts_with("http/1.1 408 ") && head.contains("\r\nconnection: close"), "{path}: {head}");
        assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
        assert_eq!((&problem["status"], &problem["code"]), (&408.into(), &"request_timeout".into()), "{path}");
    }
    let (head, problem) = answer_to_half_a_body(&node, "POST /api/v1/session HTTP/1.1").await;
    assert_eq!(problem["code"], "request_timeout", "{head}");
}

/// A client that opens a connection in advance must not get a 408 for its first call a little later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_call_yet_stays_open_as_long_as_one_with_calls() {
    let redis = Redis::start().await;
    let idle = Duration::from_secs(2);
    let node = Running::with_limits(&redis.url(), Limits { idle, ..Limits::default() }).await;
    let address = node.url.strip_prefix("http://").unwrap();
    let opened = Instant::now();
    let (mut unused, mut half) =
        (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
    // On a machine that was paused for seconds they are closed by then, which is not an error.
    let _ = half.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await;
    let mut used = TcpStream::connect(address).await.unwrap();
    let _ = used.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    for stream in [&mut unused, &mut half, &mut used] {
        let mut answer = Vec::new();
        let _ = in_time("the connection is closed", stream.read_to_end(&mut answer)).await;
        // The server checks its clock twice a second.
        assert!(opened.elapsed() >= idle / 2, "closed after {:?}", opened.elapsed());
    }
    assert!(Limits::default().idle > Duration::from_secs(60), "longer than clients and proxies keep theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_refused_before_its_body_arrives_closes_the_connection() {
    let redis = Redis::start().await;
    // Neither of these closes a connection during the test.
    let limits = Limits { body_timeout: LONG, idle: LONG, ..Limits::default() };
    let node = Running::with_limits(&redis.url(), limits).await;
    for (path, code) in [
        ("POST /api/v1/reserve", "invalid_key"),
        ("GET /api/v1/users", "invalid_key"),
        ("POST /api/v1/nothing", "not_found"),
        ("PATCH /api/v1/reserve", "method_not_allowed"),
    ] {
        let (head, problem) = answer_to_half_a_body(&node, &format!("{path} HTTP/1.1")).await;
        assert_eq!(problem["code"], code, "{path}: {head}");
    }
}
