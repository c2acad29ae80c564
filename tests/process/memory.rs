//! How much memory clients can make a node allocate, with and without a key. Linux only, since the test reads the peak
//! memory of a process from `/proc`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::gateway::{ADMIN_KEY, Process};
use crate::raw_http::{self, Route, bomb, chunked, connect, gzip, request, routes, send};

const MIB: usize = 1 << 20;
/// Number of concurrent requests.
const AT_ONCE: usize = 64;

/// A node with a key for metering.
struct Node {
    process: Process,
    key: String,
    _dir: TempDir,
}

impl Node {
    /// With two workers, since each keeps some of the memory that it has used.
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let process = Process::start(
            dir.path(),
            &[("QUOTAGATE_ADMIN_KEY", ADMIN_KEY), ("QUOTAGATE_LOG", "error"), ("QUOTAGATE_WORKERS", "2")],
        );
        let created = process.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
        let key = created["key"].as_str().unwrap().to_owned();
        // Warms up the node, so that its regular memory is allocated.
        join_all((0..AT_ONCE).map(|_| process.call("GET", "plans", ADMIN_KEY, &Value::Null))).await;
        Self { process, key, _dir: dir }
    }

    /// A value in bytes from `/proc/<pid>/status`.
    fn figure(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Resets the peak memory; returns the current memory.
    fn peak_begins(&self) -> usize {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
        self.figure("VmRSS:")
    }

    #[track_caller]
    fn grew_less_than(&self, most: usize, before: usize, what: &str) {
        let growth = self.figure("VmHWM:").saturating_sub(before);
        println!("{what}: {:.1} MiB more than {:.1} MiB", growth as f64 / MIB as f64, before as f64 / MIB as f64);
        assert!(growth < most, "{what}: {growth} bytes more than {before}");
    }

    /// Sends the same bytes on this many connections at once; each must be refused with this status.
    async fn all_refused(&self, bytes: &[u8], status: u16, what: &str) {
        let before = self.peak_begins();
        let replies = join_all((0..AT_ONCE).map(|_| send(&self.process.url, bytes))).await;
        for reply in replies {
            assert_eq!(reply.status, status, "{what}: {} {}", reply.head, reply.json);
        }
        self.grew_less_than(32 * MIB, before, what);
    }
}

