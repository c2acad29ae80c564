use super::keep::next_restart_delay;
use super::*;
use redis::AsyncCommands;
use tempfile::TempDir;

fn options(data_dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { data_dir: data_dir.to_owned(), appendfsync: AppendFsync::Everysec, maxmemory: 0 }
}

async fn start(data_dir: &Path) -> EmbeddedRedis {
    EmbeddedRedis::start(&options(data_dir), &Parts::default()).await.unwrap()
}

/// On a busy machine an answer may take long, so tests wait for it.
async fn connect(redis: &EmbeddedRedis) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    redis::Client::open(redis.url())?.get_multiplexed_async_connection_with_config(&config).await
}

async fn set(redis: &EmbeddedRedis, key: &str, value: &str) {
    let mut connection = connect(redis).await.unwrap();
    let () = connection.set(key, value).await.unwrap();
}

async fn get(redis: &EmbeddedRedis, key: &str) -> redis::RedisResult<Option<String>> {
    connect(redis).await?.get(key).await
}

async fn process_id(redis: &EmbeddedRedis) -> redis::RedisResult<String> {
    let mut connection = connect(redis).await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
    Ok(line.unwrap().to_owned())
}

fn signal(process_id: &str, signal: &str) -> bool {
    let kill =
        std::process::Command::new("kill").args([signal, process_id]).stderr(std::process::Stdio::null()).status();
    kill.unwrap().success()
}

/// Polls until the condition is true.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    let mut poll = Poll::new();
    while !condition().await {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
        poll.pause().await;
    }
}

fn server(data_dir: &Path) -> Server {
    let data_dir = make_data_dir(data_dir).unwrap();
    let socket = socket_path(&data_dir).unwrap();
    Server { program: "redis-server", data_dir, socket, appendfsync: AppendFsync::Everysec, maxmemory: 0 }
}

#[tokio::test]
async fn data_survives_a_stop_and_a_start() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("made/here & with spaces %20");
    let redis = start(&data_dir).await;
    assert!(redis.version().contains("-server "), "{}", redis.version());
    set(&redis, "greeting", "hello").await;
    let process = process_id(&redis).await.unwrap();
    redis.stop().await;
    assert!(!signal(&process, "-0"), "the server outlived stop");

    let redis = start(&data_dir).await;
    assert_eq!(get(&redis, "greeting").await.unwrap().as_deref(), Some("hello"));
    redis.stop().await;
}

#[tokio::test]
async fn a_second_instance_on_the_same_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let first = start(dir.path()).await;
    let refusal = EmbeddedRedis::start(&options(dir.path()), &Parts::default()).await.err().unwrap();
    assert!(matches!(refusal, EmbeddedRedisError::DataDirInUse { .. }));
    let named = dir.path().canonicalize().unwrap();
    assert!(refusal.to_string().contains(named.to_str().unwrap()), "{refusal}");

    set(&first, "still", "there").await;
    first.stop().await;
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data_again_and_again() {
    let dir = TempDir::new().unwrap();
    let redis = start(dir.path()).await;
    set(&redis, "kept", "yes").await;
    for _ in 0..3 {
        let process = process_id(&redis).await.unwrap();
        assert!(signal(&process, "-9"));
        eventually("another server answers", async || {
            process_id(&redis).await.is_ok_and(|now| now != process)
                && get(&redis, "kept").await.is_ok_and(|value| value.as_deref() == Some("yes"))
        })
        .await;
    }
    redis.stop().await;
}

#[tokio::test]
async fn a_long_data_directory_has_its_socket_elsewhere() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("long-".repeat(30));
    let redis = start(&data_dir).await;
    set(&redis, "far", "away").await;
    let socket_dir = server(&data_dir).private_socket_dir().unwrap().to_owned();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::symlink_metadata(&socket_dir).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    redis.stop().await;
    assert!(!socket_dir.exists());

    let redis = start(&data_dir).await;
    assert_eq!(get(&redis, "far").await.unwrap().as_deref(), Some("away"));
    redis.stop().await;
}

#[tokio::test]
async fn the_server_of_a_killed_gateway_is_taken_over() {
    let dir = TempDir::new().unwrap();
    for data_dir in [dir.path().join("short"), dir.path().join("long-".repeat(30))] {
        let orphan = server(&data_dir);
        let mut child = orphan.launch().await.unwrap();
        assert_eq!(orphan.ask("SET left behind").await.unwrap(), "+OK");

        let redis = start(&data_dir).await;
        let orphan_ended = child.try_wait().unwrap();
        assert!(orphan_ended.is_some_and(|status| status.success()), "{orphan_ended:?}");
        assert_eq!(get(&redis, "left").await.unwrap().as_deref(), Some("behind"));
        redis.stop().await;
    }
}

