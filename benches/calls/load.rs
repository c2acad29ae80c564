//! Load over HTTP.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::redis_time::redis_seconds;
use crate::stage::{Stage, USERS, address, reserve, user};
use crate::{RUN, tell};

/// One keep-alive connection that speaks just enough HTTP.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(8192) }
    }

    /// Answers the body; fails unless the status is 200 or 201.
    pub async fn post(&mut self, path: &str, key: &str, body: &str) -> String {
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the connection was closed");
            let Some(head) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            let succeeded = text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.1 201");
            assert!(succeeded, "{}", String::from_utf8_lossy(&self.buffer));
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let length: usize = length.unwrap().parse().unwrap();
            if self.buffer.len() >= head + 4 + length {
                return std::str::from_utf8(&self.buffer[head + 4..]).unwrap().to_owned();
            }
        }
    }
}

/// Calls for each number, over 64 connections.
pub async fn each(address: &str, numbers: std::ops::Range<usize>, call: impl AsyncFn(&mut Connection, usize)) {
    let call = &call;
    let tasks = (0..64).map(|first| {
        let numbers = numbers.clone().skip(first).step_by(64);
        async move {
            let mut connection = Connection::open(address).await;
            for number in numbers {
                call(&mut connection, number).await;
            }
        }
    });
    join_all(tasks).await;
}

#[derive(Clone, Copy, PartialEq)]
pub enum Turn {
    NoOp,
    Reserve,
    /// Reserve and commit.
    Pair,
}

pub struct Load {
    /// Turns per second.
    pub rate: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// The part of the time in which Redis works.
    pub redis_busy: f64,
}

/// The text of a field of a flat answer.
pub fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let rest = answer.split_once(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("{answer}")).1;
    rest.split_once('"').unwrap().0
}

/// One turn after another on each connection.
pub async fn run(stage: &Stage, turn: Turn, connections: usize, time: Duration) -> Load {
    let redis = redis_seconds(&stage.redis).await;
    let started = Instant::now();
    let tasks = (0..connections).map(|first| async move {
        let address = match turn {
            Turn::NoOp => &stage.no_op.address,
            Turn::Reserve | Turn::Pair => address(&stage.nodes[first % stage.nodes.len()]),
        };
        let mut connection = Connection::open(address).await;
        let (mut latencies, mut number) = (Vec::new(), first * 7919);
        while started.elapsed() < time {
            let body = reserve(&user(number % USERS));
            let before = Instant::now();
            let answer = connection.post("reserve", &stage.key, &body).await;
            assert!(answer.contains("\"allowed\":true"), "{answer}");
            if turn == Turn::Pair {
                let body = format!("{{\"reservationId\":\"{}\"}}", field(&answer, "reservationId"));
                let answer = connection.post("commit", &stage.key, &body).await;
                assert!(answer.contains("\"committed\""), "{answer}");
            }
            latencies.push(before.elapsed());
            number += connections * 7919;
        }
        latencies
    });
    let mut latencies = join_all(tasks).await.concat();
    let seconds = started.elapsed().as_secs_f64();
    let redis_busy = (redis_seconds(&stage.redis).await - redis) / seconds;
    latencies.sort();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
    Load { rate: latencies.len() as f64 / seconds, p50: at(0.5), p99: at(0.99), redis_busy }
}

/// What part of a second's work Redis spends in functions when two nodes share it.
pub async fn two_nodes() {
    let stage = Stage::set(2).await;
    stage.redis.run::<String>(&["CONFIG", "RESETSTAT"]).await;
    let started = Instant::now();
    let load = run(&stage, Turn::Reserve, 64, RUN).await;
    let spent = crate::redis_time::function_seconds(&stage.redis).await;
    let busy = spent / started.elapsed().as_secs_f64();
    println!("two nodes, 64 connections: reserve {:.0}/s", load.rate);
    tell("share of the time that Redis is busy in functions, two nodes", format!("{:.0} %", busy * 100.0), ">= 90 %");
}
