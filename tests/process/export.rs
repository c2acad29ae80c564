//! `quotagate export`: random traffic summed by an independent tool, and truncated files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::gateway::{one_clear_line, run};
use crate::support::seeds::seed;
use crate::support::{Api, World, folder, new_key};

/// Users, some with names that a spreadsheet would evaluate as a formula.
const USERS: [&str; 4] = ["u_1", "u_2", "=1+1", "ä, \"b\""];
const TEAMS: [&str; 3] = ["red", "blue", "@c"];

async fn world() -> World {
    let world = World::frozen().await;
    let plan = json!({"groups": [
        {"id": "images", "unit": "count", "quota": 40, "periodType": "weekly", "enforcement": "soft", "matches": [{"event": "image.*"}]},
        {"id": "tokens", "unit": "tokens", "quota": 3000, "periodType": "monthly", "matches": [{"event": "llm.*"}]},
        {"id": "spend", "unit": "cents", "quota": null, "periodType": "monthly", "matches": [{"event": "llm.*"}],
            "measure": {"per": {"quantity": "0.0125"}}},
        {"id": "ever", "unit": "seconds", "quota": null, "periodType": "lifetime", "matches": [{"event": "*"}],
            "measure": {"per": {"event": "0.125"}}}]});
    world.admin.plan("p", plan).await;
    let group = |id: &str, scope: Value| json!({"id": id, "unit": "count", "quota": 500, "periodType": "weekly", "scope": scope, "measure": "event", "matches": [{"event": "*"}]});
    let policy = json!({"groups": [group("team", json!(["metadata.team"])), group("own", json!(["user", "metadata.team"])),
        group("key", json!(["key"])), group("app", json!(["app"]))]});
    world.admin.put("policies/caps", policy).await.expect(200);
    for user in USERS {
        world.app.subscribe(user, "p").await;
    }
    world
}

/// Random calls; whether each one is allowed does not matter.
async fn traffic(app: &Api, operator: &Api, random: &mut StdRng, days: i64) {
    let mut settled: Vec<(String, &str)> = Vec::new();
    let mut open: Vec<(String, &str)> = Vec::new();
    let mut resets = 0;
    for day in 0..days {
        let from = ms(crate::support::START) + day * 2 * 86_400_000;
        for call in 0..12 {
            app.freeze(&quotagate::domain::time::window::rfc3339(from + call * 20_000)).await;
            let user = USERS[random.random_range(0..USERS.len())];
            let event = ["image.a", "image.b", "llm.chat"][random.random_range(0..3)];
            let team = TEAMS[random.random_range(0..TEAMS.len())];
            let request = json!({"userId": user, "event": event, "quantity": random.random_range(1..30), "metadata": {"team": team}});
            match random.random_range(0..10) {
                0..5 => {
                    let decision = app.reserve(request).await;
                    open.extend(decision["reservationId"].as_str().map(|id| (id.to_owned(), user)));
                }
                5 | 6 => {
                    app.post("track", request).await.expect(200);
                }
                7 => {
                    let mut refund = request.clone();
                    refund["event"] = json!(format!("{event}.refund"));
                    app.post("track", refund).await.expect(200);
                }
                8 if !settled.is_empty() => {
                    let (id, user) = &settled[random.random_range(0..settled.len())];
                    let refund =
                        json!({"userId": user, "event": "x.refund", "quantity": 3, "metadata": {"reservationId": id}});
                    let answer = app.post("track", refund).await;
                    assert!([200, 409, 410].contains(&answer.status), "{}", answer.text);
                }
                // Fewer windows than are kept for a counter.
                _ if resets < 6 => {
                    operator.post("users/u_1/reset", json!({"groupId": "images"})).await.expect(200);
                    resets += 1;
                }
                _ => {}
            }
            if open.len() > random.random_range(0..4) {
                let (id, user) = open.remove(0);
                let body = match random.random_range(0..5) {
                    0 => json!({"reservationId": id, "quantity": random.random_range(0..50)}),
                    1 => json!({"reservationId": id, "quantity": 2, "final": false}),
                    _ => json!({"reservationId": id}),
                };
                let call = if random.random_range(0..5) == 0 { "release" } else { "commit" };
                let body = if call == "release" { json!({"reservationId": id, "reason": "-1"}) } else { body };
                // Some settlements are late; reservations that are never settled expire.
                let answer = app.post(call, body).await;
                assert!([200, 410].contains(&answer.status), "{}", answer.text);
                settled.push((id.clone(), user));
            }
        }
    }
}