#[tokio::test]
async fn dropping_without_stop_ends_the_server_and_leaves_its_data() {
    let dir = TempDir::new().unwrap();
    let redis = start(dir.path()).await;
    set(&redis, "acknowledged", "kept").await;
    drop(redis);
    let redis = start(dir.path()).await;
    assert_eq!(get(&redis, "acknowledged").await.unwrap().as_deref(), Some("kept"));
    let process = process_id(&redis).await.unwrap();
    drop(redis);
    eventually("the server is gone", async || !signal(&process, "-0")).await;
}

#[tokio::test]
async fn half_written_files_of_a_dead_server_are_removed() {
    let dir = TempDir::new().unwrap();
    let half_written = dir.path().join("temp-rewriteaof-4711.aof");
    fs::write(&half_written, "half").unwrap();
    start(dir.path()).await.stop().await;
    assert!(!half_written.exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let dir = TempDir::new().unwrap();
    let manifest = dir.path().join("appendonlydir/appendonly.aof.manifest");
    fs::create_dir(manifest.parent().unwrap()).unwrap();
    fs::write(&manifest, "this is no manifest\n").unwrap();
    let refusal = EmbeddedRedis::start(&options(dir.path()), &Parts::default()).await.err().unwrap();
    assert!(matches!(refusal, EmbeddedRedisError::Ended { .. }), "{refusal}");
    assert!(refusal.to_string().contains("manifest"), "{refusal}");
}

#[tokio::test]
async fn the_server_has_no_tcp_port_and_the_settings_of_a_store() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { appendfsync: AppendFsync::Always, ..options(dir.path()) };
    let redis = EmbeddedRedis::start(&options, &Parts::default()).await.unwrap();
    let mut connection = connect(&redis).await.unwrap();
    let wanted = [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("hash-max-listpack-value", "256"),
        ("hash-max-listpack-entries", "64"),
        ("zset-max-listpack-value", "256"),
        ("zset-max-listpack-entries", "64"),
    ];
    for (setting, value) in wanted {
        let found: (String, String) =
            redis::cmd("CONFIG").arg(&["GET", setting]).query_async(&mut connection).await.unwrap();
        assert_eq!(found.1, value, "{setting}");
    }
    redis.stop().await;
}

#[test]
fn versions_before_7_are_refused() {
    let usable = |answer| program::usable_version("redis-server", answer);
    assert_eq!(usable("Redis server v=7.0.15 sha=00000000:0 bits=64").unwrap(), "7.0.15");
    assert_eq!(usable("Valkey server v=8.1.0 sha=00000000:0 bits=64").unwrap(), "8.1.0");
    assert_eq!(usable("Redis server v=10.2 sha=0").unwrap(), "10.2");
    let old = usable("Redis server v=6.2.7 sha=00000000:0").unwrap_err().to_string();
    assert_eq!(old, "redis-server on the PATH is version 6.2.7, but quotagate needs 7.0 or later");
    assert!(matches!(usable("something else"), Err(EmbeddedRedisError::VersionUnreadable { .. })));
}

#[test]
fn restarts_are_immediate_then_ever_slower_up_to_5_seconds() {
    let delays: Vec<u128> = std::iter::successors(Some(Duration::ZERO), |delay| Some(next_restart_delay(*delay)))
        .map(|delay| delay.as_millis())
        .take(9)
        .collect();
    assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[tokio::test]
async fn the_task_that_monitors_the_server_restarts_and_continues() {
    let (dir, parts) = (TempDir::new().unwrap(), Parts::default());
    let redis = EmbeddedRedis::start(&options(dir.path()), &parts).await.unwrap();
    let first = process_id(&redis).await.unwrap();
    parts.end("embedded_redis");
    eventually("it watches again", async || {
        let report = &parts.report()[0];
        report.restarts == 1 && report.silent_for.is_none()
    })
    .await;
    assert_eq!(process_id(&redis).await.unwrap(), first, "the server is not disturbed");
    assert!(signal(&first, "-KILL"));
    eventually("another server runs", async || process_id(&redis).await.is_ok_and(|id| id != first)).await;
    redis.stop().await;
}

#[tokio::test]
async fn the_server_has_a_limit_of_memory_and_evicts_nothing() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { maxmemory: 64 << 20, ..options(dir.path()) };
    let redis = EmbeddedRedis::start(&options, &Parts::default()).await.unwrap();
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for (setting, value) in [("maxmemory", "67108864"), ("maxmemory-policy", "noeviction")] {
        let found: Vec<String> =
            redis::cmd("CONFIG").arg("GET").arg(setting).query_async(&mut connection).await.unwrap();
        assert_eq!(found, [setting, value]);
    }
    redis.stop().await;
}
