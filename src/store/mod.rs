//! Redis: key names, scripts with their arguments and replies, documents. No other layer uses Redis directly.

pub mod access;
pub mod accounts;
mod arguments;
pub mod client;
pub mod configuration;
mod encoding;
pub mod error;
pub mod keys;
pub mod metering;
pub mod nodes;
mod parts;
pub mod reading;
mod reply;
pub mod reporting;
pub mod webhooks;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use metrics::Histogram;
use quick_cache::sync::Cache;
use redis::{Cmd, Pipeline, Value};

use arguments::Arguments;
use client::bundles::Bundles;
use client::connection::Links;
use client::exclusive::Exclusive;
use client::identity::Identity;
use client::library::{Function, Library, WhenFull, round_trips};
use client::waiting::Waiting;
use error::StoreError;
use reply::Fields;

use crate::infra::supervise;

/// Default maximum of entries in a bucket's ledger: about 0.4 GB.
pub const LEDGER_ENTRIES: u64 = 1_000_000;

/// Programs whose names a node caches.
const CACHED_PROGRAMS: usize = 2_000;

/// How often one call loads the library before it fails.
const MOST_LOADS: usize = 16;
/// Libraries of other releases that are kept in Redis.
const MOST_LIBRARIES: usize = 8;

/// Pages of scans that a node reads at once; further ones wait, within the time limit of a round trip.
const PAGES_AT_ONCE: usize = 16;

/// A node's connections to Redis. Clones share them.
#[derive(Clone)]
pub struct Store {
    links: Arc<Links>,
    bundles: Arc<Bundles>,
    pages: Arc<Exclusive>,
    waiting: Option<Arc<Waiting>>,
    identity: Arc<Identity>,
    timeout: Duration,
    /// The names of programs by their texts, so that calls do not recompute the hash.
    programs: Arc<Cache<String, Arc<str>>>,
    /// The maximum number of entries in a bucket's ledger.
    pub ledger_entries: u64,
    /// Whether scripts may use the straight path (`lua/lib/straight.lua`). Only turned off by tests for comparison.
    pub straight_path: bool,
    pub library: &'static Library,
}

impl Store {
    /// Connects lazily, so Redis may be unavailable at first.
    ///
    /// # Errors
    /// An invalid URL.
    pub fn open(url: &str, timeout: Duration) -> Result<Self, StoreError> {
        Ok(Self {
            links: Arc::new(Links::open(url, timeout).map_err(bad_url)?),
            bundles: Arc::default(),
            pages: Arc::new(Exclusive::open(url, timeout, PAGES_AT_ONCE).map_err(bad_url)?),
            waiting: None,
            identity: Arc::default(),
            timeout,
            programs: Arc::new(Cache::new(CACHED_PROGRAMS)),
            ledger_entries: LEDGER_ENTRIES,
            straight_path: true,
            library: Library::resolve()?,
        })
    }

    /// Makes each writing script wait until this many replicas have acknowledged it; 0 disables waiting.
    ///
    /// # Errors
    /// An invalid URL.
    pub fn wait_for(&mut self, url: &str, replicas: u8) -> Result<(), StoreError> {
        self.waiting = Waiting::open(url, self.timeout, replicas).map_err(bad_url)?.map(Arc::new);
        Ok(())
    }

