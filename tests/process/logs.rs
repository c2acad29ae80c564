//! A log or standard output that cannot be written.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process, quotagate};
use crate::support::{Api, Redis, eventually, free_port};

const ADMIN: (&str, &str) = ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY);

async fn start(dir: &TempDir, settings: &[(&str, &str)], log: Stdio) -> Process {
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let data_dir = dir.path().to_owned();
    let started = tokio::task::spawn_blocking(move || {
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Process::start_logging_to(&data_dir, &settings, log)
    });
    started.await.unwrap()
}

/// A standard error pipe that is closed at its other end.
fn nobody_reads() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn api(gateway: &Process, key: &str) -> Api {
    Api::at(&gateway.url, key)
}

async fn lost(gateway: &Process) -> u64 {
    let text = api(gateway, "").get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix("quotagate_log_lines_lost_total ").map(str::to_owned));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn live_key(gateway: &Process) -> (String, String) {
    let made = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

fn image() -> serde_json::Value {
    json!({"userId": "u", "event": "image.a"})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_log_cuts_no_call_and_the_private_redis_starts_again() {
    let dir = TempDir::new().unwrap();
    // By default Redis may lose the last two seconds when it is killed, and the new key with them.
    let settings = [ADMIN, ("QUOTAGATE_REDIS_TIMEOUT_MS", "500"), ("QUOTAGATE_APPENDFSYNC", "always")];
    let gateway = start(&dir, &settings, nobody_reads()).await;
    let (_, key) = live_key(&gateway).await;
    let url = format!("redis+unix://{}", dir.path().join("redis.sock").display());
    let server = async || {
        let mut connection = redis::Client::open(url.as_str()).ok()?.get_multiplexed_async_connection().await.ok()?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("process_id:").map(|id| id.trim().to_owned()))
    };
    for _ in 0..2 {
        let id = server().await.unwrap();
        assert!(Command::new("kill").args(["-STOP", &id]).status().unwrap().success());
        // Each of these requests writes a log line.
        for _ in 0..3 {
            assert_eq!(api(&gateway, &key).post("reserve", image()).await.status, 503);
        }
        assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
        eventually("another server is there", || async { server().await.is_some_and(|other| other != id) }).await;
        eventually("it serves", || async { api(&gateway, &key).post("reserve", image()).await.status == 200 }).await;
    }
    assert!(lost(&gateway).await > 0);
    let ready = api(&gateway, "").get("/readyz").await.expect(200);
    let parts = ready["parts"].as_array().unwrap();
    assert!(parts.iter().all(|part| part["ok"] == true && part["restarts"] == 0), "{ready}");
    assert!(parts.iter().any(|part| part["name"] == "embedded_redis"), "{ready}");
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_dead_log_a_key_revoked_elsewhere_ends_also_after_redis_was_away() {
    let mut redis = Redis::start().await;
    let url = redis.url();
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let settings = [ADMIN, ("QUOTAGATE_REDIS_URL", url.as_str()), ("QUOTAGATE_REDIS_TIMEOUT_MS", "500")];
    let gateway = start(&dir, &settings, nobody_reads()).await;
    let other = start(&elsewhere, &settings, Stdio::null()).await;
    let (id, key) = live_key(&other).await;
    let call = async || api(&gateway, &key).post("can-use", image()).await.status;
    eventually("the key is known", || async { call().await == 200 }).await;
    redis.kill();
    // There are no calls, so the task that follows changes notices that Redis is unavailable, and logs it.
    eventually("a line is lost", || async { lost(&gateway).await > 0 }).await;
    redis.start_again().await;
    eventually("it serves again", || async { call().await == 200 }).await;
    other.call("DELETE", &format!("keys/{id}"), ADMIN_KEY, &serde_json::Value::Null).await;
    eventually("the key is refused", || async { call().await == 401 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_log_stops_no_gateway() {
    let dir = TempDir::new().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let gateway = start(&dir, &[ADMIN], full.into()).await;
    let (_, key) = live_key(&gateway).await;
    assert_eq!(api(&gateway, &key).post("can-use", image()).await.status, 200);
    eventually("lines are lost", || async { lost(&gateway).await > 0 }).await;
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_a_reader_delays_no_call() {
    let dir = TempDir::new().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let gateway = start(&dir, &[ADMIN, ("QUOTAGATE_LOG", "trace")], writer.into()).await;
    let (_, key) = live_key(&gateway).await;
    let api = api(&gateway, &key);
    // The pipe is full long before the log queue is.
    for _ in 0..20_000 {
        assert_eq!(api.post("can-use", image()).await.status, 200);
        if lost(&gateway).await > 0 {
            break;
        }
    }
    assert!(lost(&gateway).await > 0);
    // After reading resumes, the lines that fit into the queue appear.
    let drained = std::thread::spawn(move || reader.read_to_end(&mut Vec::new()).unwrap());
    assert_eq!(tokio::task::spawn_blocking(move || gateway.terminate()).await.unwrap().code(), Some(0));
    assert!(drained.join().unwrap() > 65_536);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_though_its_welcome_cannot_be_printed() {
    for stdout in [Stdio::from(File::options().write(true).open("/dev/full").unwrap()), nobody_reads()] {
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let address = format!("127.0.0.1:{port}");
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = quotagate(&["serve", "--bind", &address], &[]);
        command.env("QUOTAGATE_DATA_DIR", dir.path()).stdout(stdout).stderr(log);
        let mut gateway = command.spawn().unwrap();
        let url = format!("http://{address}");
        let http = crate::support::http().build().unwrap();
        eventually("it is ready", || async {
            http.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
        eventually("the log says it", || async { log().contains("nor the new root admin key") }).await;
        assert!(Command::new("kill").arg(gateway.id().to_string()).status().unwrap().success());
        assert_eq!(tokio::task::spawn_blocking(move || gateway.wait().unwrap()).await.unwrap().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_whose_reader_is_gone_end_quietly() {
    let (redis, dir) = (Redis::start().await, TempDir::new().unwrap());
    let url = redis.url();
    let gateway = start(&dir, &[ADMIN, ("QUOTAGATE_REDIS_URL", &url)], Stdio::null()).await;
    let (_, key) = live_key(&gateway).await;
    gateway.call("POST", "track", &key, &image()).await;
    for arguments in
        [&["schema"][..], &["openapi"], &["inspect", "u"], &["verify"], &["export", "--out", "-", "--format", "csv"]]
    {
        let run = |stdout: Stdio| {
            quotagate(arguments, &[("QUOTAGATE_REDIS_URL", &url)])
                .stdout(stdout)
                .stderr(Stdio::piped())
                .output()
                .unwrap()
        };
        let output = run(nobody_reads());
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), printed.contains("panicked")),
            (Some(141), false),
            "{arguments:?}: {printed}"
        );
        assert!(!printed.contains("error"), "{arguments:?}: {printed}");
        let output = run(File::options().write(true).open("/dev/full").unwrap().into());
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {printed}");
        assert!(printed.contains("standard output") && !printed.contains("panicked"), "{arguments:?}: {printed}");
    }
}
