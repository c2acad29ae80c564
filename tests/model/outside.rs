//! Looking at Redis past the gateway: counters, holds, and what stays for ever.

use std::collections::BTreeMap;

use super::state::{CounterName, Model};
use crate::support::Redis;

/// `user=u1` of the key `…:counters:user:u1`.
fn owner_of(key: &str) -> String {
    let (_, word) = key.split_once(":counters:").unwrap();
    let (names, values) = word.split_once(':').unwrap();
    let pairs = names.split('+').zip(values.split(':'));
    let mut pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    pairs.join(",")
}

/// Every counter has what the model says; its `held` is the sum of the holds of its window, of which those that are
/// not over are the model's.
///
/// # Errors
/// What is otherwise.
pub async fn look(redis: &Redis, model: &Model) -> Result<(), String> {
    let mut connection = redis.connect().await;
    let pattern = format!("qg:{{{}:test/main*:counters:*", model.rules.app);
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    let mut seen: BTreeMap<CounterName, ()> = BTreeMap::new();
    for key in keys {
        let owner = owner_of(&key);
        let mut step = redis::pipe();
        step.atomic().hgetall(&key);
        step.cmd("ZRANGE").arg(key.replacen(":counters:", ":holds:", 1)).arg(0).arg(-1).arg("WITHSCORES");
        let (fields, holds): (BTreeMap<String, String>, Vec<(String, i64)>) =
            step.query_async(&mut connection).await.unwrap();
        for group in fields.keys().filter_map(|field| field.strip_suffix(".window")) {
            let name = model.counters.keys().find(|name| name.0 == owner && name.1 == group).cloned();
            let what = format!("{owner} {group} {fields:?} {holds:?}");
            let Some(name) = name else { return Err(format!("a counter that nothing was counted in: {what}")) };
            counter(model, &name, &fields, &holds).map_err(|fault| format!("{fault}: {what}"))?;
            seen.insert(name, ());
        }
    }
    let counted = model.counters.iter().filter(|(_, counter)| counter.serial > 0);
    match counted.map(|(name, _)| name).find(|name| !seen.contains_key(*name)) {
        Some(name) => Err(format!("there is no counter {name:?}")),
        None => Ok(()),
    }
}

fn counter(
    model: &Model,
    name: &CounterName,
    fields: &BTreeMap<String, String>,
    holds: &[(String, i64)],
) -> Result<(), String> {
    let group = name.1;
    let serial = fields[&format!("{group}.window")].split(' ').next().unwrap();
    let figure = |what: &str| fields[&format!("{group}.{what}")].parse::<u64>().unwrap();
    let sum = |after_ms: i64| {
        let live = holds.iter().filter(|(_, end_ms)| *end_ms > after_ms);
        let entries = live.flat_map(|(member, _)| member.split(' ').nth(1).unwrap().split(','));
        let parts = entries.map(|entry| entry.split(':').collect::<Vec<_>>());
        let of_window = parts.filter(|parts| parts[0] == group && parts[1] == serial);
        of_window.map(|parts| parts[2].parse::<u64>().unwrap()).sum::<u64>()
    };
    let number = model.serial(name);
    let told = (figure("used"), figure("held"), sum(model.now_ms));
    let expected = (model.used(name, number), sum(0), model.held(name, number));
    if told == expected { Ok(()) } else { Err(format!("used, held, live holds are {told:?}, not {expected:?}")) }
}

/// Every key of the app but the few that are meant to stay expires by itself.
pub async fn nothing_else_stays(redis: &Redis, app: &str) {
    let keys: Vec<String> = redis.run(&["KEYS", &format!("qg:{{{app}:test/main*")]).await;
    assert!(!keys.is_empty());
    let mut connection = redis.connect().await;
    for key in keys {
        let kind = key.split("}:").nth(1).unwrap().split(':').next().unwrap();
        // How far streams are folded is told as long as they are.
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
                    | "counters"
                    | "holds"
                    | "past"
                    | "grants"
                    | "approvals"
            );
        let ttl_ms: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.unwrap();
        assert!(stays || ttl_ms != -1, "{key} stays for ever");
    }
}
