//! A replay with unchanged rules gives the recorded results: random histories of a real gateway under a test clock.

use std::collections::BTreeMap;

use quotagate::domain::time::window::{parse_rfc3339, rfc3339};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::seeds::seed;
use crate::support::{START, World};
use quotagate::cli::whatif::Agreement;

use crate::whatif::{Files, of_sandbox};

const USERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];
const CALLS: usize = 400;

fn plan() -> Value {
    json!({
        "id": "pro", "periodType": "daily", "periodAnchor": "subscription_start",
        "groups": [
            {"id": "videos", "unit": "count", "quota": 25, "matches": [{"event": "video.*"}]},
            {"id": "spend", "unit": "cents", "quota": 40, "periodType": "hourly", "periodAnchor": "calendar",
                "measure": {"per": {"tokens": "0.013", "event": "0.1"}, "estimate": {"tokens": 300}},
                "matches": [{"event": "llm.*", "metadata": {"model": ["m", "n"]}}]},
            {"id": "tokens", "unit": "tokens", "quota": 3000, "enforcement": "soft",
                "measure": {"per": {"tokens": 1}, "estimate": {"tokens": 300}}, "matches": [{"event": "llm.*"}]},
            {"id": "flight", "unit": "count", "quota": 3, "measure": "event", "periodType": "concurrent",
                "matches": [{"event": "video.*"}, {"event": "image.*"}]},
            {"id": "calls", "unit": "count", "quota": 60, "measure": "event", "matches": [{"event": "*"}]}],
    })
}

fn policy() -> Value {
    json!({"periodType": "daily", "groups": [{"id": "team_images", "unit": "count", "quota": 30,
        "scope": ["metadata.team"], "matches": [{"event": "image.*"}]}]})
}

/// An open reservation with its expiry.
struct Open {
    id: String,
    ends_ms: i64,
    event: &'static str,
}

struct History<'a> {
    world: &'a World,
    random: StdRng,
    now_ms: i64,
    open: Vec<Open>,
    settled: Vec<(String, &'static str, &'static str)>,
    denied: usize,
    expired: usize,
}