pub fn ms(time: &str) -> i64 {
    quotagate::domain::time::window::parse_rfc3339(time).unwrap()
}

/// `used` of every window of every counter in Redis, by `<group> <scope> <window>`.
async fn counters(world: &World) -> BTreeMap<String, String> {
    let decimals = |group: &str| match group {
        "spend" => 6,
        "ever" => 3,
        _ => 0,
    };
    let mut found = BTreeMap::new();
    for (key, fields) in world.redis.contents("qg:{default:test/main}:*").await {
        let name = key.split_once("}:").unwrap().1;
        let (kind, owner) = name.split_once(':').unwrap_or((name, ""));
        if !["account", "past"].contains(&kind) {
            continue;
        }
        let (names, values) = owner.split_once(':').unwrap();
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let scope: BTreeMap<String, String> = names.split('+').map(decode).zip(values.split(':').map(decode)).collect();
        let scope = pythonic(&serde_json::to_string(&scope).unwrap());
        let fields: BTreeMap<&str, &str> = fields.iter().map(|field| field.split_once(" = ").unwrap()).collect();
        for (field, value) in &fields {
            let (group, window, used) = match (kind, field.rsplit_once('.')) {
                ("account", None) => (*field, value.rsplit_once('#').unwrap().1, value.split_once('+').unwrap().0),
                ("past", Some((group, seq))) if seq != "first" => (group, seq, value.split(' ').next().unwrap()),
                _ => continue,
            };
            let used = Decimal::from_i128_with_scale(used.parse().unwrap(), decimals(group)).normalize();
            found.insert(format!("{group} {scope} {window}"), used.to_string());
        }
    }
    found
}

/// JSON in Python's formatting.
fn pythonic(json: &str) -> String {
    let spaced = json.replace("\":\"", "\": \"").replace("\",\"", "\", \"");
    let escape =
        |letter: char| if letter.is_ascii() { letter.to_string() } else { format!("\\u{:04x}", letter as u32) };
    spaced.chars().map(escape).collect()
}