fn is_supported() -> bool {
    Path::new("/proc/self/clear_refs").exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
async fn sixty_four_bodies_that_inflate_at_once_take_less_than_32_mib() {
    assert!(is_supported(), "/proc/self/clear_refs is missing");
    let node = Node::start().await;
    let bomb = bomb(60 * MIB);
    let gzipped = b"Content-Encoding: gzip\r\n".as_slice();
    let with_key = format!("Authorization: Bearer {}\r\nContent-Encoding: gzip\r\n", node.key).into_bytes();
    let small = gzip(&vec![b' '; 48 * MIB]);
    assert!((4096..=64 * 1024).contains(&bomb.len()) && small.len() <= 64 * 1024, "{} {}", bomb.len(), small.len());
    for (line, headers, status) in [
        ("POST /api/v1/session", gzipped, 413),
        ("POST /api/v1/reserve", gzipped, 401),
        ("POST /api/v1/nothing", gzipped, 404),
        ("POST /api/v1/reserve", &with_key, 413),
        ("POST /api/v1/track", &with_key, 413),
    ] {
        for (name, body) in [("bomb", &bomb), ("spaces", &small)] {
            node.all_refused(&request(line, headers, body), status, &format!("{name} to {line} ({status})")).await;
            let pieces = chunked(line, headers, body, 1000);
            node.all_refused(&pieces, status, &format!("{name} in pieces to {line} ({status})")).await;
        }
    }
    // The node keeps working, and accepts a gzip body that is not too large.
    let call = gzip(json!({"userId": "u", "event": "image.a"}).to_string().as_bytes());
    let reply = send(&node.process.url, &request("POST /api/v1/can-use", &with_key, &call)).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
}

/// Oversized requests for one route: too large, too many items, or nested too deeply. Each with a description.
fn oversized(route: &Route, key: &str, things: &Things) -> Vec<(&'static str, Vec<u8>)> {
    let line = format!("{} {}", route.method, route.path);
    let head = |more: &str| format!("{key}{more}").into_bytes();
    let mut many = String::new();
    for number in 0..200 {
        many.push_str(&format!("X-Number-{number}: {number}\r\n"));
    }
    let long = |length: usize| "x".repeat(length);
    let within = route.pattern.replace("{id}", &long(50_000)).replace("{delivery}", &long(5_000));
    vec![
        ("body", request(&line, &head(""), &things.plain)),
        ("chunked body", chunked(&line, &head(""), &things.plain, 10_000)),
        ("body in small chunks", chunked(&line, &head(""), &things.plain[..70_000], 3)),
        ("inflated body", request(&line, &head("Content-Encoding: gzip\r\n"), &things.bomb)),
        ("body of empty blocks", request(&line, &head("Content-Encoding: gzip\r\n"), &things.empty_blocks)),
        ("deep body", request(&line, &head(""), &things.deep)),
        ("deep inflated body", request(&line, &head("Content-Encoding: gzip\r\n"), &things.deep_gzip)),
        (
            "announced body",
            format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n{key}\r\n").into_bytes(),
        ),
        ("header", request(&line, &head(&format!("X-Long: {}\r\n", long(200_000))), b"")),
        ("header that is read", request(&line, &head(&format!("Idempotency-Key: {}\r\n", long(60_000))), b"{}")),
        ("headers", request(&line, &head(&many), b"")),
        ("path", request(&format!("{} {}/{}", route.method, route.path, long(100_000)), &head(""), b"")),
        ("ids", request(&format!("{} {within}", route.method), &head(""), b"{}")),
        ("query", request(&format!("{line}?userId={}", long(100_000)), &head(""), b"")),
        (
            "query that is read",
            request(&format!("{line}?userId={}&cursor={}", long(30_000), long(30_000)), &head(""), b""),
        ),
    ]
}

struct Things {
    plain: Vec<u8>,
    bomb: Vec<u8>,
    /// Empty deflate blocks, 5 bytes each, which never inflate to any data.
    empty_blocks: Vec<u8>,
    deep: Vec<u8>,
    deep_gzip: Vec<u8>,
}

impl Things {
    fn new() -> Self {
        let deep = format!("{{\"userId\":{}", "[".repeat(60_000)).into_bytes();
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let empty_blocks = [&header[..], &[0, 0, 0, 0xff, 0xff].repeat(MIB / 4)].concat();
        Self { plain: vec![b' '; MIB + MIB / 8], bomb: bomb(60 * MIB), empty_blocks, deep_gzip: gzip(&deep), deep }
    }
}

/// Covers every route of the API description, so also routes that are added later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
async fn everything_oversized_to_every_route_is_refused_soon_and_takes_little_memory() {
    let node = Node::start().await;
    let (url, things) = (&node.process.url, Things::new());
    let keys = ["", &format!("X-Api-Key: {}\r\n", node.key), &format!("Authorization: Bearer {ADMIN_KEY}\r\n")];
    let routes = routes();
    let mut faults = Vec::new();
    // Warms up the code that answers the requests.
    for (key, route) in keys.iter().flat_map(|key| routes.iter().map(move |route| (key, route))) {
        send(url, &request(&format!("{} {}", route.method, route.path), key.as_bytes(), b"{}")).await;
    }
    let before = node.peak_begins();
    for key in keys {
        for route in &routes {
            // A key that may write the configuration may send up to a mebibyte, so larger bodies are sent for it.
            let tries = stream::iter(oversized(route, key, &things)).map(async |(what, bytes)| {
                let reply = send(url, &bytes).await;
                let name = format!("{what} to {} {} with `{}`", route.method, route.pattern, key.trim());
                // What a route does not read cannot be too large.
                let is_read = match what {
                    "header" | "headers" | "path" | "query" => true,
                    "header that is read" | "ids" | "query that is read" => false,
                    _ => route.takes_body,
                };
                let is_refused = (400..500).contains(&reply.status);
                let is_well = if is_read { is_refused } else { reply.status < 500 };
                (!is_well).then(|| format!("{name}: {} {}", reply.status, reply.json))
            });
            faults.extend(tries.buffer_unordered(8).filter_map(async |fault| fault).collect::<Vec<_>>().await);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    node.grew_less_than(64 * MIB, before, "everything oversized to every route");
}

/// Clients that never finish their requests, during other traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
async fn a_chunked_body_without_end_is_cut_off() {
    let node = Node::start().await;
    for (line, key, status) in [
        ("POST /api/v1/reserve", "", 401),
        ("POST /api/v1/reserve", node.key.as_str(), 413),
        ("POST /api/v1/session", "", 413),
        ("GET /api/v1/plans", node.key.as_str(), 200),
        ("POST /api/v1/nothing", "", 404),
        ("GET /healthz", "", 200),
    ] {
        for expects in ["", "Expect: 100-continue\r\n"] {
            let head = format!(
                "{line} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {key}\r\nTransfer-Encoding: chunked\r\n{expects}\r\n"
            );
            let head = if key.is_empty() { head.replace("X-Api-Key: \r\n", "") } else { head };
            let (mut reader, mut writer) = connect(&node.process.url).await.into_split();
            writer.write_all(head.as_bytes()).await.unwrap();
            let endless = async {
                let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
                let mut sent = 0;
                while writer.write_all(&chunk).await.is_ok() {
                    sent += chunk.len();
                }
                sent
            };
            let both = futures::future::join(raw_http::read(&mut reader), endless);
            let done = tokio::time::timeout(Duration::from_secs(60), both).await;
            let (reply, _) = done.unwrap_or_else(|_| panic!("{line} {expects}: it is still read"));
            let reply = reply.unwrap();
            assert_eq!(reply.status, status, "{line} {expects}: {}", reply.json);
        }
    }
}

/// Sends what unauthenticated clients may send, until `done`, one request after the other on new connections; returns
/// their number.
async fn flood(node: &Node, things: &Things, number: usize, done: &AtomicBool) -> u64 {
    let (url, key) = (&node.process.url, format!("X-Api-Key: {}\r\n", node.key));
    let gzipped = "Content-Encoding: gzip\r\n";
    let Things { bomb, deep, .. } = things;
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) {
        match (number + sent as usize) % 8 {
            0 => drop(send(url, &request("POST /api/v1/session", gzipped.as_bytes(), bomb)).await),
            1 => drop(send(url, &request("POST /api/v1/reserve", format!("{key}{gzipped}").as_bytes(), bomb)).await),
            2 => drop(send(url, &chunked("POST /api/v1/track", key.as_bytes(), deep, 5)).await),
            3 => drop(
                send(url, &request("GET /healthz", format!("X-Long: {}\r\n", "x".repeat(200_000)).as_bytes(), b""))
                    .await,
            ),
            4 => drop(send(url, &request("POST /api/v1/session", b"Expect: 100-continue\r\n", deep)).await),
            5 => drop(send(url, &request("POST /api/v1/reserve", key.as_bytes(), deep)).await),
            // Many pipelined calls before the first answer is read.
            6 => drop(send(url, &request("GET /api/v1/plans", b"", b"").repeat(500)).await),
            // A request head that never ends, and a client that disconnects.
            _ => connect(url)
                .await
                .write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(60_000)).as_bytes())
                .await
                .unwrap(),
        }
        sent += 1;
    }
    sent
}

