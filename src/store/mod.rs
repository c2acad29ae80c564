//! Redis: key names, scripts with their arguments and replies, documents. Nothing above this layer names Redis.

pub mod admission;
pub mod approval;
pub mod audit;
pub mod change_user;
pub mod clock;
pub mod configuration;
pub mod connection;
pub mod delivery;
pub mod error;
pub mod grant;
pub mod keys;
pub mod ledger;
pub mod operation;
pub mod outbox;
pub mod outcome;
pub mod record;
pub mod register;
pub mod repair;
mod reply;
pub mod reserve;
pub mod rollup;
mod rollup_text;
pub mod sandbox;
pub mod scripts;
pub mod server;
pub mod session;
pub mod settle;
pub mod survey;
pub mod track;
pub mod usage;
pub mod users;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use connection::Link;
use error::StoreError;
use reply::Fields;
use scripts::{Script, Scripts};
use waiting::Waiting;

/// Entries of a bucket's ledger, unless told otherwise: about half a gigabyte.
pub const LEDGER_ENTRIES: u64 = 1_000_000;

/// A node's connections to Redis. Clones share them.
#[derive(Clone)]
pub struct Store {
    links: Arc<[Link]>,
    next: Arc<std::sync::atomic::AtomicUsize>,
    waiting: Option<Arc<Waiting>>,
    timeout: Duration,
    /// How many entries the ledger of a bucket may have.
    pub ledger_entries: u64,
    pub scripts: &'static Scripts,
}

impl Store {
    /// Connects lazily: a Redis that is away now is found when it is there.
    ///
    /// # Errors
    /// A URL that names no store.
    pub async fn open(url: &str, timeout: Duration, connections: usize) -> Result<Self, StoreError> {
        let mut links = Vec::new();
        for _ in 0..connections.max(1) {
            links.push(Link::open(url, timeout).await?);
        }
        let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        Ok(Self {
            links: links.into(),
            next,
            waiting: None,
            timeout,
            ledger_entries: LEDGER_ENTRIES,
            scripts: Scripts::resolve()?,
        })
    }

    /// Has each script that writes wait until so many replicas have acknowledged it; 0 waits for none.
    ///
    /// # Errors
    /// A URL that names no store.
    pub async fn wait_for(&mut self, url: &str, replicas: u8) -> Result<(), StoreError> {
        self.waiting = Waiting::open(url, self.timeout, replicas).await?;
        Ok(())
    }

    /// How many replicas have to acknowledge what a script writes.
    pub fn waited_replicas(&self) -> u8 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.replicas())
    }

    fn link(&self) -> &Link {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        &self.links[number % self.links.len()]
    }

    /// Runs one command within the time limit.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.timed("command", self.link().run(command)).await
    }

    /// Runs a command that names no key on the server that holds `key`.
    async fn command_at(&self, key: &str, command: &Cmd) -> Result<Value, StoreError> {
        self.timed("command", self.link().run_at(key, command)).await
    }

    async fn timed<T>(
        &self,
        script: &'static str,
        run: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let started = std::time::Instant::now();
        let result = tokio::time::timeout(self.timeout, run).await;
        metrics::histogram!("quotagate_redis_round_trip_seconds", "script" => script)
            .record(started.elapsed().as_secs_f64());
        match result {
            Ok(result) => Ok(result?),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    /// Calls a script by its hash; a Redis that has forgotten it gets the source. Every script answers a repetition
    /// with what it answered first, so a call whose connection broke is simply made again.
    async fn call(&self, script: &Script, keys: &[String], arguments: Arguments) -> Result<Fields, StoreError> {
        let run = async {
            match self.send(script, "EVALSHA", &script.sha, keys, &arguments).await {
                Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                    metrics::counter!("quotagate_retries_total", "cause" => "script_missing").increment(1);
                    self.send(script, "EVAL", &script.source, keys, &arguments).await
                }
                other => other,
            }
        };
        let (value, acknowledged) = self.timed(script.name, run).await?;
        if let (Some(waiting), Some(acknowledged)) = (&self.waiting, acknowledged) {
            waiting.check(script.name, acknowledged)?;
        }
        Fields::new(script.name, value)
    }

    /// Sends a script; answers also how many replicas have acknowledged it, if they are waited for.
    async fn send(
        &self,
        script: &Script,
        how: &'static str,
        body: &str,
        keys: &[String],
        arguments: &Arguments,
    ) -> redis::RedisResult<(Value, Option<u64>)> {
        let mut command = redis::cmd(how);
        command.arg(body).arg(keys.len()).arg(keys);
        for argument in &arguments.0 {
            command.arg(argument.as_bytes());
        }
        match (&self.waiting, keys.first()) {
            (Some(waiting), Some(key)) if script.writes => {
                let (value, acknowledged) = waiting.run(key, &command, &self.scripts.mark).await?;
                Ok((value, Some(acknowledged)))
            }
            _ => Ok((self.link().run(&command).await?, None)),
        }
    }
}

/// A script's ARGV in the making.
#[derive(Debug, Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.0.push(text.into());
        self
    }

    fn int(&mut self, number: impl std::fmt::Display) -> &mut Self {
        self.0.push(number.to_string());
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.text(if flag { "1" } else { "0" })
    }
}