/// Returns what it wrote to standard error.
fn export(world: &World, file: &Path, more: &[&str]) -> String {
    let url = world.redis.url();
    let arguments = [&["export", "--mode", "test", "--out", file.to_str().unwrap()], more].concat();
    let output = run(&arguments, &[("QUOTAGATE_REDIS_URL", &url)]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

fn sums(file: &Path) -> BTreeMap<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/sum.py");
    let output = Command::new("python3").arg(script).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_tool_sums_an_export_to_every_counter_and_a_truncated_file_is_completed() {
    let seed = seed("EXPORT_SEED");
    let mut random = StdRng::seed_from_u64(seed);
    let world = world().await;
    let operator = world.admin.with("x-mode", "test");
    let dir = folder();
    traffic(&world.app, &operator, &mut random, 8).await;
    let early = dir.path().join("early.csv");
    export(&world, &early, &[]);
    // More calls on the same days: the sandbox's clock cannot go back, so they are at its latest time.
    world.app.freeze("2027-02-20T00:00:00Z").await;
    for user in USERS {
        world
            .app
            .post("track", json!({"userId": user, "event": "llm.chat", "quantity": 7, "metadata": {"team": "red"}}))
            .await
            .expect(200);
    }
    let counters = counters(&world).await;
    for (name, format) in [("all.csv", "csv"), ("all.ndjson", "ndjson")] {
        let file = dir.path().join(name);
        export(&world, &file, &["--format", format]);
        let whole = std::fs::read(&file).unwrap();
        let found = sums(&file);
        for (counter, used) in &counters {
            assert_eq!(found.get(counter).map_or("0", String::as_str), used, "{counter} in {name}");
        }
        assert!(counters.len() > 30 && found.keys().all(|counter| counters.contains_key(counter)), "{found:?}");
        // Without new events nothing changes, and a file truncated anywhere is completed.
        let mut cuts = vec![whole.len(), 0, 5, 300, whole.len() - 1];
        cuts.extend((0..8).map(|_| random.random_range(0..whole.len())));
        let lines: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1).collect();
        cuts.extend((0..5).map(|_| lines[random.random_range(0..lines.len())]));
        for cut in cuts {
            std::fs::write(&file, &whole[..cut]).unwrap();
            export(&world, &file, &[]);
            assert!(std::fs::read(&file).unwrap() == whole, "cut off after {cut} bytes of {name}");
        }
        let out = Command::new(env!("CARGO_BIN_EXE_quotagate"))
            .args(["export", "--mode", "test", "--out", "-", "--format", format, "--redis-url", &world.redis.url()])
            .output()
            .unwrap();
        assert!(out.stdout == whole, "standard output is the same");
    }
    export(&world, &early, &[]);
    assert_eq!(std::fs::read(&early).unwrap(), std::fs::read(dir.path().join("all.csv")).unwrap());
    let text = std::fs::read_to_string(&early).unwrap();
    assert!(text.contains(",'=1+1,") && !text.contains(",=1+1,"), "no cell is calculated");
    // Only a part of the period.
    let part = dir.path().join("part.ndjson");
    export(&world, &part, &["--user", "u_2", "--types", "track,denial", "--since", "2020-01-01T00:00:00Z"]);
    let all = std::fs::read_to_string(dir.path().join("all.ndjson")).unwrap();
    let wanted = |line: &&str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["userId"] == "u_2" && (event["type"] == "track" || event["type"] == "denial")
    };
    let wanted: String = all.lines().filter(wanted).map(|line| format!("{line}\n")).collect();
    assert_eq!(std::fs::read_to_string(&part).unwrap(), wanted);
    export(&world, &dir.path().join("none.ndjson"), &["--until", "2020-01-01T00:00:00Z"]);
    assert_eq!(std::fs::read(dir.path().join("none.ndjson")).unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_has_what_was_fitted_and_what_was_rolled_over() {
    let world = World::frozen().await;
    let group = json!({"id": "tokens", "unit": "tokens", "quota": 1000, "rollover": {"max": 300},
        "measure": {"per": {"completion_tokens": "1"}}, "matches": [{"event": "llm"}]});
    world.admin.plan("p", json!({"periodType": "monthly", "periodAnchor": "calendar", "groups": [group]})).await;
    world.app.subscribe("u", "p").await;
    let call = |tokens: u64| json!({"userId": "u", "event": "llm", "metadata": {"completion_tokens": tokens}});
    let mut fitting = call(1400);
    fitting["fit"] = json!({"field": "completion_tokens", "min": 100});
    let id = world.app.reserved(fitting).await;
    let body = json!({"reservationId": id, "metadata": {"completion_tokens": 600}});
    world.app.post("commit", body).await.expect(200);
    // 300 of the 400 that are left are rolled over.
    world.app.freeze("2027-02-01T00:00:00Z").await;
    world.app.post("track", call(1)).await.expect(200);

    let dir = folder();
    let file = dir.path().join("events.csv");
    export(&world, &file, &[]);
    let mut reader = csv::Reader::from_path(&file).unwrap();
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let cells = |kind: &str| {
        let row = rows.iter().find(|row| row["type"] == kind).unwrap_or_else(|| panic!("no {kind}: {rows:?}"));
        [row["fitted"].as_str(), row["rolled"].as_str()]
    };
    assert_eq!(cells("commit"), [r#"{"completion_tokens":1000}"#, ""]);
    assert_eq!(cells("rollover"), ["", "300"]);
    assert_eq!(cells("track"), ["", ""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_file_is_not_changed_and_an_error_is_one_line() {
    let world = world().await;
    world.app.post("track", json!({"userId": "u_1", "event": "image.a"})).await.expect(200);
    let dir = folder();
    let url = world.redis.url();
    let settings = [("QUOTAGATE_REDIS_URL", url.as_str())];
    let file = dir.path().join("mine.csv");
    for (text, format) in [
        ("my notes", "csv"),
        ("my notes", "ndjson"),
        ("{\"id\":\"x\"}\n", "ndjson"),
        ("{\"id\":\"led_00_1-0\"}\nnotes\n", "ndjson"),
        ("id,row,rows,else\n1,1,1,x\n", "csv"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = run(&["export", "--mode", "test", "--out", file.to_str().unwrap(), "--format", format], &settings);
        let printed = one_clear_line(&output);
        assert!(printed.contains("is no"), "{printed}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    let nowhere = dir.path().join("no/such/file");
    one_clear_line(&run(&["export", "--out", nowhere.to_str().unwrap()], &settings));
    let out = dir.path().join("out.csv");
    let out = out.to_str().unwrap();
    one_clear_line(&run(&["export", "--out", out, "--mode", "prod"], &settings));
    one_clear_line(&run(&["export", "--out", out, "--user", ""], &settings));
    let away = [("QUOTAGATE_REDIS_URL", "redis://:hunter2@127.0.0.1:1")];
    assert!(!one_clear_line(&run(&["export", "--out", out], &away)).contains("hunter2"));
    for wrong in [["--since", "yesterday"], ["--types", "sale"], ["--format", "xml"]] {
        let output = run(&[&["export", "--out", out], wrong.as_slice()].concat(), &settings);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    assert!(!Path::new(out).exists(), "nothing was begun");
    // Two exports to one file would mix their lines.
    let held = std::fs::File::create(dir.path().join("held.csv")).unwrap();
    held.lock().unwrap();
    let printed = one_clear_line(&run(
        &["export", "--mode", "test", "--out", dir.path().join("held.csv").to_str().unwrap()],
        &settings,
    ));
    assert!(printed.contains("another export"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_comes_too_late_says_so() {
    let world = world().await;
    let track = async || {
        world.app.post("track", json!({"userId": "u_1", "event": "image.a"})).await.expect(200);
    };
    track().await;
    let dir = folder();
    let file = dir.path().join("events.ndjson");
    assert_eq!(export(&world, &file, &[]), "events written: 1\n");
    track().await;
    assert_eq!(export(&world, &file, &[]), "events written: 1\n");
    track().await;
    track().await;
    world.redis.run::<()>(&["XTRIM", "qg:{default:test/main}:ledger", "MAXLEN", "=", "1"]).await;
    let printed = export(&world, &file, &[]);
    assert!(
        printed.starts_with("warning: the ledger has dropped old entries") && printed.ends_with("events written: 1\n"),
        "{printed}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_the_events_of_one_app_and_mode_and_says_which() {
    let world = world().await;
    let live = new_key(&world.admin, json!({"kind": "secret", "mode": "live"})).await;
    let live = world.node.client(&live);
    world.admin.post("apps", json!({"id": "acme"})).await.expect(201);
    live.subscribe("u_1", "p").await;
    for app in [&world.app, &live] {
        let event = json!({"userId": "u_1", "event": "image.a", "metadata": {"team": "red"}});
        app.post("track", event).await.expect(200);
    }
    let dir = folder();
    let url = world.redis.url();
    let settings = [("QUOTAGATE_REDIS_URL", url.as_str())];
    for name in ["events.csv", "events.ndjson"] {
        let file = dir.path().join(name);
        export(&world, &file, &[]);
        let text = std::fs::read_to_string(&file).unwrap();
        match name.ends_with("csv") {
            true => {
                assert!(text.lines().next().unwrap().ends_with(",app,mode"), "{text}");
                assert!(text.lines().nth(1).unwrap().ends_with(",default,test/main"), "{text}");
            }
            false => {
                let event: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
                assert_eq!((&event["app"], &event["mode"]), (&json!("default"), &json!("test/main")));
            }
        }
        for (other, whose) in [
            (["--mode", "live", "--app", "default"], "app default, mode live"),
            (["--mode", "live", "--app", "acme"], "app acme, mode live"),
        ] {
            let arguments = [&["export", "--out", file.to_str().unwrap()], other.as_slice()].concat();
            let printed = one_clear_line(&run(&arguments, &settings));
            let expected =
                format!("has events of app default, mode test/main; export those of {whose} to another file");
            assert!(printed.ends_with(&expected), "{printed}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "it is left alone");
        }
        // The same goes on.
        export(&world, &file, &[]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
}