impl History<'_> {
    async fn step(&mut self) {
        self.now_ms += match self.random.random_range(0..10) {
            0 => self.random.random_range(60_000..1_500_000),
            _ => self.random.random_range(1..20_000),
        };
        // The record of an expiry contains only what its first owner held, so reservations of images, which a team
        // counts too, are not left to expire.
        let (ended, open) = std::mem::take(&mut self.open).into_iter().partition(|it| it.ends_ms <= self.now_ms);
        self.open = open;
        let ended: Vec<Open> = ended;
        self.expired += ended.iter().filter(|it| it.event != "image.a").count();
        for images in ended.into_iter().filter(|it| it.event == "image.a") {
            self.world.app.release(&images.id).await;
        }
        self.world.app.freeze(&rfc3339(self.now_ms)).await;
        match self.random.random_range(0..10) {
            0..=4 => self.reserve().await,
            5..=7 => self.settle().await,
            8 => self.track().await,
            _ => self.refund().await,
        }
    }

    fn event(&mut self) -> (&'static str, Value) {
        match self.random.random_range(0..4) {
            0 => ("video.a", json!({})),
            1 => ("image.a", json!({"team": "red"})),
            2 => ("llm.a", json!({"model": "m", "tokens": self.random.random_range(10..400)})),
            _ => ("llm.a", json!({"model": "n"})),
        }
    }

    fn user(&mut self) -> &'static str {
        USERS[self.random.random_range(0..USERS.len())]
    }

    async fn reserve(&mut self) {
        let (user, (event, metadata)) = (self.user(), self.event());
        let ttl = self.random.random_range(1..120);
        let quantity = self.random.random_range(1..5);
        let body =
            json!({"userId": user, "event": event, "quantity": quantity, "metadata": metadata, "ttlSeconds": ttl});
        let decision = self.world.app.reserve(body).await;
        match decision["reservationId"].as_str() {
            Some(id) => self.open.push(Open { id: id.to_owned(), ends_ms: self.now_ms + ttl * 1000, event }),
            None => self.denied += 1,
        }
    }

    fn figures(&mut self, event: &str) -> Value {
        match event {
            "llm.a" => json!({"metadata": {"tokens": self.random.random_range(1..600)}}),
            _ => json!({"quantity": self.random.random_range(0..6)}),
        }
    }

    async fn settle(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.open.len());
        let event = self.open[place].event;
        let mut body = match self.random.random_range(0..2) {
            0 => json!({}),
            _ => self.figures(event),
        };
        body["reservationId"] = json!(self.open[place].id);
        match self.random.random_range(0..6) {
            0 => {
                self.world.app.release(&self.open.swap_remove(place).id).await;
            }
            1 if body.as_object().unwrap().len() > 1 => {
                body["final"] = json!(false);
                self.world.app.post("commit", body).await.expect(200);
            }
            _ => {
                self.world.app.post("commit", body).await.expect(200);
                let Open { id, event, .. } = self.open.swap_remove(place);
                let user = self.owner_of(&id).await;
                self.settled.push((id, user, event));
            }
        }
    }

    /// The user of a reservation, according to its record.
    async fn owner_of(&self, id: &str) -> &'static str {
        let record: String =
            self.world.redis.run(&["GET", &format!("qg:{{default:test/main}}:op:{}", &id[4..id.len() - 13])]).await;
        // The label leaves out a user who is the first owner.
        let (label, owner) = (record.lines().nth(1).unwrap(), record.lines().nth(3).unwrap());
        let owner = owner.split(' ').next().and_then(|word| word.strip_prefix("user:"));
        let user = label.split(' ').nth(2).or(owner).unwrap();
        USERS.into_iter().find(|known| *known == user).unwrap()
    }

    async fn track(&mut self) {
        let (user, (event, metadata)) = (self.user(), self.event());
        let enforce = event != "llm.a" && self.random.random_bool(0.5);
        let quantity = self.random.random_range(1..4);
        let body =
            json!({"userId": user, "event": event, "quantity": quantity, "metadata": metadata, "enforce": enforce});
        let answer = self.world.app.post("track", body).await;
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text);
        self.denied += usize::from(answer.status == 429);
    }

    async fn refund(&mut self) {
        let quantity = self.random.random_range(1..4);
        let (user, event, metadata) = match self.settled.is_empty() || self.random.random_bool(0.3) {
            true => (self.user(), "video.a", json!({})),
            false => {
                let place = self.random.random_range(0..self.settled.len());
                let (id, user, event) = self.settled.swap_remove(place);
                let mut metadata = json!({"reservationId": id});
                if event == "llm.a" {
                    metadata["tokens"] = json!(self.random.random_range(1..300));
                }
                (user, event, metadata)
            }
        };
        let body =
            json!({"userId": user, "event": format!("{event}.refund"), "quantity": quantity, "metadata": metadata});
        let answer = self.world.app.post("track", body).await;
        assert!(matches!(answer.status, 200 | 410), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unchanged_plan_decides_and_counts_as_it_did() {
    let seed = seed("WHATIF_SEED");
    let world = World::frozen().await;
    world.admin.plan("pro", plan()).await;
    world.admin.put("policies/teams", policy()).await.expect(200);
    let limit = json!({"scope": {"metadata.team": "red"}, "quota": 12});
    world.app.put("limits/team_images", limit).await.expect(200);
    for user in USERS {
        world.app.subscribe(user, "pro").await;
    }
    let now_ms = parse_rfc3339(START).unwrap();
    let random = StdRng::seed_from_u64(seed);
    let mut history =
        History { world: &world, random, now_ms, open: Vec::new(), settled: Vec::new(), denied: 0, expired: 0 };
    for _ in 0..CALLS {
        history.step().await;
    }
    let images = std::mem::take(&mut history.open).into_iter();
    for open in images.filter(|it| it.event == "image.a") {
        world.app.release(&open.id).await;
    }
    // Expiries are recorded when the next call reclaims them.
    world.app.freeze(&rfc3339(history.now_ms + 200_000)).await;
    for user in USERS {
        world.app.post("track", json!({"userId": user, "event": "video.a"})).await.expect(200);
    }
    let files = Files::new();
    let rehearsed = of_sandbox(&world.redis, &["--plan", &files.write("pro.json", &plan())]).await.unwrap();
    let report = &rehearsed.report;
    assert!(
        history.denied > 5 && history.expired > 5,
        "{} denied, {} expired\n{report}",
        history.denied,
        history.expired
    );
    assert_eq!(report.recorded.denied as usize, history.denied, "{report}");
    assert_eq!((report.newly_denied.calls, report.newly_allowed.calls, report.denied_otherwise), (0, 0, 0), "{report}");
    let exact = Agreement { calls: report.calls, agree: report.calls, denied_otherwise: 0 };
    assert_eq!(report.present_rules, Some(exact), "{report}");
    assert_eq!(report.recorded.cents, report.under_draft.cents, "{report}");
    for sum in &report.groups {
        assert_eq!(sum.recorded, sum.draft, "{report}");
    }
    let mut stands: BTreeMap<(String, String), String> = BTreeMap::new();
    for account in &rehearsed.accounts {
        let live = account.window.end_ms.is_none_or(|end| end > history.now_ms + 200_000);
        let used = if live { account.used.steps() } else { 0 };
        stands.insert(
            (account.owner.values().join(" "), account.group.to_string()),
            format!("{used} {}", account.held.steps()),
        );
    }
    for user in USERS {
        let usage = world.app.get(&format!("usage?userId={user}&metadata.team=red")).await.expect(200);
        for counter in usage["counters"].as_array().unwrap() {
            let scale = if counter["unit"] == "cents" { 1_000_000.0 } else { 1.0 };
            let steps = |name: &str| (counter[name].as_f64().unwrap() * scale).round() as u64;
            let owner = if counter["groupId"] == "team_images" { "red" } else { user };
            let known = stands.get(&(owner.to_owned(), counter["groupId"].as_str().unwrap().to_owned()));
            assert_eq!(
                known.map_or("0 0", String::as_str),
                format!("{} {}", steps("used"), steps("held")),
                "{user} {counter}"
            );
        }
    }
}
