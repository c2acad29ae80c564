//! A Redis user with exactly the permissions that `docs/reference/configuration.md` lists.

use std::collections::BTreeSet;

use quotagate::store::client::library::FILES;
use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process};
use crate::support::cluster::follows;
use crate::support::{Redis, eventually, folder, free_port};

const ADMIN: (&str, &str) = ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY);

/// The documented ACL line, and the URL of that user.
async fn limited(redis: &Redis) -> String {
    let guide = include_str!("../../docs/reference/configuration.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER quotagate ")).expect("the line to copy");
    let line = line.replace(">PASSWORD", ">secret");
    redis.run::<()>(&line.split_whitespace().collect::<Vec<_>>()).await;
    format!("redis+unix://{}?user=quotagate&pass=secret", redis.socket().display())
}

/// The commands that the user was denied since the server started.
async fn refused(redis: &Redis) -> Vec<String> {
    let entries: Vec<redis::Value> = redis.run(&["ACL", "LOG"]).await;
    entries.iter().map(|entry| format!("{entry:?}")).collect()
}

async fn readyz(gateway: &Process) -> (u16, Value) {
    let http = crate::support::http().build().unwrap();
    let response = http.get(format!("{}/readyz", gateway.url)).send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// Exercises a bit of everything: a plan, resetting a sandbox, a reserve, its commit, a report.
async fn works(gateway: &Process) {
    let groups = json!([{"id": "images", "unit": "count", "quota": 20, "alerts": [5], "matches": [{"event": "*"}]}]);
    let plan = json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": groups});
    gateway.call("PUT", "plans/pro", ADMIN_KEY, &plan).await;
    for mode in ["live", "test"] {
        let created = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": mode})).await;
        let key = created["key"].as_str().unwrap();
        gateway.call("POST", "subscriptions", key, &json!({"userId": "u", "planId": "pro"})).await;
        let held = gateway.call("POST", "reserve", key, &json!({"userId": "u", "event": "image.a"})).await;
        assert_eq!(held["allowed"], true, "{held}");
        let committed = gateway.call("POST", "commit", key, &json!({"reservationId": held["reservationId"]})).await;
        assert_eq!(committed["status"], "committed");
        if mode == "test" {
            gateway.call("DELETE", "test-clock", key, &Value::Null).await;
        }
    }
    let report = gateway.call("GET", "reports/usage", ADMIN_KEY, &Value::Null).await;
    assert!(report.to_string().contains("images"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_redis_user_is_enough_and_missing_permissions_are_named() {
    let redis = Redis::start().await;
    let (dir, url) = (folder(), limited(&redis).await);
    let gateway = Process::start(dir.path(), &[ADMIN, ("QUOTAGATE_REDIS_URL", &url)]);
    let (status, printed) = readyz(&gateway).await;
    assert_eq!((status, &printed["ready"]), (200, &json!(true)), "{printed}");
    works(&gateway).await;
    assert_eq!(refused(&redis).await, Vec::<String>::new());
    // Each command that is listed by name is required.
    for command in ["info", "time"] {
        redis.run::<()>(&["ACL", "SETUSER", "quotagate", &format!("-{command}")]).await;
        let (status, printed) = readyz(&gateway).await;
        assert_eq!(status, 503, "{command}: {printed}");
        let warning = printed["warnings"][0].as_str().unwrap();
        assert!(warning.starts_with("Redis can be reached but rejects the login"), "{command}: {warning}");
        redis.run::<()>(&["ACL", "SETUSER", "quotagate", &format!("+{command}")]).await;
        eventually("ready again", || async { readyz(&gateway).await.0 == 200 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_redis_user_may_run_every_command_of_the_scripts() {
    let redis = Redis::start().await;
    let guide = include_str!("../../docs/reference/configuration.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER quotagate ")).expect("the line to copy");
    let mut allowed = BTreeSet::new();
    for rule in line.split_whitespace().filter_map(|word| word.strip_prefix('+')) {
        match rule.strip_prefix('@') {
            Some(category) => {
                let commands: Vec<String> = redis.run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", category]).await;
                allowed.extend(commands.into_iter().map(|command| command.to_uppercase()));
            }
            None => {
                allowed.insert(rule.to_uppercase());
            }
        }
    }
    let calls = FILES.iter().flat_map(|(_, text)| text.split("call('").skip(1));
    let used: BTreeSet<&str> = calls.filter_map(|rest| rest.split('\'').next()).collect();
    assert!(used.len() > 20, "{used:?}");
    let refused: Vec<&&str> = used.iter().filter(|command| !allowed.contains(**command)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_added_it_is_enough_for_writes_that_wait_for_a_replica() {
    let port = free_port().to_string();
    let master = Redis::with(&["--port", &port]).await;
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]).await;
    follows(&replica).await;
    let (dir, url) = (folder(), limited(&master).await);
    master.run::<()>(&["ACL", "SETUSER", "quotagate", "+wait"]).await;
    let settings = [ADMIN, ("QUOTAGATE_REDIS_URL", url.as_str()), ("QUOTAGATE_WAIT_REPLICAS", "1")];
    let gateway = Process::start(dir.path(), &settings);
    works(&gateway).await;
    assert_eq!((readyz(&gateway).await.0, refused(&master).await), (200, Vec::new()));
}
