//! A power cut loses what Redis had not synced to disk. The test knows the length of the append-only file at the last
//! sync, and truncates it to that. For comparison, Redis' process alone is killed, which loses nothing of the system's
//! file cache.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;

use crate::preload::{Preload, owned};
use crate::redis_dies::mend;
use crate::stage::Stage;
use crate::support::proven::verified;
use crate::support::seeds::choices;
use crate::support::{Redis, eventually};

const CALLERS: usize = 8;
/// Redis syncs every second, one sync after the other; on a busy disk a sync may take a while.
const BOUND: Duration = Duration::from_secs(3);

/// Users whose only event was acknowledged, and when.
type Acknowledged = Arc<Mutex<Vec<(String, Instant)>>>;

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: usize,
    lost: usize,
    /// How long before the power cut the oldest lost event was acknowledged.
    oldest: Duration,
}

struct Disk {
    redis: Redis,
    preload: Preload,
}

impl Disk {
    async fn start(appendfsync: &str) -> Self {
        let preload = Preload::build("synced_size");
        let notes = preload.file("sizes").display().to_string();
        let environment = owned(&preload.environment("SYNCED_SIZES", &notes));
        let redis = Redis::in_environment(&["--appendfsync", appendfsync], &environment).await;
        Self { redis, preload }
    }

    fn log(&self) -> PathBuf {
        let directory = self.redis.socket().parent().unwrap().join("appendonlydir");
        let mut files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_str().unwrap().ends_with(".incr.aof")).unwrap()
    }

    /// Length of the append-only file once everything sent to Redis so far is written (bytes).
    async fn length(&self) -> u64 {
        let info: String = self.redis.run(&["INFO", "persistence"]).await;
        let figure = |name: &str| -> u64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().parse().unwrap()
        };
        let files = std::fs::read_dir(self.log().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let base = files.into_iter().find(|path| path.to_str().unwrap().ends_with(".base.rdb")).unwrap();
        figure("aof_current_size") + figure("aof_buffer_length") - std::fs::metadata(base).unwrap().len()
    }

    /// Length of the append-only file at its last sync (bytes).
    fn synced(&self) -> u64 {
        let inode = std::fs::metadata(self.log()).unwrap().ino().to_string();
        let notes = std::fs::read_to_string(self.preload.file("sizes")).unwrap_or_default();
        let sizes: BTreeMap<&str, &str> = notes.lines().filter_map(|line| line.split_once(' ')).collect();
        sizes.get(inode.as_str()).map_or(0, |size| size.parse().unwrap())
    }

    /// Kills the server; a power cut also removes what was not synced. Returns the number of removed bytes.
    fn cut(&mut self, power: bool) -> u64 {
        self.redis.kill();
        if !power {
            return 0;
        }
        let (log, synced) = (self.log(), self.synced());
        let written = std::fs::metadata(&log).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(synced).unwrap();
        mend(log.parent().unwrap());
        written - synced
    }
}

/// Tracks one event for each new user, as fast as calls are answered, until the flag is set.
fn callers(
    stage: &Stage,
    time: usize,
    acknowledged: &Acknowledged,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let start = |caller: usize| {
        let (acknowledged, stop) = (Arc::clone(acknowledged), Arc::clone(stop));
        let (node, key) = (stage.nodes.read().unwrap()[0].clone(), stage.key.clone());
        tokio::spawn(async move {
            let http = crate::support::http().build().unwrap();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let user = format!("e_{time}_{caller}_{number}");
                let request = http.post(format!("{node}/api/v1/track")).bearer_auth(&key);
                let sent = request.json(&json!({"userId": user, "event": "job.run"})).send().await;
                if sent.is_ok_and(|response| response.status() == 200) {
                    acknowledged.lock().unwrap().push((user, Instant::now()));
                }
            }
        })
    };
    (0..CALLERS).map(start).collect()
}

async fn cut(times: usize, appendfsync: &str, power: bool) -> Outcome {
    let mut disk = Disk::start(appendfsync).await;
    let stage = Stage::set(disk.redis.url(), 1).await;
    let (mut outcome, mut bytes) = (Outcome::default(), 0);
    let mut random = choices();
    for time in 0..times {
        let (acknowledged, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
        let callers = callers(&stage, time, &acknowledged, &stop);
        // At a random moment between two syncs.
        let wanted = Duration::from_millis(random.random_range(1_100..2_600));
        let begun = Instant::now();
        eventually("events are counted for a while", || {
            std::future::ready(begun.elapsed() >= wanted && acknowledged.lock().unwrap().len() >= 100)
        })
        .await;
        // Events answered so far are safe after the next sync.
        let safe = acknowledged.lock().unwrap().len();
        let length = disk.length().await;
        eventually("it is synced", || std::future::ready(disk.synced() >= length)).await;
        let cut_at = Instant::now();
        bytes += disk.cut(power);
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        disk.redis.start_again().await;
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        let mut connection = disk.redis.connect().await;
        for (place, (user, at)) in acknowledged.iter().enumerate() {
            let key = format!("qg:{{default:live}}:account:user:{user}");
            let counted: bool = redis::cmd("EXISTS").arg(key).query_async(&mut connection).await.unwrap();
            assert!(counted || place >= safe, "{user} was synced, and is lost");
            if !counted {
                outcome.lost += 1;
                outcome.oldest = outcome.oldest.max(cut_at.saturating_duration_since(*at));
            }
        }
        outcome.acknowledged += acknowledged.len();
        eventually("the gateway is connected again", || async {
            let event = json!({"userId": "again", "event": "job.run"});
            stage.answer("track", &format!("again-{time}"), &event).await.status() == 200
        })
        .await;
    }
    let what = if power { "power cut" } else { "Redis killed" };
    println!(
        "{what} {times} times, fsync {appendfsync}: {} of {} events lost with {bytes} bytes, the oldest acknowledged {} ms before",
        outcome.lost,
        outcome.acknowledged,
        outcome.oldest.as_millis()
    );
    let verified = verified(&stage.redis_url, "live").await;
    assert!(verified.entries > 0 && verified.drifts.is_empty(), "{:#?}", verified.drifts);
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "syncs are only watched on Linux")]
async fn a_power_cut_under_fsync_everysec_loses_only_what_came_after_the_last_sync() {
    cut(2, "everysec", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "syncs are only watched on Linux")]
async fn a_power_cut_under_fsync_always_loses_nothing() {
    let outcome = cut(2, "always", true).await;
    assert_eq!(outcome.lost, 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(target_os = "linux"), ignore = "syncs are only watched on Linux")]
async fn the_death_of_redis_alone_loses_nothing_that_was_synced() {
    cut(2, "everysec", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_30_power_cuts_under_fsync_everysec_lose_no_more_than_the_last_seconds() {
    let outcome = cut(30, "everysec", true).await;
    assert!(outcome.lost > 0 && outcome.oldest <= BOUND, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_30_power_cuts_under_fsync_always_lose_nothing() {
    let outcome = cut(30, "always", true).await;
    assert_eq!(outcome.lost, 0, "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make chaos"]
async fn long_30_deaths_of_redis_alone_lose_nothing_that_the_system_has() {
    let outcome = cut(30, "everysec", false).await;
    assert!(outcome.oldest <= BOUND, "{outcome:?}");
}
