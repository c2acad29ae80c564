//! A power cut that ends the append-only file of the embedded Redis in the middle of a call.

use std::fs::{OpenOptions, read, read_dir};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, one_clear_line, run};
use crate::support::proven::verified;
use crate::support::{connect, eventually, folder, monthly};

const ADMIN: (&str, &str) = ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY);

/// A gateway whose user `u` has used 5, and whose Redis has written that to its file.
async fn with_five_used(dir: &Path) -> (Process, String) {
    let gateway = Process::start(dir, &[ADMIN, ("QUOTAGATE_APPENDFSYNC", "always")]);
    gateway.call("PUT", "plans/pro", ADMIN_KEY, &monthly(20)).await;
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "pro"})).await;
    track(&gateway, &key, 5).await;
    (gateway, key)
}

async fn track(gateway: &Process, key: &str, quantity: u64) {
    let event = json!({"userId": "u", "event": "image.a", "quantity": quantity});
    gateway.call("POST", "track", key, &event).await;
}

/// Kills the gateway and its Redis at once.
async fn power_cut(gateway: Process, dir: &Path) {
    let url = quotagate::infra::embedded_redis::url_of(dir).unwrap();
    let mut redis = connect(&url).await.unwrap();
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await.unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned();
    gateway.kill();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    eventually("Redis is gone", async || redis::cmd("PING").query_async::<()>(&mut redis.clone()).await.is_err()).await;
}

/// The file that Redis appends to.
fn log(dir: &Path) -> PathBuf {
    let files = read_dir(dir.join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.to_str().unwrap().ends_with(".incr.aof")).unwrap()
}

/// Truncates the file inside the last transaction of a script.
fn tear(dir: &Path) {
    let log = log(dir);
    let bytes = read(&log).unwrap();
    let end = b"\r\n*1\r\n$4\r\nEXEC\r\n";
    let last = bytes.windows(end.len()).rposition(|window| window == end).unwrap();
    OpenOptions::new().write(true).open(log).unwrap().set_len(last as u64 - 3).unwrap();
}

async fn used(gateway: &Process, key: &str) -> Option<u64> {
    let usage = gateway.call("GET", "usage?userId=u", key, &Value::Null).await;
    usage["counters"][0]["used"].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_a_power_cut_tore_in_two_is_gone_as_a_whole_at_the_next_start_and_at_the_one_after() {
    let dir = folder();
    let (gateway, key) = with_five_used(dir.path()).await;
    track(&gateway, &key, 7).await;
    power_cut(gateway, dir.path()).await;
    tear(dir.path());

    let gateway = Process::start(dir.path(), &[ADMIN]);
    assert_eq!(used(&gateway, &key).await, Some(5), "the torn call is not there");
    track(&gateway, &key, 1).await;
    assert_eq!(gateway.terminate().code(), Some(0));
    let gateway = Process::start(dir.path(), &[ADMIN]);
    assert_eq!(used(&gateway, &key).await, Some(6), "nor is half of it");
    let url = quotagate::infra::embedded_redis::url_of(dir.path()).unwrap();
    let found = verified(&url, "live").await;
    assert!(found.drifts.is_empty() && found.entries == 2, "{found:?}");
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_in_its_middle_is_left_alone_and_the_start_refused() {
    let dir = folder();
    let (gateway, key) = with_five_used(dir.path()).await;
    power_cut(gateway, dir.path()).await;
    // As an earlier version left it: truncated to the last complete command, with calls after it.
    let bytes = read(log(dir.path())).unwrap();
    let end = b"*1\r\n$4\r\nEXEC\r\n";
    let first = bytes.windows(end.len()).position(|window| window == end).unwrap();
    let damaged = [&bytes[..first], &bytes[first + end.len()..]].concat();
    std::fs::write(log(dir.path()), &damaged).unwrap();
    let data_dir = [ADMIN, ("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let printed = one_clear_line(&run(&["serve"], &data_dir));
    assert!(printed.contains("appendonlydir") && printed.contains("with complete calls after the damage"), "{printed}");
    assert_eq!(read(log(dir.path())).unwrap(), damaged);

    std::fs::write(log(dir.path()), &bytes).unwrap();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    assert_eq!(used(&gateway, &key).await, Some(5));
    assert_eq!(gateway.terminate().code(), Some(0));
    // Only the last file may be truncated.
    let files = read_dir(dir.path().join("appendonlydir")).unwrap().map(|entry| entry.unwrap().path());
    let base = files.into_iter().find(|path| path.to_str().unwrap().ends_with(".base.rdb")).unwrap();
    std::fs::write(base, "no such file").unwrap();
    let printed = one_clear_line(&run(&["serve"], &data_dir));
    assert!(printed.contains("cannot repair") && printed.contains(".base.rdb"), "{printed}");
}
