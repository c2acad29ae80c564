//! A Redis that holds other data than the node started with: none, another store's, or another layout. `SWAPDB`
//! exchanges the node's database on the connection it already uses.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::{ADMIN_KEY, Process, one_clear_line, run};
use crate::proxy::Proxy;
use crate::support::{Api, Redis, eventually, monthly};

struct Node {
    process: Process,
    dir: TempDir,
}

impl Node {
    async fn start(url: &str) -> Self {
        Self::start_with(url, &[]).await
    }

    async fn start_with(url: &str, more: &[(&'static str, &'static str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let (data_dir, url, more) = (dir.path().to_owned(), url.to_owned(), more.to_vec());
        let process = tokio::task::spawn_blocking(move || {
            let mut settings = vec![("QUOTAGATE_REDIS_URL", url.as_str()), ("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)];
            settings.extend(more);
            Process::start_with(&data_dir, &settings, &data_dir.join("log"))
        });
        Self { process: process.await.unwrap(), dir }
    }

    fn api(&self, key: &str) -> Api {
        Api::at(&self.process.url, key)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    async fn metric(&self, name: &str) -> String {
        let text = self.api("").get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.unwrap_or_default()
    }
}

/// A node with the user `u` on a plan, its key, and an open reservation.
async fn furnished(url: &str) -> (Node, Api, String) {
    let node = Node::start(url).await;
    let admin = node.api(ADMIN_KEY);
    admin.plan("pro", monthly(1_000_000)).await;
    admin.put("app", json!({"onStoreFailure": "allow", "defaultPlanId": null})).await.expect(200);
    let made = admin.post("keys", json!({"kind": "secret", "mode": "live"})).await.expect(201);
    let app = node.api(made["key"].as_str().unwrap());
    app.subscribe("u", "pro").await;
    let held = app.reserved(image()).await;
    (node, app, held)
}

fn image() -> Value {
    json!({"userId": "u", "event": "image.a"})
}

/// One call of each kind.
async fn calls(node: &Node, app: &Api, held: &str) -> Vec<(String, u16, String)> {
    let admin = node.api(ADMIN_KEY);
    let anyone = node.api("");
    let stranger = node.api("sk_live_0123456789abcdefghijklmnopqrstuv");
    let grant = json!({"groupId": "images", "scope": {"user": "u"}, "amount": 5});
    let calls = [
        (app, "POST", "reserve", image()),
        (app, "POST", "can-use", image()),
        (app, "POST", "track", image()),
        (app, "POST", "track", json!({"userId": "u", "event": "image.a", "enforce": true})),
        (app, "POST", "extend", json!({"reservationId": held, "ttlSeconds": 60})),
        (app, "POST", "commit", json!({"reservationId": held})),
        (app, "POST", "release", json!({"reservationId": held})),
        (app, "POST", "subscriptions", json!({"userId": "new", "planId": "pro"})),
        (app, "GET", "usage?userId=u", Value::Null),
        (&admin, "PUT", "plans/other", monthly(1)),
        (&admin, "PUT", "app", json!({"defaultPlanId": "pro"})),
        (&admin, "GET", "plans", Value::Null),
        (&admin, "GET", "users", Value::Null),
        (&admin, "POST", "keys", json!({"kind": "secret", "mode": "live"})),
        (&admin, "POST", "users/u/block", json!({})),
        (&admin, "POST", "grants", grant),
        (&admin, "POST", "apps", json!({"id": "acme"})),
        (&anyone, "POST", "session", json!({"key": ADMIN_KEY})),
        (&stranger, "POST", "reserve", image()),
    ];
    let mut answers = Vec::new();
    for (api, method, path, body) in calls {
        let body = (!body.is_null()).then(|| body.to_string());
        let answer = api.send(method, path, body).await;
        answers.push((format!("{method} {path}"), answer.status, answer.text));
    }
    answers
}

#[track_caller]
fn all_are_503(answers: &[(String, u16, String)]) {
    for (call, status, text) in answers {
        assert!(*status == 503 && text.contains("store_unavailable"), "{call}: {status} {text}");
    }
}

/// All keys except what nodes write about themselves.
async fn contents(redis: &Redis, db: &str) -> Vec<(String, Vec<String>)> {
    let mut connection = redis.connect().await;
    redis::cmd("SELECT").arg(db).query_async::<()>(&mut connection).await.unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    keys.retain(|key| key != "qg:{quotagate}:nodes");
    keys.sort();
    let mut contents = Vec::new();
    for key in keys {
        let value: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
        contents.push((key, vec![hex::encode(value)]));
    }
    contents
}

/// Exchanges the node's data for those of database 1, makes calls at once, and exchanges them back.
async fn swapped(redis: &Redis, node: &Node, app: &Api, held: &str, found: &str) {
    let before = contents(redis, "1").await;
    redis.run::<()>(&["SWAPDB", "0", "1"]).await;
    // Immediately, before the node has checked again.
    all_are_503(&calls(node, app, held).await);
    eventually("the log says it", || async { node.log().contains(found) }).await;
    all_are_503(&calls(node, app, held).await);
    let ready = node.api("").get("/readyz").await;
    assert!(ready.status == 503 && ready.text.contains(found), "{}", ready.text);
    assert_eq!(node.metric("quotagate_store_identity_matches").await, "0");
    assert_eq!(contents(redis, "0").await, before, "nothing is written into other data");
    redis.run::<()>(&["SWAPDB", "0", "1"]).await;
    eventually("it serves again", || async { app.post("can-use", image()).await.status == 200 }).await;
    assert_eq!(node.api("").get("/readyz").await.status, 200);
    assert_eq!(node.metric("quotagate_store_identity_matches").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_503_and_not_written_to_until_its_data_is_back() {
    let redis = Redis::start().await;
    let (node, app, held) = furnished(&redis.url()).await;
    assert!(node.log().contains("it is initialised now"), "{}", node.log());
    swapped(&redis, &node, &app, &held, "Redis holds no quotagate data").await;
    assert_eq!(node.log().matches("Every API call is answered 503").count(), 1, "once: {}", node.log());
    app.commit(&held).await;
    assert_eq!(app.stands("u", "images").await, (1.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_of_another_store_are_neither_read_nor_written() {
    let redis = Redis::start().await;
    let (node, app, held) = furnished(&redis.url()).await;
    // The other store has the same app, a plan and a user of the same names, and a later configuration.
    let other_url = format!("{}?db=1", redis.url());
    let (other, ..) = furnished(&other_url).await;
    assert!(other.process.terminate().success());
    swapped(&redis, &node, &app, &held, "Redis holds the data of another store").await;
    // And an earlier one.
    node.api(ADMIN_KEY).put("app", json!({"onStoreFailure": "deny"})).await.expect(200);
    swapped(&redis, &node, &app, &held, "Redis holds the data of another store").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_of_another_store_is_not_taken_over() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.socket()).await;
    let (node, app, _) = furnished(&proxy.url).await;
    let (other, ..) = furnished(&format!("{}?db=1", redis.url())).await;
    assert!(other.process.terminate().success());
    let before = contents(&redis, "1").await;
    node.api(ADMIN_KEY).put("app", json!({"onStoreFailure": "deny"})).await.expect(200);
    // The next check for changes first finds the node's own data, and then reads the configuration of the other store.
    proxy.exchange_before_a_revision_is_read();
    eventually("the data are exchanged", || async { proxy.has_exchanged() }).await;
    eventually("the log says it", || async {
        assert_eq!(app.post("reserve", image()).await.status, 503);
        node.log().contains("Redis holds the data of another store")
    })
    .await;
    assert_eq!(contents(&redis, "0").await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_while_redis_is_emptied_write_nothing_into_it() {
    let redis = Redis::start().await;
    let (node, app, _) = furnished(&redis.url()).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (app, stop) = (app.clone(), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answers = std::collections::BTreeSet::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    for path in ["reserve", "track"] {
                        let body = json!({"userId": format!("u{caller}"), "event": "image.a"});
                        answers.insert(app.post(path, body).await.status);
                    }
                }
                answers
            })
        })
        .collect();
    let calls = async || node.metric("quotagate_requests_total{call=\"/api/v1/track\",status=\"200\"}").await;
    eventually("calls are under way", async || calls().await.parse::<u64>().is_ok_and(|calls| calls > 100)).await;
    redis.run::<()>(&["FLUSHALL"]).await;
    eventually("the log says it", || async { node.log().contains("Redis holds no quotagate data") }).await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for caller in callers {
        let answers = caller.await.unwrap();
        assert!(answers.is_subset(&[200, 503].into()), "{answers:?}");
    }
    assert_eq!(contents(&redis, "0").await, []);
    // The library is not loaded there either.
    redis.run::<()>(&["FUNCTION", "FLUSH"]).await;
    assert_eq!(app.post("reserve", image()).await.status, 503);
    assert_eq!(redis.run::<Vec<redis::Value>>(&["FUNCTION", "LIST"]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_or_older_layout_is_503_while_it_lasts() {
    let redis = Redis::start().await;
    let (node, app, held) = furnished(&redis.url()).await;
    let layout: String = redis.run(&["GET", "qg:{quotagate}:layout"]).await;
    for other in ["999", "1"] {
        redis.run::<()>(&["SET", "qg:{quotagate}:layout", other]).await;
        eventually("it is seen", || async { app.post("can-use", image()).await.status == 503 }).await;
        all_are_503(&calls(&node, &app, &held).await);
        assert!(node.log().contains(&format!("data of layout {other}")), "{}", node.log());
        redis.run::<()>(&["SET", "qg:{quotagate}:layout", &layout]).await;
        eventually("it serves again", || async { app.post("can-use", image()).await.status == 200 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_lost_its_stamp_is_stamped_again_in_the_same_store() {
    let redis = Redis::start().await;
    let (_node, app, _) = furnished(&redis.url()).await;
    let stamp: String = redis.run(&["GET", "qg:{default:live}:stamp"]).await;
    redis.run::<()>(&["DEL", "qg:{default:live}:stamp"]).await;
    app.reserved(image()).await;
    assert_eq!(redis.run::<String>(&["GET", "qg:{default:live}:stamp"]).await, stamp);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_init_never_only_existing_data_are_served() {
    let (redis, dir) = (Redis::start().await, TempDir::new().unwrap());
    let (url, data_dir) = (redis.url(), dir.path().to_str().unwrap().to_owned());
    let never = [("QUOTAGATE_REDIS_URL", url.as_str()), ("QUOTAGATE_INIT", "never")];
    let reported = one_clear_line(&run(&["serve"], &never));
    assert!(reported.contains("Redis has no quotagate data, and QUOTAGATE_INIT=never"), "{reported}");
    assert_eq!(contents(&redis, "0").await, []);
    // Data of a release that stored no identity are accepted.
    let (node, ..) = furnished(&url).await;
    assert!(node.process.terminate().success());
    redis.run::<()>(&["DEL", "qg:{quotagate}:identity"]).await;
    let node = Node::start_with(&url, &[("QUOTAGATE_INIT", "never")]).await;
    assert_eq!(node.api("").get("/readyz").await.status, 200);
    let identity: String = redis.run(&["GET", "qg:{quotagate}:identity"]).await;
    assert!(!identity.is_empty() && !node.log().contains("initialised"), "{}", node.log());
    // The embedded Redis of an empty directory.
    let private = [("QUOTAGATE_DATA_DIR", data_dir.as_str()), ("QUOTAGATE_INIT", "never"), ("QUOTAGATE_LOG", "off")];
    assert!(one_clear_line(&run(&["serve"], &private)).contains("QUOTAGATE_INIT=never"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_beside_a_gateway_initialise_nothing() {
    let redis = Redis::start().await;
    let url = redis.url();
    let plan = TempDir::new().unwrap();
    let path = plan.path().join("plan.json");
    std::fs::write(&path, monthly(5).to_string()).unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        &["inspect", "u"][..],
        &["verify"],
        &["export", "--out", "-"],
        &["rollup", "--rebuild"],
        &["whatif", "--plan", path, "--for", "free"],
    ] {
        let output = run(arguments, &[("QUOTAGATE_REDIS_URL", &url)]);
        let reported = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}: {reported}");
        assert!(!reported.contains("unexpected argument"), "{arguments:?}: {reported}");
        assert!(reported.contains("Redis has no quotagate data"), "{arguments:?}: {reported}");
    }
    assert_eq!(redis.run::<Vec<String>>(&["KEYS", "*"]).await, Vec::<String>::new());
    assert_eq!(redis.run::<Vec<redis::Value>>(&["FUNCTION", "LIST"]).await.len(), 0);
}