    /// How many replicas must acknowledge what a script writes.
    pub fn waited_replicas(&self) -> u8 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.replicas())
    }

    /// The time limit of a round trip.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// # Errors
    /// At the last check, Redis had other data than this node expects.
    pub fn check_identity(&self) -> Result<(), StoreError> {
        self.identity.check()
    }

    /// Runs one command within the time limit.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.check_identity()?;
        self.unguarded(command).await
    }

    /// The same without checking the identity of the data.
    async fn unguarded(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.timed(&round_trips("command"), self.links.own()?.run(command)).await
    }

    /// Runs a command without a key on the server that holds `key`.
    async fn command_at(&self, key: &str, command: &Cmd) -> Result<Value, StoreError> {
        self.check_identity()?;
        self.timed(&round_trips("command"), self.links.own()?.run_at(key, command)).await
    }

    /// Reads a page of a scan. A large answer delays no other call, since no other call uses the connection.
    async fn page(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.check_identity()?;
        self.timed(&round_trips("command"), self.pages.run(command)).await
    }

    /// The same for a command without a key, on the server that holds `key`.
    async fn page_at(&self, key: &str, command: &Cmd) -> Result<Value, StoreError> {
        self.check_identity()?;
        self.timed(&round_trips("command"), self.pages.run_at(key, command)).await
    }

    /// Runs commands on keys of one slot, from `MULTI` to `EXEC`. Returns the last command's answer. Loads the library
    /// if Redis does not have it.
    async fn transaction(&self, metric: &Histogram, key: &str, commands: &Pipeline) -> Result<Value, StoreError> {
        self.check_identity()?;
        let run = pin!(async {
            for _ in 0..MOST_LOADS {
                match self.pages.run_transaction(key, commands).await {
                    Err(error) if error::is_missing_function(&error) => {
                        metrics::counter!("quotagate_retries_total", "cause" => "library_missing").increment(1);
                        Box::pin(self.load_library(key)).await?;
                    }
                    other => return Ok(other?),
                }
            }
            Ok::<_, StoreError>(self.pages.run_transaction(key, commands).await?)
        });
        Ok(self.timed(metric, run).await?.pop().unwrap_or(Value::Nil))
    }

    async fn timed<T, E>(&self, metric: &Histogram, run: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        self.timed_calls(metric, 1, run).await
    }

    /// The same for what answers this many calls.
    async fn timed_calls<T, E>(
        &self,
        metric: &Histogram,
        calls: usize,
        run: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        let started = std::time::Instant::now();
        let result = tokio::time::timeout(self.timeout, run).await;
        metric.record_many(started.elapsed().as_secs_f64(), calls);
        match result {
            Ok(result) => Ok(result?),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    /// Calls a function, and loads the library if Redis does not have it. Every function returns the same answer to a
    /// repetition, so a call whose connection broke is repeated. A full Redis behaves as specified in
    /// `lua/library.lua`, with headroom for functions that have two variants.
    async fn call(
        &self,
        function: &'static Function,
        keys: &[String],
        arguments: &Arguments,
    ) -> Result<Fields, StoreError> {
        self.call_when_full(function, WhenFull::Headroom, keys, arguments).await
    }

    /// The same; `when_full` says how a full Redis treats a function with headroom.
    async fn call_when_full(
        &self,
        function: &'static Function,
        when_full: WhenFull,
        keys: &[String],
        arguments: &Arguments,
    ) -> Result<Fields, StoreError> {
        let (first, beyond) = match (&function.beyond, when_full) {
            (None, _) | (_, WhenFull::Refused) => (&function.registered, None),
            (Some(beyond), WhenFull::Done) => (beyond, None),
            (Some(beyond), WhenFull::Headroom) => (&function.registered, Some(beyond)),
        };
        match (self.call_as(first, function, keys, arguments).await, beyond) {
            (Err(StoreError::Full(_)), Some(beyond)) => {
                let checked = self.check_headroom(keys.first().map_or("", String::as_str));
                Box::pin(checked).await?;
                Box::pin(self.call_as(beyond, function, keys, arguments)).await
            }
            (called, _) => called,
        }
    }

    async fn call_as(
        &self,
        name: &'static str,
        function: &'static Function,
        keys: &[String],
        arguments: &Arguments,
    ) -> Result<Fields, StoreError> {
        self.check_identity()?;
        let key = keys.first().map(String::as_str);
        let value = if function.is_bundled {
            self.call_in_bundle(name, function, keys, arguments).await?
        } else {
            // Boxed, so that the futures of the commonest calls stay small; they are moved often.
            Box::pin(self.run_function(function, key, &arguments.command(name, keys), 1)).await?
        };
        Fields::new(function.name, value)
    }

    async fn call_in_bundle(
        &self,
        name: &'static str,
        function: &'static Function,
        keys: &[String],
        arguments: &Arguments,
    ) -> Result<Value, StoreError> {
        let (answer, begun) = self.bundles.add(name, keys, arguments, self.links.is_cluster());
        if let Some(begun) = begun {
            let store = self.clone();
            supervise::once("bundles", async move {
                let bundle = begun.close();
                let (command, calls) = (bundle.command(), bundle.calls());
                let reply = store.run_function(function, Some(bundle.key()), &command, calls).await;
                bundle.answer(reply);
            });
        }
        // Without an answer if the task panicked.
        answer.await.map_err(|_| StoreError::Unavailable(format!("{}: no answer", function.name)))?
    }

    /// Runs a command that calls a function on the server that holds `key`, for this many calls.
    async fn run_function(
        &self,
        function: &'static Function,
        key: Option<&str>,
        command: &Cmd,
        calls: usize,
    ) -> Result<Value, StoreError> {
        let run = pin!(async {
            // Someone may flush the library after it was loaded.
            for _ in 0..MOST_LOADS {
                match self.send(function, key, command).await {
                    Err(error) if error::is_missing_function(&error) => {
                        metrics::counter!("quotagate_retries_total", "cause" => "library_missing").increment(1);
                        Box::pin(self.load_library(key.unwrap_or_default())).await?;
                    }
                    other => return other.map_err(StoreError::from),
                }
            }
            self.send(function, key, command).await.map_err(StoreError::from)
        });
        let (value, acknowledged) = self.timed_calls(function.round_trips(), calls, run).await?;
        if let (Some(waiting), Some(acknowledged)) = (&self.waiting, acknowledged) {
            waiting.check(function.name, acknowledged)?;
        }
        Ok(value)
    }

    /// Sends a call. Also returns how many replicas have acknowledged it, if waiting is enabled.
    async fn send(
        &self,
        function: &Function,
        key: Option<&str>,
        command: &Cmd,
    ) -> redis::RedisResult<(Value, Option<u64>)> {
        match (&self.waiting, key) {
            (Some(waiting), Some(key)) if function.writes => {
                let (value, acknowledged) = Box::pin(waiting.run(key, command, &self.library.mark)).await?;
                Ok((value, Some(acknowledged)))
            }
            _ if function.reads_page => Ok((Box::pin(self.pages.run(command)).await?, None)),
            _ => Ok((self.links.own()?.run(command).await?, None)),
        }
    }

    /// Loads the library into the Redis that holds `key`, unless its data belong to another store. Other releases
    /// leave their libraries behind. If there are too many, all are deleted, and nodes that still need theirs load it
    /// again.
    async fn load_library(&self, key: &str) -> Result<(), StoreError> {
        self.verify_identity().await?;
        Ok(self.replace_libraries(key).await?)
    }

    async fn replace_libraries(&self, key: &str) -> redis::RedisResult<()> {
        let mut listed = redis::cmd("FUNCTION");
        listed.arg("LIST").arg("LIBRARYNAME").arg("qg_*");
        if let Value::Array(found) = self.links.own()?.run_at(key, &listed).await?
            && found.len() >= MOST_LIBRARIES
        {
            for library in found {
                let library: std::collections::HashMap<String, Value> = redis::from_redis_value(library)?;
                let Some(name) = library.get("library_name") else { continue };
                let mut deleted = redis::cmd("FUNCTION");
                deleted.arg("DELETE").arg(redis::from_redis_value_ref::<String>(name)?);
                // Another node may do the same.
                let _ = self.links.own()?.run_at(key, &deleted).await;
            }
        }
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(&self.library.source);
        self.links.own()?.run_at(key, &load).await.map(|_| ())
    }
}

fn bad_url(error: redis::RedisError) -> StoreError {
    StoreError::Unexpected(format!("QUOTAGATE_REDIS_URL: {error}"))
}
