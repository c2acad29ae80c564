//! A rolling upgrade: gateways with different script texts share one Redis.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use quotagate::store::client::library::Library;

use crate::outside::{Watch, is_as_acknowledged};
use crate::stage::{Build, Stage};
use crate::support::{Redis, folder};
use crate::traffic::Traffic;

/// A comment in every metering script, and a replacement of the same length for the other version.
const COMMENT: &str = "Reading ARGV and stored texts";
const ALTERED: &str = "Reading ARGV; what is stored.";

/// A copy of the gateway whose scripts contain the other comment, so that their texts differ. The binary keeps its
/// length, so no offsets change.
fn another_version(directory: &Path) -> PathBuf {
    let original = env!("CARGO_BIN_EXE_quotagate");
    let mut binary = std::fs::read(original).unwrap();
    // `grep` is used because a search here would be unoptimized and the file has 100 MB.
    let found = Command::new("grep").args(["-a", "-b", "-o", "-F", COMMENT, original]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(!found.is_empty());
    for line in found.lines() {
        let at: usize = line.split_once(':').unwrap().0.parse().unwrap();
        binary[at..at + COMMENT.len()].copy_from_slice(ALTERED.as_bytes());
    }
    let program = directory.join("quotagate");
    std::fs::write(&program, binary).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

/// Whether a Redis has loaded this version's library, and how many others it has.
async fn known(redis: &Redis) -> (bool, usize) {
    let listed: Vec<BTreeMap<String, redis::Value>> = redis.run(&["FUNCTION", "LIST"]).await;
    let names = listed.into_iter().map(|mut library| library.remove("library_name").unwrap());
    let mut names: Vec<String> = names.map(|name| redis::from_redis_value(name).unwrap()).collect();
    let all = names.len();
    names.retain(|name| *name != Library::resolve().unwrap().name);
    (names.len() < all, names.len())
}

async fn rolled(times: usize) {
    let redis = Redis::start().await;
    let directory = folder();
    let other = Build { program: Some(another_version(directory.path())), ..Build::default() };
    let mut stage = Stage::set(redis.url(), 2).await;
    assert_eq!(known(&redis).await, (true, 0));
    let (traffic, watch) = (Traffic::start(&stage).await, Watch::start(&redis.url()));
    for time in 0..times {
        let build = if time % 2 == 0 { other.clone() } else { Build::default() };
        for place in 0..2 {
            stage.stop(place).await;
            stage.start_as(place, build.clone()).await;
            // Half way through the upgrade, both versions serve.
            traffic.goes_on(150).await;
        }
    }
    assert_eq!(known(&redis).await, (true, 1), "both versions have served");
    let book = traffic.stop(&format!("all gateways replaced {times} times by ones with other scripts")).await;
    watch.stop().await;
    is_as_acknowledged(&redis.url(), &stage, &book).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_of_two_versions_of_the_scripts_work_side_by_side() {
    rolled(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_20_rolling_upgrades_lose_and_double_nothing() {
    rolled(20).await;
}
