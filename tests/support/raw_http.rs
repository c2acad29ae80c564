//! Sends requests as raw bytes, including those that no client would send.
#![allow(dead_code)]

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response: status, head in lower case, JSON (null if the body is empty).
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub json: Value,
}

impl Reply {
    /// The first field that a 400 names, or an empty string.
    pub fn field(&self) -> &str {
        self.json["errors"][0]["field"].as_str().unwrap_or_default()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// This many zero bytes, compressed with gzip to a thousandth.
pub fn bomb(bytes: usize) -> Vec<u8> {
    let (mut encoder, piece) = (GzEncoder::new(Vec::new(), Compression::best()), vec![0; 1 << 20]);
    for _ in 0..bytes >> 20 {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// A request with these headers (each ends with CRLF) and a body of known length.
pub fn request(line: &str, headers: &[u8], body: &[u8]) -> Vec<u8> {
    let start = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
    [start.as_bytes(), headers, b"\r\n", body].concat()
}

/// The same, with a chunked body.
pub fn chunked(line: &str, headers: &[u8], body: &[u8], piece: usize) -> Vec<u8> {
    let start = format!("{line} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n");
    let mut bytes = [start.as_bytes(), headers, b"\r\n"].concat();
    for piece in body.chunks(piece) {
        bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

pub async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends the bytes on a new connection and reads the first response; of a stream only its head. Fails without a
/// response within 60 s.
pub async fn send(url: &str, bytes: &[u8]) -> Reply {
    let (mut reader, mut writer) = connect(url).await.into_split();
    // The response may arrive before everything is sent, and then the rest is never read.
    let sending = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => unreachable!("it waits for the answer"),
        answer = tokio::time::timeout(Duration::from_secs(60), read(&mut reader)) => {
            answer.unwrap_or_else(|_| panic!("no answer to {}", beginning(bytes)))
                .unwrap_or_else(|text| panic!("no answer but {text:?} to {}", beginning(bytes)))
        }
    }
}

fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned()
}

/// The next response on a connection, or the received bytes if the connection ends before.
pub async fn read(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Reply, String> {
    let mut got = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        // A server that accepts the body may send this first.
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(head.clone())?;
                return Ok(Reply { status, head, json: serde_json::from_str(body).unwrap_or(Value::Null) });
            }
        }
        let mut piece = [0; 4096];
        match reader.read(&mut piece).await {
            Ok(0) | Err(_) => return Err(text.to_owned()),
            Ok(count) => got.extend(&piece[..count]),
        }
    }
}

/// An operation of the API description: its method, its path with unknown ids, and whether it has a body.
pub struct Route {
    pub method: String,
    pub pattern: String,
    pub path: String,
    pub takes_body: bool,
}

/// Every operation of the API description.
pub fn routes() -> Vec<Route> {
    let document: Value = serde_json::from_str(&quotagate::http::openapi::document().unwrap()).unwrap();
    let mut routes = Vec::new();
    for (pattern, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            routes.push(Route {
                method: method.to_uppercase(),
                pattern: pattern.clone(),
                path: pattern.replace("{id}", "none").replace("{delivery}", "none"),
                takes_body: operation.get("requestBody").is_some(),
            });
        }
    }
    assert!(routes.len() > 70, "{}", routes.len());
    routes
}