/// Floods for this time, with this many idle connections; a caller with a key is answered throughout.
async fn flooded(seconds: u64, idle: usize, most: usize) {
    let node = Node::start().await;
    let (body, things) = (json!({"userId": "u", "event": "image.a"}), Things::new());
    let before = node.peak_begins();
    let mut kept = Vec::new();
    for _ in 0..idle {
        kept.push(connect(&node.process.url).await);
    }
    let done = AtomicBool::new(false);
    let caller = async {
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < Duration::from_secs(seconds) {
            let call = Instant::now();
            node.process.call("POST", "can-use", &node.key, &body).await;
            took.push(call.elapsed());
        }
        done.store(true, Ordering::Relaxed);
        took.sort_unstable();
        took
    };
    let floods = join_all((0..16).map(|number| flood(&node, &things, number, &done)));
    let (took, sent) = futures::future::join(caller, floods).await;
    println!(
        "{} hostile requests beside {idle} idle connections in {seconds} s; {} calls of a caller with a key, p50 {} ms, slowest {} ms",
        sent.iter().sum::<u64>(),
        took.len(),
        took[took.len() / 2].as_millis(),
        took.last().map_or(0, Duration::as_millis)
    );
    node.grew_less_than(most, before, "a mixed flood");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
async fn a_mixed_flood_takes_little_memory_and_callers_are_answered() {
    flooded(3, 100, 96 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a minute"]
async fn long_a_mixed_flood_of_a_minute() {
    flooded(60, 400, 96 * MIB).await;
}
