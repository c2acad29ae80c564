//! Starting, stopping, killing, inspecting and misconfiguring a node.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use quotagate::infra::embedded_redis::url_of;
use quotagate::store::keys::LAYOUT_VERSION;
use serde_json::{Value, json};

use crate::ends::{lives, process_id};
use crate::gateway::{ADMIN_KEY, Process, one_clear_line, run};
use crate::support::{Redis, connect, eventually, folder, monthly};

const ADMIN: (&str, &str) = ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY);

/// Creates a plan, a live key, and the user `u` with 2 used and 1 held; returns the key.
async fn furnish(gateway: &Process) -> String {
    gateway.call("PUT", "plans/pro", ADMIN_KEY, &monthly(20)).await;
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap().to_owned();
    gateway.call("POST", "subscriptions", &key, &json!({"userId": "u", "planId": "pro"})).await;
    let reserve = json!({"userId": "u", "event": "image.render", "quantity": 2, "ttlSeconds": 3600});
    let decision = gateway.call("POST", "reserve", &key, &reserve).await;
    gateway.call("POST", "commit", &key, &json!({"reservationId": decision["reservationId"]})).await;
    let reserve = json!({"userId": "u", "event": "image.render", "ttlSeconds": 3600});
    assert_eq!(gateway.call("POST", "reserve", &key, &reserve).await["allowed"], true);
    key
}

