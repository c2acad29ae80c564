//! Reads Redis directly, bypassing the gateway: counters, holds, and keys without an expiry.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{CounterName, Model};
use crate::support::Redis;
use crate::support::stored::taken_apart;

/// Returns `user=u1` for the key `…:account:user:u1`.
fn owner_of(key: &str) -> String {
    let (_, word) = key.split_once(":account:").unwrap();
    let (names, values) = word.split_once(':').unwrap();
    let pairs = names.split('+').zip(values.split(':'));
    let mut pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    pairs.join(",")
}

/// An owner's counters and holds, read atomically.
struct Owner {
    name: String,
    fields: BTreeMap<String, String>,
    /// Members with their expiry times.
    holds: Vec<(String, i64)>,
}

impl Owner {
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().filter_map(|field| field.strip_suffix(".seq"))
    }

    fn figure(&self, group: &str, what: &str) -> u64 {
        self.fields[&format!("{group}.{what}")].parse().unwrap()
    }

    /// What was rolled over into a group's window.
    fn rolled(&self, group: &str) -> u64 {
        let limit = self.fields[&format!("{group}.window")].split(['!', ' ']).next().unwrap();
        limit.split_once('+').map_or(0, |(_, rolled)| rolled.parse().unwrap())
    }

    /// Sum of the holds in a group's window that expire after a time.
    fn sum(&self, group: &str, after_ms: i64) -> u64 {
        let seq = self.fields[&format!("{group}.seq")].as_str();
        let live = self.holds.iter().filter(|(_, end_ms)| *end_ms > after_ms);
        let entries = live.flat_map(|(member, _)| member.split(' ').nth(1).unwrap().split(','));
        let parts = entries.map(|entry| entry.split(':').collect::<Vec<_>>());
        let of_window = parts.filter(|parts| parts[0] == group && parts[1] == seq);
        of_window.map(|parts| parts[2].parse::<u64>().unwrap()).sum()
    }

    fn reply(&self) -> String {
        format!("{} {:?} {:?}", self.name, self.fields, self.holds)
    }
}

async fn owners(redis: &Redis, app: &str) -> Vec<Owner> {
    let mut connection = redis.connect().await;
    let pattern = format!("qg:{{{app}:test/main*:account:*");
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    let mut owners = Vec::new();
    for key in keys {
        let mut step = redis::pipe();
        step.atomic().hgetall(&key);
        step.cmd("ZRANGE").arg(key.replacen(":account:", ":holds:", 1)).arg(0).arg(-1).arg("WITHSCORES");
        let (fields, holds) = step.query_async(&mut connection).await.unwrap();
        owners.push(Owner { name: owner_of(&key), fields: taken_apart(fields), holds });
    }
    owners
}

/// Checks what is true at any moment, also during calls: `held` is the sum of the holds.
///
/// # Errors
/// A description of the difference.
pub async fn holds_add_up(redis: &Redis, app: &str) -> Result<(), String> {
    for owner in owners(redis, app).await {
        if let Some(group) = owner.groups().find(|group| owner.figure(group, "held") != owner.sum(group, 0)) {
            return Err(format!("held of {group} is not the sum of its holds: {}", owner.reply()));
        }
    }
    Ok(())
}

/// Compares every counter with the model. Its `held` is the sum of the holds of its window, and the holds that are not
/// expired are those of the model.
///
/// # Errors
/// A description of the difference.
pub async fn look(redis: &Redis, model: &Model) -> Result<(), String> {
    let mut seen: BTreeSet<CounterName> = BTreeSet::new();
    for owner in owners(redis, &model.rules.app).await {
        for group in owner.groups() {
            let name = model.counters.keys().find(|name| name.0 == owner.name && name.1 == group);
            let Some(name) = name else {
                return Err(format!("nothing was counted in {group}, and yet it is there: {}", owner.reply()));
            };
            let window_seq = model.window_seq(name);
            let live = owner.sum(group, model.now_ms);
            let reply = (owner.figure(group, "used"), owner.figure(group, "held"), live, owner.rolled(group));
            let rolled = model.accounts[&(name.clone(), window_seq)].rolled;
            let expected = (model.used(name, window_seq), owner.sum(group, 0), model.held(name, window_seq), rolled);
            if reply != expected {
                return Err(format!(
                    "used, held, live holds and rolled quota of {group} are {reply:?}, not {expected:?}: {}",
                    owner.reply()
                ));
            }
            seen.insert(name.clone());
        }
    }
    let counted = model.counters.iter().filter(|(_, counter)| counter.window_seq > 0);
    match counted.map(|(name, _)| name).find(|name| !seen.contains(*name)) {
        Some(name) => Err(format!("there is no counter {name:?}")),
        None => Ok(()),
    }
}

/// Checks that every key of the app has an expiry, except for the few that are kept and bounded otherwise.
pub async fn nothing_else_stays(redis: &Redis, app: &str) {
    let keys: Vec<String> = redis.run(&["KEYS", &format!("qg:{{{app}:test/main*")]).await;
    assert!(!keys.is_empty());
    let mut connection = redis.connect().await;
    for key in keys {
        let kind = key.split("}:").nth(1).unwrap().split(':').next().unwrap();
        // How far a stream is folded is kept as long as the stream.
        let stays = key.contains("}:rollup:cursor:")
            || matches!(
                kind,
                "stamp"
                    | "clock"
                    | "users"
                    | "leaving"
                    | "owners"
                    | "audit"
                    | "outbox"
                    | "ledger"
                    | "denials"
                    | "account"
                    | "holds"
                    | "grants"
                    | "approvals"
                    | "near"
            );
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        // Closed windows are kept as long as the counters.
        let stays = stays
            || kind == "past" && {
                let counters = key.replacen("}:past:", "}:account:", 1);
                redis::cmd("PTTL").arg(counters).query_async::<i64>(&mut connection).await.unwrap() == -1
            };
        assert!(stays || ttl_ms != -1, "{key} never expires");
    }
}
