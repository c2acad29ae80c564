//! Floods: more of one kind of request than a node is sized for, during normal traffic.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::outside::is_as_acknowledged;
use crate::stage::{Build, IN_FLIGHT, Stage};
use crate::support::{Redis, eventually, folder};
use crate::traffic::Traffic;

/// The largest accepted body.
const MOST_BYTES: usize = 64 * 1024;

/// One keep-alive connection.
struct Kept(BufReader<TcpStream>);

impl Kept {
    async fn open(node: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(node.strip_prefix("http://").unwrap()).await.unwrap()))
    }

    async fn send(&mut self, method: &str, path: &str, key: &str, body: &str) {
        self.send_with("", method, path, key, body).await;
    }

    async fn send_with(&mut self, header: &str, method: &str, path: &str, key: &str, body: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{header}");
        let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
    }

    /// The next response: its status and body.
    async fn receive(&mut self) -> (u16, String) {
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        while line != "\r\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the connection was closed");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.to_lowercase().strip_prefix("content-length: ") {
                length = rest.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// Tracks with this idempotency key until it is counted; returns the number of 503 responses. On a busy machine a
    /// round trip may time out.
    async fn until_answered(&mut self, name: &str, key: &str, body: &str) -> u64 {
        for late in 0..1_000 {
            self.send_with(&format!("Idempotency-Key: {name}\r\n"), "POST", "/api/v1/track", key, body).await;
            let (status, answer) = self.receive().await;
            if status == 200 {
                return late;
            }
            assert_eq!(status, 503, "{answer}");
        }
        panic!("{name} is never answered");
    }

    async fn ask(&mut self, method: &str, path: &str, key: &str, body: &str) -> (u16, String) {
        self.send(method, path, key, body).await;
        self.receive().await
    }
}

/// This many connections, or as many as this machine allows one process, in which case the reason is printed.
fn possible(connections: usize) -> usize {
    const OTHERS: usize = 500;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let most: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [soft, hard] = most[..] else { return connections };
    if soft < connections + OTHERS {
        // Processes that are started from here inherit the limit.
        let own = std::process::id().to_string();
        let raised = std::process::Command::new("prlimit").args(["--pid", &own, &format!("--nofile={hard}:")]).status();
        assert!(raised.is_ok_and(|status| status.success()), "`ulimit -n` can be raised to {hard}");
    }
    if hard < connections + OTHERS {
        println!("NOT {connections} connections but {}: `ulimit -Hn` is {hard}", hard - OTHERS);
    }
    connections.min(hard.saturating_sub(OTHERS))
}

