//! Slow clients.

use std::time::{Duration, Instant};

use quotagate::http::middleware::limits::Limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw_http::{chunked, connect, read, request, send};
use crate::support::{ROOT_KEY, Redis, Running, in_time, new_key};

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
        let head = format!("{path} HTTP/1.1\r\nAuthorization: Bearer {}", ROOT_KEY);
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

/// Nothing is woken when a piece of a body arrives (`src/http/wire/payload.rs`), so every way to arrive is tried here. No
/// time limit ends a call that is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_read_in_whatever_pieces_it_arrives() {
    let redis = Redis::start().await;
    let limits = Limits { body_timeout: LONG, idle: LONG, ..Limits::default() };
    let node = Running::with_limits(&redis.url(), limits).await;
    let admin = node.client(ROOT_KEY);
    let line = "POST /api/v1/can-use";
    // More than the server buffers of a body.
    let body = format!("{:50000}", json!({"userId": "u", "event": "image.a"}).to_string()).into_bytes();
    for encode in [
        |line: &str, headers: &[u8], body: &[u8]| request(line, headers, body),
        |line: &str, headers: &[u8], body: &[u8]| chunked(line, headers, body, 7_000),
    ] {
        // The node has not seen this key yet, so it reads it from Redis before the body.
        let key = new_key(&admin, json!({"kind": "secret", "mode": "live"})).await;
        let header = format!("Authorization: Bearer {key}\r\n");
        let call = encode(line, header.as_bytes(), &body);
        let head_end = call.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        for cuts in [vec![], vec![20], vec![head_end], vec![head_end + 5, 40_000], vec![call.len() - 1]] {
            let mut stream = connect(&node.url).await;
            let (mut from, ends) = (0, cuts.iter().copied().chain([call.len()]));
            for end in ends {
                stream.write_all(&call[from..end]).await.unwrap();
                from = end;
                // Meanwhile the node reads the piece.
                assert_eq!(send(&node.url, &request("GET /healthz", b"", b"")).await.status, 200);
            }
            let answer = in_time("the answer", read(&mut stream)).await.unwrap();
            assert_eq!((answer.status, &answer.json["reasons"]), (200, &json!(["no_subscription"])), "{cuts:?}");
        }

        // A second call behind the first: its body ends after the first answer.
        let mut stream = connect(&node.url).await;
        stream.write_all(&[&call[..], &call[..head_end + 5]].concat()).await.unwrap();
        assert_eq!(in_time("the first answer", read(&mut stream)).await.unwrap().status, 200);
        stream.write_all(&call[head_end + 5..]).await.unwrap();
        assert_eq!(in_time("the second answer", read(&mut stream)).await.unwrap().status, 200);

        // A client that waits until the server wants the body.
        let call = encode(line, format!("{header}Expect: 100-continue\r\n").as_bytes(), &body);
        let head_end = call.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        let mut stream = connect(&node.url).await;
        stream.write_all(&call[..head_end]).await.unwrap();
        let mut wanted = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        in_time("the server wants the body", stream.read_exact(&mut wanted)).await.unwrap();
        stream.write_all(&call[head_end..]).await.unwrap();
        assert_eq!(in_time("the answer", read(&mut stream)).await.unwrap().status, 200);
    }
}
