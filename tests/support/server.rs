//! A Redis server for one test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tempfile::TempDir;

use super::{eventually, run};

/// The name of the log file, next to the data.
const LOG: &str = "redis.log";

/// A Redis server on a Unix socket in a temporary directory.
pub struct Redis {
    child: Child,
    directory: TempDir,
    options: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Redis {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(options: &[&str]) -> Self {
        Self::in_environment(options, &[]).await
    }

    pub async fn in_environment(options: &[&str], environment: &[(String, String)]) -> Self {
        let directory = run::folder();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let environment = environment.to_vec();
        let child = spawn(&directory, &options, &environment);
        let redis = Self { child, directory, options, environment };
        redis.wait_until_ready().await;
        redis
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Contains the password that it was started with, if any.
    pub fn url(&self) -> String {
        let password = self.options.iter().skip_while(|option| *option != "--requirepass").nth(1);
        let login = password.map_or_else(String::new, |password| format!("?pass={password}"));
        format!("redis+unix://{}{login}", self.socket().display())
    }

    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url()).await.unwrap()
    }

    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connect().await).await.unwrap()
    }

    /// Returns in a later millisecond of Redis: a list of the oldest events ends before the present one.
    pub async fn next_millisecond(&self) {
        let now = async || {
            let (seconds, micros): (u64, u64) = self.run(&["TIME"]).await;
            seconds * 1000 + micros / 1000
        };
        let begun = now().await;
        while now().await <= begun {}
    }

    /// Every key that matches a pattern with its serialized value: equal dumps mean equal states.
    pub async fn dump(&self, pattern: &str) -> Vec<(String, Vec<u8>)> {
        let mut keys: Vec<String> = self.run(&["KEYS", pattern]).await;
        keys.retain(|key| is_compared(key, pattern));
        keys.sort();
        let mut dump = Vec::new();
        for key in keys {
            let value: Vec<u8> = self.run(&["DUMP", &key]).await;
            dump.push((key, value));
        }
        dump
    }

    /// Every key that matches a pattern with its contents, sorted. Unlike [`Redis::dump`], the result does not depend
    /// on Redis' progress in rehashing a large hash, which reads advance too.
    pub async fn contents(&self, pattern: &str) -> Vec<(String, Vec<String>)> {
        let mut connection = self.connect().await;
        let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        keys.retain(|key| is_compared(key, pattern));
        keys.sort();
        let mut contents = Vec::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
            if kind == "stream" {
                let length: i64 = redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.unwrap();
                contents.push((key, vec![length.to_string()]));
                continue;
            }
            let mut command = match kind.as_str() {
                "string" => redis::cmd("MGET"),
                "hash" => redis::cmd("HGETALL"),
                "zset" => redis::cmd("ZRANGE"),
                "set" => redis::cmd("SMEMBERS"),
                other => panic!("{key} is a {other}"),
            };
            command.arg(&key);
            if kind == "zset" {
                command.arg(0).arg(-1).arg("WITHSCORES");
            }
            let mut parts: Vec<String> = command.query_async(&mut connection).await.unwrap();
            if kind != "string" {
                parts = parts.chunks(if kind == "set" { 1 } else { 2 }).map(|pair| pair.join(" = ")).collect();
                parts.sort();
            }
            contents.push((key, parts));
        }
        contents
    }

    /// Simulates a loss of power.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it until [`Redis::wake`]: it keeps its connections and answers nothing.
    pub fn hang(&self) {
        self.signal("-STOP");
    }

    pub fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(&self.directory, &self.options, &self.environment);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&self) {
        eventually("Redis answers", || async {
            let Ok(mut connection) = connect(&self.url()).await else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await;
    }
}

/// Whether a key may change with a refused call: refused calls are recorded among the denials, and change nothing
/// else. Rollups are written independently, some time after the calls, so only tests that ask for them compare them.
fn is_compared(key: &str, pattern: &str) -> bool {
    let rollup = pattern.contains("rollup");
    // Nodes write their status every few seconds, and renew leases.
    (rollup || !key.contains("}:rollup:"))
        && !key.contains("}:near:")
        && !key.ends_with("}:denials")
        && key != "qg:{quotagate}:nodes"
        && !key.starts_with("qg:{quotagate}:lease:")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let port = self.options.iter().skip_while(|option| *option != "--port").nth(1);
        let what = port.map_or_else(|| "Redis".to_owned(), |port| format!("the Redis on port {port}"));
        run::print_log_of_failed_test(&what, &self.directory.path().join(LOG));
    }
}

/// A connection to a Redis, with a long timeout, since Redis may answer slowly on a busy machine.
pub async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

pub fn redis_program() -> &'static str {
    let program = ["redis-server", "valkey-server"].into_iter().find(|name| {
        Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    program.expect("redis-server is installed by `make test`")
}

fn spawn(directory: &TempDir, options: &[String], environment: &[(String, String)]) -> Child {
    let log = File::options().create(true).append(true).open(directory.path().join(LOG)).unwrap();
    let mut command = Command::new(redis_program());
    command
        // Redis sends the data to a new replica immediately, instead of waiting 5 s for others.
        .args(["--port", "0", "--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--unixsocket"])
        .arg(directory.path().join("redis.sock"))
        .current_dir(directory.path())
        .args(options)
        .envs(environment.iter().cloned())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    run::spawn(&mut command).unwrap()
}