/// Keeps connections open during traffic, and then makes one call for the same user on each at the same moment.
async fn connected(wanted: usize) {
    let count = possible(wanted);
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let node = stage.nodes.read().unwrap()[0].clone();
    let begun = Instant::now();
    let mut kept = Vec::new();
    for _ in 0..count {
        let mut one = Kept::open(&node).await;
        assert_eq!(one.ask("GET", "/healthz", "", "").await.0, 200);
        kept.push(one);
    }
    let opened = begun.elapsed();
    let traffic = Traffic::start(&stage).await;
    traffic.goes_on(200).await;
    let book = traffic.stop(&format!("{count} connections open")).await;
    let begun = Instant::now();
    let body = json!({"userId": "all", "event": "image.render", "ttlSeconds": 900}).to_string();
    let key = &stage.key;
    let answers = join_all(kept.iter_mut().map(|one| one.ask("POST", "/api/v1/reserve", key, &body))).await;
    let answered = begun.elapsed();
    let allowed = answers.iter().filter(|(_, body)| body.contains("\"allowed\":true")).count() as u64;
    let statuses: BTreeSet<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert!(statuses.is_subset(&BTreeSet::from([200, 503])), "{statuses:?}");
    let unavailable = answers.iter().filter(|(status, _)| *status == 503).count();
    println!(
        "{count} connections opened in {} ms; {count} reserves of one user at once answered in {} ms, {allowed} allowed, \
         {unavailable} times 503",
        opened.as_millis(),
        answered.as_millis()
    );
    assert!(allowed <= IN_FLIGHT, "{allowed} of {IN_FLIGHT} allowed");
    if unavailable == 0 {
        assert_eq!(allowed, IN_FLIGHT);
    }
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_get_one_answer_each_and_exactly_the_quota() {
    connected(1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_10000_connections_get_one_answer_each_and_exactly_the_quota() {
    connected(10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_descriptors_serves_those_that_it_has_and_says_so() {
    const DESCRIPTORS: usize = 160;
    let redis = Redis::start().await;
    let directory = folder();
    let program = directory.path().join("gateway.sh");
    let gateway = env!("CARGO_BIN_EXE_quotagate");
    std::fs::write(&program, format!("#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec '{gateway}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let stage = Stage::of(redis.url(), 1, Build { program: Some(program), ..Build::default() }).await;
    let node = stage.nodes.read().unwrap()[0].clone();
    let mut first = Kept::open(&node).await;
    let event = |number: usize| json!({"userId": format!("u_{number}"), "event": "job.run"}).to_string();
    assert_eq!(first.ask("POST", "/api/v1/track", &stage.key, &event(0)).await.0, 200);
    let mut others = Vec::new();
    // Not more than the listen queue holds, since further connections would not even be established.
    for _ in 0..DESCRIPTORS + 60 {
        others.push(Kept::open(&node).await);
    }
    eventually("it says that it cannot take more", || {
        std::future::ready(std::fs::read_to_string(stage.log(0)).unwrap().contains("Too many open files"))
    })
    .await;
    assert_eq!(first.ask("POST", "/api/v1/track", &stage.key, &event(1)).await.0, 200, "who is in is served");
    drop(others);
    let mut late = Kept::open(&node).await;
    assert_eq!(late.ask("POST", "/api/v1/track", &stage.key, &event(2)).await.0, 200, "when there is room, all are");
    // The log did not grow without bound meanwhile.
    let lines = std::fs::read_to_string(stage.log(0)).unwrap().lines().count();
    assert!(lines < 2_000, "{lines} lines");
}

/// Clients that send a part of a request and stop, and clients that send requests and do not read.
async fn slow(count: usize, calls: u64) {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let node = stage.nodes.read().unwrap()[0].clone();
    let mut slow = Vec::new();
    for number in 0..count {
        let mut one = Kept::open(&node).await;
        match number % 3 {
            0 => one.0.write_all(b"POST /api/v1/reserve HTTP/1.1\r\nHost").await.unwrap(),
            1 => {
                let head =
                    format!("POST /api/v1/reserve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n", stage.key);
                let rest = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"userId\"";
                one.0.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
            }
            _ => {
                for _ in 0..8 {
                    one.send("GET", "/openapi.json", "", "").await;
                }
            }
        }
        slow.push(one);
    }
    let traffic = Traffic::start(&stage).await;
    traffic.goes_on(calls).await;
    assert_eq!(traffic.seen().unavailable.load(Ordering::Relaxed), 0, "no call is refused because of them");
    assert_eq!(traffic.seen().broken.load(Ordering::Relaxed), 0, "no connection is cut because of them");
    let book = traffic.stop(&format!("{count} slow readers and writers")).await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
    // A client that resumes reading finds the whole response.
    let reader = slow.iter_mut().skip(2).step_by(3).next().unwrap();
    for _ in 0..8 {
        let (status, body) = reader.receive().await;
        assert!(status == 200 && serde_json::from_str::<Value>(&body).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_and_writers_delay_no_other_call() {
    slow(150, 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_3000_slow_readers_and_writers_delay_no_other_call() {
    slow(possible(3_000), 5_000).await;
}

/// Bodies of the largest accepted size, and one byte larger.
async fn large(callers: usize, times: usize) {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 1).await;
    let node = stage.nodes.read().unwrap()[0].clone();
    let traffic = Traffic::start(&stage).await;
    let key = &stage.key;
    let callers = (0..callers).map(|caller| {
        let node = node.clone();
        async move {
            let mut kept = Kept::open(&node).await;
            let call = json!({"userId": format!("large_{caller}"), "event": "job.run"}).to_string();
            let most = format!("{call}{}", " ".repeat(MOST_BYTES - call.len()));
            for number in 0..times {
                kept.until_answered(&format!("{caller}-{number}"), key, &most).await;
                let mut other = Kept::open(&node).await;
                let (status, answer) = other.ask("POST", "/api/v1/track", key, &format!("{most} ")).await;
                assert!(status == 413 && answer.contains("payload_too_large"), "{status} {answer}");
            }
        }
    });
    let callers: Vec<()> = join_all(callers).await;
    assert_eq!(traffic.seen().broken.load(Ordering::Relaxed), 0);
    let mut book = traffic.stop(&format!("{} bodies of 64 KiB", callers.len() * times)).await;
    for caller in 0..callers.len() {
        let account = book.of(&format!("large_{caller}"));
        (account.tracked, account.events) = (times as u64, times as u64);
    }
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_64_kib_are_taken_and_a_byte_more_is_413() {
    large(16, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_20000_bodies_of_64_kib_are_taken_and_a_byte_more_is_413() {
    large(64, 313).await;
}

/// Many callers make calls for one user as fast as they are answered, next to other traffic.
async fn hot(callers: u64, times: u64) {
    let redis = Redis::start().await;
    let stage = Stage::set(redis.url(), 2).await;
    let traffic = Traffic::start(&stage).await;
    let before = traffic.seen().answered.load(Ordering::Relaxed);
    let nodes = stage.nodes.read().unwrap().clone();
    let (key, begun) = (&stage.key, Instant::now());
    let body = json!({"userId": "hot", "event": "job.run"}).to_string();
    let late: Vec<u64> = join_all((0..callers).map(|caller| {
        let (node, body) = (nodes[caller as usize % nodes.len()].clone(), body.clone());
        async move {
            let (mut kept, mut late) = (Kept::open(&node).await, 0);
            for number in 0..times {
                late += kept.until_answered(&format!("{caller}-{number}"), key, &body).await;
            }
            late
        }
    }))
    .await;
    let (took, calls) = (begun.elapsed().as_secs_f64(), callers * times);
    let others = traffic.seen().answered.load(Ordering::Relaxed) - before;
    println!(
        "{calls} calls of one user in {took:.1} s ({:.0}/s), {} times 503, beside {others} calls of others",
        calls as f64 / took,
        late.iter().sum::<u64>()
    );
    assert!(others > 0, "others go on");
    let mut book = traffic.stop("one hot user").await;
    let account = book.of("hot");
    (account.tracked, account.events) = (calls, calls);
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_user_is_counted_exactly_and_delays_no_other_user() {
    hot(64, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_busy_user_with_100000_calls_is_counted_exactly_and_delays_no_other_user() {
    hot(64, 1_563).await;
}
