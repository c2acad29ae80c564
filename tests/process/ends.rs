//! However a test ends, its processes end too.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::{Redis, connect, eventually, folder, run};

const NAME: &str = "ends::the_processes_of_a_killed_test_end";
/// Environment variable of the test process that is to be killed.
const KILLED: &str = "KILLED_TEST";

/// The ID of the Redis process at this URL.
pub async fn process_id(url: &str) -> String {
    let mut redis = connect(url).await.unwrap();
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await.unwrap();
    info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().to_owned()
}

/// Starts the processes that tests start, prints their ids, and waits to be killed.
async fn to_be_killed() {
    let (redis, dir) = (Redis::start().await, folder());
    let settings = [("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)];
    let gateway = Process::start(dir.path(), &settings);
    let embedded = quotagate::infra::embedded_redis::url_of(dir.path()).unwrap();
    // The Redis of a killed gateway keeps running without a parent.
    let other = folder();
    let left = Process::start(other.path(), &settings);
    let left_url = quotagate::infra::embedded_redis::url_of(other.path()).unwrap();
    let left_id = process_id(&left_url).await;
    left.kill();
    let ids = [gateway.id().to_string(), process_id(&redis.url()).await, process_id(&embedded).await, left_id];
    println!("\nstarted {} in {}", ids.join(" "), run::directory().display());
    std::future::pending::<()>().await;
    drop((gateway, redis));
}

/// Whether the process runs, and is not a zombie.
pub fn lives(id: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", id]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_processes_of_a_killed_test_end() {
    if std::env::var_os(KILLED).is_some() {
        return to_be_killed().await;
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", NAME, "--nocapture"]).env(KILLED, "1").stdout(Stdio::piped());
    let mut test = run::spawn(&mut test).unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("started ")).expect("it prints what it started");
    let (ids, directory) = line["started ".len()..].split_once(" in ").unwrap();
    let ids: Vec<&str> = ids.split(' ').collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| lives(id)), "{ids:?}");
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("its processes have ended", async || !ids.iter().any(|id| lives(id))).await;
    eventually("its files are gone", async || !std::path::Path::new(directory).exists()).await;
}
