//! A full disk under the embedded Redis. The disk is simulated by a limit on file sizes (`prlimit --fsize`), which
//! needs no privileges: at the limit, a write to the append-only file fails as on a full disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use crate::embedded::{self, server_id};
use crate::outside::is_as_acknowledged;
use crate::stage::Stage;
use crate::support::{eventually, folder};
use crate::traffic::Traffic;

/// A script that executes the gateway, with writes beyond the limit failing instead of killing the process.
fn program(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("gateway.sh");
    let gateway = env!("CARGO_BIN_EXE_quotagate");
    std::fs::write(&path, format!("#!/bin/sh\ntrap '' XFSZ\nexec '{gateway}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn bound(process: &str, most: &str) {
    let done = Command::new("prlimit").args(["--pid", process, &format!("--fsize={most}:")]).status();
    assert!(done.expect("prlimit is a part of util-linux").success());
}

fn written(stage: &Stage) -> u64 {
    let files = std::fs::read_dir(stage.data_dir().join("appendonlydir")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap()
}

async fn filled(times: usize, appendfsync: &str) {
    let directory = folder();
    let stage = embedded::stage(appendfsync, Some(program(directory.path()))).await;
    let traffic = Traffic::start(&stage).await;
    let gateway = stage.process_id(0).to_string();
    for _ in 0..times {
        traffic.goes_on(100).await;
        let before = traffic.seen().unavailable.load(Ordering::Relaxed);
        let server = server_id(&stage.redis_url).await.unwrap();
        let most = (written(&stage) + 10_000).to_string();
        // Servers inherit the limit from the gateway that starts them.
        bound(&gateway, &most);
        bound(&server, &most);
        traffic
            .until("callers learn that the store is full", || {
                traffic.seen().unavailable.load(Ordering::Relaxed) >= before + 40
            })
            .await;
        bound(&gateway, "unlimited");
        eventually("the server is there", || async {
            let Some(server) = server_id(&stage.redis_url).await else { return false };
            // The server may have exited meanwhile.
            Command::new("prlimit").args(["--pid", &server, "--fsize=unlimited:"]).status().unwrap().success()
        })
        .await;
        traffic.goes_on(200).await;
    }
    let book = traffic.stop(&format!("the disk full {times} times, fsync {appendfsync}")).await;
    is_as_acknowledged(&stage.redis_url, &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "prlimit is of Linux")]
async fn a_full_disk_is_answered_503_and_loses_and_doubles_nothing() {
    filled(2, "everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "prlimit is of Linux")]
async fn a_full_disk_under_fsync_always_ends_the_server_and_loses_and_doubles_nothing() {
    filled(1, "always").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_disk_full_30_times_loses_and_doubles_nothing() {
    filled(30, "everysec").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_a_disk_full_10_times_under_fsync_always_loses_and_doubles_nothing() {
    filled(10, "always").await;
}