async fn stands(gateway: &Process, key: &str) -> (Option<u64>, Option<u64>) {
    let usage = gateway.call("GET", "usage?userId=u", key, &Value::Null).await;
    (usage["counters"][0]["used"].as_u64(), usage["counters"][0]["held"].as_u64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_copies_what_serve_prints_and_the_last_answer_allows() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[]);
    let commands: String =
        gateway.welcome.lines().filter_map(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n")).collect();
    assert!(
        commands.contains(&format!("export QUOTAGATE_URL={}\nexport QUOTAGATE_KEY=ak_", gateway.url)),
        "{}",
        gateway.welcome
    );
    assert!(commands.contains("/api/v1/reserve"), "{}", gateway.welcome);
    let output = Command::new("sh").args(["-ec", &commands]).env("no_proxy", "*").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = serde_json::Deserializer::from_str(&printed).into_iter().map(Result::unwrap).collect();
    let last = answers.last().unwrap();
    assert_eq!(last["allowed"], true, "{printed}");
    assert!(last["reservationId"].as_str().unwrap().starts_with("rsv_"));
    assert!(gateway.terminate().success());
    // The root key is printed only once.
    let again = Process::start(dir.path(), &[]);
    let key = commands.split("QUOTAGATE_KEY=").nth(1).unwrap().lines().next().unwrap();
    assert!(!again.welcome.contains(key), "{}", again.welcome);
    assert!(again.welcome.contains("Replace ak_… with the root admin key, which the first start"), "{}", again.welcome);
    assert!(again.welcome.contains("QUOTAGATE_ADMIN_KEY, such as ak_$(openssl rand"), "{}", again.welcome);
    again.call("GET", "plans/free", key, &Value::Null).await;
    assert!(again.terminate().success());
    // What it says then helps: another key in the variable is a root key too. Its value is not printed.
    let given = Process::start(dir.path(), &[ADMIN]);
    assert!(given.welcome.contains("which is in QUOTAGATE_ADMIN_KEY"), "{}", given.welcome);
    assert!(given.welcome.contains("export QUOTAGATE_KEY=ak_…\n"), "{}", given.welcome);
    given.call("GET", "plans/free", ADMIN_KEY, &Value::Null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_the_log_has_only_lines_of_quotagate() {
    let dir = folder();
    let log = dir.path().join("log");
    let gateway = Process::start_with(&dir.path().join("data"), &[], &log);
    assert!(gateway.terminate().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("quotagate: draining"), "{log}");
    let foreign: Vec<&str> = log.lines().filter(|line| !line.contains(" quotagate")).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_reported_with_the_setting_that_changes_it() {
    let (dir, taken) = (folder(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let settings = [ADMIN, ("QUOTAGATE_BIND", &address), ("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let output = run(&["serve"], &settings);
    let printed = String::from_utf8(output.stderr).unwrap();
    let last = printed.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(last.starts_with(&format!("error: cannot listen on {address}: ")), "{printed}");
    assert!(last.ends_with("; QUOTAGATE_BIND names another address, such as 127.0.0.1:8081"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_again_after_sigterm_and_after_sigkill() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    let key = furnish(&gateway).await;
    assert_eq!(gateway.terminate().code(), Some(0));
    let gateway = Process::start(dir.path(), &[ADMIN]);
    assert_eq!(stands(&gateway, &key).await, (Some(2), Some(1)));
    gateway.call("POST", "track", &key, &json!({"userId": "u", "event": "image.render", "quantity": 5})).await;
    gateway.kill();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    assert_eq!(stands(&gateway, &key).await, (Some(7), Some(1)));
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_cuts_no_accepted_call() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    let key = furnish(&gateway).await;
    let (url, client) = (format!("{}/api/v1/track", gateway.url), crate::support::http().build().unwrap());
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (url, client, key, counted) = (url.clone(), client.clone(), key.clone(), counted.clone());
            tokio::spawn(async move {
                // Until connections are refused; a response that was started must be complete.
                loop {
                    let body = json!({"userId": "u", "event": "image.render"}).to_string();
                    let sent = client
                        .post(&url)
                        .bearer_auth(&key)
                        .header("content-type", "application/json")
                        .body(body)
                        .send()
                        .await;
                    let Ok(response) = sent else { return };
                    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
                    assert_eq!(status, 200, "{text}");
                    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
                    counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("calls are under way", || async { counted.load(std::sync::atomic::Ordering::SeqCst) > 20 }).await;
    assert_eq!(tokio::task::spawn_blocking(move || gateway.terminate()).await.unwrap().code(), Some(0));
    for caller in callers {
        caller.await.unwrap();
    }
    let gateway = Process::start(dir.path(), &[ADMIN]);
    let (used, _) = stands(&gateway, &key).await;
    let acknowledged = 2 + counted.load(std::sync::atomic::Ordering::SeqCst);
    // A request on an idle connection may be counted and not answered, but never the other way round.
    assert!((acknowledged..=acknowledged + 4).contains(&used.unwrap()), "{used:?} {acknowledged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_the_welcome_ends_the_gateway_and_its_redis() {
    let dir = folder();
    let (config, opened, data) = (dir.path().join("config"), dir.path().join("opened"), dir.path().join("data"));
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let settings = [ADMIN, ("QUOTAGATE_CONFIG", config.to_str().unwrap())];
    let gateway = Process::start_without_welcome(&data, &settings, &dir.path().join("log"));
    // It reads a configuration that is written only after the signal, so it cannot be ready before.
    let writing = r#"exec 3>"$1"; : >"$2"; read -r _; printf '{}' >&3"#;
    let mut writer = Command::new("sh");
    writer.args(["-c", writing, "sh"]).args([&config, &opened]).stdin(Stdio::piped());
    let mut writer = crate::support::run::spawn(&mut writer).unwrap();
    eventually("the gateway reads its configuration", async || opened.exists()).await;
    let url = url_of(&data).unwrap();
    let redis = process_id(&url).await;
    gateway.signal("-TERM");
    drop(writer.stdin.take());
    let status = tokio::task::spawn_blocking(move || gateway.ended()).await.unwrap();
    writer.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!lives(&redis) && connect(&url).await.is_err(), "its Redis still runs");
    // The next one needs no repair.
    let gateway = Process::start(&data, &[ADMIN]);
    assert_eq!(gateway.terminate().code(), Some(0));
}

/// A folder for `PATH` with a `redis-server` that never becomes ready. It writes its process ID to this file.
fn with_endless_redis(dir: &Path, id: &Path) -> String {
    let program = dir.join("redis-server");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo 'Redis server v=7.2.0 sha=0'; exit; }}\n\
         echo $$ >'{0}.new'\nmv '{0}.new' '{0}'\nexec sleep 3600\n",
        id.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_redis_loads_ends_both_at_once() {
    let dir = folder();
    let id = dir.path().join("id");
    let path = with_endless_redis(dir.path(), &id);
    let settings = [ADMIN, ("PATH", path.as_str())];
    let gateway = Process::start_without_welcome(&dir.path().join("data"), &settings, &dir.path().join("log"));
    eventually("Redis is started", async || id.exists()).await;
    gateway.signal("-INT");
    let status = tokio::task::spawn_blocking(move || gateway.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0), "it waits for Redis instead");
    let id = std::fs::read_to_string(id).unwrap();
    eventually("Redis has ended", async || !lives(id.trim())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_data_directory_is_refused() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    let key = furnish(&gateway).await;
    let refused = one_clear_line(&run(&["serve"], &[ADMIN, ("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())]));
    assert!(refused.contains("another quotagate runs on the data directory"), "{refused}");
    assert_eq!(stands(&gateway, &key).await, (Some(2), Some(1)), "the first one is not disturbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_explains_a_user_while_the_gateway_runs() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    furnish(&gateway).await;
    let grant = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 5});
    gateway.call("POST", "grants", ADMIN_KEY, &grant).await;
    gateway.call("POST", "users/u/block", ADMIN_KEY, &json!({})).await;
    let packs = json!({"periodType": "monthly", "groups": [{"id": "packs", "kind": "balance", "unit": "count"}]});
    gateway.call("PUT", "policies/packs", ADMIN_KEY, &packs).await;
    let credit = json!({"groupId": "packs", "scope": {"user": "u"}, "amount": 8});
    gateway.call("POST", "credits", ADMIN_KEY, &credit).await;
    let data_dir = [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())];
    let output = run(&["inspect", "u"], &data_dir);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "qg:{default:live}:account:user:u",
        "2 count used, 1 count held of 20 count in window 1, monthly",
        "plan pro, blocked",
        "images: 2 used + 1 held of 20 + 5 granted count, 22 left",
        "images.grants",
        "0 count used, 0 count held of credits, the newest is b1",
        "packs: 0 used + 0 held count of its credits, 8 left",
    ] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    let stranger = String::from_utf8(run(&["inspect", "nobody"], &data_dir).stdout).unwrap();
    assert!(stranger.contains("user not found in this app and mode; --app and --mode choose other"), "{stranger}");
    let draft = dir.path().join("draft.json");
    std::fs::write(&draft, monthly(5).to_string()).unwrap();
    let whatif = ["whatif", "--for", "pro", "--plan", draft.to_str().unwrap()];
    for command in [&["inspect", "u"][..], &["verify"], &["export", "--out", "-"], &whatif] {
        let printed = one_clear_line(&run(&[command, &["--mode", "test/ci"]].concat(), &data_dir));
        assert!(printed.contains("Sandbox `ci` not found"), "{command:?}: {printed}");
    }
    gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "test"})).await;
    let sandbox = String::from_utf8(run(&["inspect", "u", "--mode", "test"], &data_dir).stdout).unwrap();
    assert!(sandbox.contains("user not found"), "live and test do not meet: {sandbox}");
    let elsewhere = one_clear_line(&run(&["inspect", "u"], &[("QUOTAGATE_DATA_DIR", "/no/such/directory")]));
    assert!(elsewhere.contains("--data-dir names the gateway's data directory, --redis-url its Redis"), "{elsewhere}");
    one_clear_line(&run(&["inspect", "u", "--mode", "prod"], &data_dir));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_explains_every_row() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN]);
    let group = |id: &str, more: Value| {
        let mut group = json!({"id": id, "unit": "cents", "quota": 2, "periodType": "daily", "alerts": [50, 100],
            "measure": {"per": {"event": "1"}}, "matches": [{"event": format!("{id}.*")}]});
        more.as_object().unwrap().iter().for_each(|(name, value)| group[name] = value.clone());
        group
    };
    let cheap = json!({"groups": [group("image", json!({})), group("other", json!({}))]});
    let dear = json!({"groups": [group("image", json!({})), group("other", json!({"onPlanChange": "block"})),
        group("video", json!({"enforcement": "approval", "quota": 0}))]});
    gateway.call("PUT", "plans/cheap", ADMIN_KEY, &cheap).await;
    gateway.call("PUT", "plans/dear", ADMIN_KEY, &dear).await;
    gateway
        .call("PUT", "webhooks/ops", ADMIN_KEY, &json!({"url": "https://a.example/", "events": ["limit.reached"]}))
        .await;
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    let key = key["key"].as_str().unwrap();
    gateway.call("POST", "subscriptions", key, &json!({"userId": "u", "planId": "cheap"})).await;
    let custom = json!({"userId": "u", "planId": "dear", "customLimits": {"image": {"quota": 3}}});
    gateway.call("POST", "subscriptions", key, &custom).await;
    let grant = |more: Value| {
        let mut grant = json!({"groupId": "image", "scope": {"user": "u"}, "amount": "0.5"});
        more.as_object().unwrap().iter().for_each(|(name, value)| grant[name] = value.clone());
        grant
    };
    for more in [json!({}), json!({"expiresAt": "2099-01-01T00:00:00Z"})] {
        gateway.call("POST", "grants", ADMIN_KEY, &grant(more)).await;
    }
    let mut everything = group("everything", json!({"scope": ["user"], "unit": "count", "quota": 9}));
    everything.as_object_mut().unwrap().remove("measure");
    gateway.call("PUT", "policies/all", ADMIN_KEY, &json!({"groups": [everything]})).await;
    let limit = json!({"scope": {"user": "u"}, "quota": null, "until": "2099-01-01T00:00:00Z"});
    gateway.call("PUT", "limits/everything", key, &limit).await;
    for event in ["image.a", "image.a", "image.a", "image.a", "image.a", "video.a"] {
        let decision =
            gateway.call("POST", "reserve", key, &json!({"userId": "u", "event": event, "ttlSeconds": 3600})).await;
        if decision["allowed"] == true {
            let id = &decision["reservationId"];
            gateway.call("POST", "extend", key, &json!({"reservationId": id, "ttlSeconds": 3600})).await;
            gateway.call("POST", "commit", key, &json!({"reservationId": id})).await;
        }
    }
    gateway.call("POST", "users/u/block", ADMIN_KEY, &json!({})).await;
    let output = run(&["inspect", "u"], &[("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap())]);
    let printed = String::from_utf8(output.stdout).unwrap();
    for (field, meaning) in [
        (
            ".account",
            "some groups have grants or blocked amounts; some groups have alerts; some groups have own quotas",
        ),
        (".block", "all calls are denied until the user is unblocked"),
        (".extended", "extended reservations may be charged until 15 minutes after 20"),
        (".limits", "the user's custom limits, instead of the plan's"),
        (".plan", "plan, start of the subscription, start of the cycle, end"),
        (".quotas", "no limit in everything instead of its quota until 2099-01-01T00:00:00Z"),
        ("image", "4 cents used, 0 cents held of 3 cents in window 1, daily"),
        ("image.alerts", "alerts at 50, 100 % of 4 cents; reported in window 1: up to 100 %"),
        ("image.grants", "0.5 cents granted in window 1, 0.5 cents granted until 2099-01-01T00:00:00Z"),
        ("image.reached", "limit.reached was reported in window 1 for the limit 4 cents"),
        ("other.blocked", "2 cents blocked in window 1"),
        ("video.approval", " is open"),
    ] {
        let line = printed.lines().find(|line| line.split_whitespace().next() == Some(field));
        assert!(line.is_some_and(|line| line.contains(meaning)), "{field}: {line:?} in {printed}");
    }
    let rows: Vec<&str> = printed.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    for row in rows {
        // The value is padded to 62 letters: a row without a meaning ends there.
        assert!(
            !row.ends_with(' ') && !row.contains("cannot be read") && !row.contains("not a field"),
            "{row:?} in {printed}"
        );
    }
}

#[test]
fn a_wrong_setting_is_one_clear_line_that_names_it_and_no_secret() {
    let dir = folder();
    let data_dir = ("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap());
    for (name, value, part) in [
        ("QUOTAGATE_REDIS_URL", "http://:hunter2@somewhere", "QUOTAGATE_REDIS_URL must begin with"),
        ("QUOTAGATE_REDIS_URL", "", "QUOTAGATE_REDIS_URL must not be empty"),
        ("QUOTAGATE_REDIS_URL", "redis://:hunter2@", "QUOTAGATE_REDIS_URL"),
        ("QUOTAGATE_ADMIN_KEY", "hunter2", "QUOTAGATE_ADMIN_KEY must begin with ak_"),
        ("QUOTAGATE_LOG", "=,=", "QUOTAGATE_LOG"),
    ] {
        let printed = one_clear_line(&run(&["serve"], &[data_dir, (name, value)]));
        assert!(printed.contains(part), "{name}={value}: {printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    one_clear_line(&run(&["serve"], &[("QUOTAGATE_DATA_DIR", blocked.to_str().unwrap())]));
}

#[test]
fn an_unavailable_store_is_reported_at_once_and_at_the_end_without_its_password() {
    let dir = folder();
    let settings =
        [("QUOTAGATE_DATA_DIR", dir.path().to_str().unwrap()), ("QUOTAGATE_REDIS_URL", "redis://:hunter2@127.0.0.1:1")];
    let output = run(&["serve"], &settings);
    let printed = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = printed.trim().lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(1), 2), "{printed}");
    assert!(lines[0].contains("the store is unavailable: ") && lines[0].ends_with("retrying for 10 s"), "{printed}");
    assert!(lines[1].starts_with("error: the store is unavailable: "), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_layout_is_refused_untouched() {
    let redis = Redis::start().await;
    redis.run::<()>(&["SET", "qg:{quotagate}:layout", "999"]).await;
    let before = redis.dump("*").await;
    let url = redis.url();
    let printed = one_clear_line(&run(&["serve"], &[("QUOTAGATE_REDIS_URL", &url), ADMIN]));
    assert!(printed.contains("layout 999") && printed.contains(&format!("layout {LAYOUT_VERSION}")), "{printed}");
    assert_eq!(redis.dump("*").await, before);
}

/// The name and the scheduling policy (0: the usual one, 3: `SCHED_BATCH`) of each thread of a process, see proc(5).
#[cfg(target_os = "linux")]
fn policies(process: &str) -> Vec<(String, u32)> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let read = |thread: std::io::Result<std::fs::DirEntry>| {
        // Nothing, if the thread has ended meanwhile.
        let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(") ").unwrap();
        // The state is field 3, the policy field 41.
        let policy = after.split(' ').nth(41 - 3).unwrap().parse().unwrap();
        Some((before.split_once('(').unwrap().1.to_owned(), policy))
    };
    threads.filter_map(read).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_interrupt_nobody_and_all_other_threads_and_redis_are_scheduled_as_usual() {
    let dir = folder();
    let gateway = Process::start(dir.path(), &[ADMIN, ("QUOTAGATE_WORKERS", "3")]);
    // Once it answers, all workers have started.
    gateway.call("GET", "plans", ADMIN_KEY, &Value::Null).await;
    let (workers, others): (Vec<_>, Vec<_>) =
        policies(&gateway.id().to_string()).into_iter().partition(|(name, _)| name.starts_with("actix-rt|"));
    assert_eq!(workers.iter().map(|(_, policy)| *policy).collect::<Vec<_>>(), [3, 3, 3]);
    let redis = policies(&process_id(&url_of(dir.path()).unwrap()).await);
    assert!(others.iter().chain(&redis).all(|(_, policy)| *policy == 0), "{others:?} {redis:?}");
}
