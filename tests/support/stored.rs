//! Decodes accounts as stored in Redis, and changes them directly.

use std::collections::BTreeMap;

use redis::aio::ConnectionLike;

/// An account's fields, with `<group>.used`, `.held`, `.seq` and `.window` (`<quota> <kind>/<start>/<end>`) in place
/// of each counter, and `version`, `expiry` and what else is there in place of `.account`.
pub fn taken_apart(fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for (name, value) in fields {
        if name == ".account" {
            let (version, rest) = value.strip_prefix('v').and_then(|text| text.split_once(' ')).unwrap();
            parts.insert("version".to_owned(), version.to_owned());
            let words = rest.split(' ').map(|word| word.split_once('=').unwrap());
            parts.extend(words.map(|(word, text)| (word.to_owned(), text.to_owned())));
            continue;
        }
        if name.contains('.') {
            parts.insert(name, value);
            continue;
        }
        let (amounts, rest) = value.split_once('/').unwrap();
        let (used, held) = amounts.split_once('+').unwrap();
        let (window, seq) = rest.split_once('#').unwrap();
        for (part, text) in [("used", used), ("held", held), ("seq", seq), ("window", window)] {
            parts.insert(format!("{name}.{part}"), text.to_owned());
        }
    }
    parts
}

/// The used and held amounts of a stored counter, or 0 if it does not exist.
pub async fn amounts(connection: &mut impl ConnectionLike, account: &str, group: &str) -> (u64, u64) {
    let value: Option<String> = redis::cmd("HGET").arg(account).arg(group).query_async(connection).await.unwrap();
    value.map_or((0, 0), |value| {
        let (used, held) = value.split_once('/').unwrap().0.split_once('+').unwrap();
        (used.parse().unwrap(), held.parse().unwrap())
    })
}

/// Adds to the used and held amounts of a stored counter.
pub async fn tamper(connection: &mut impl ConnectionLike, account: &str, group: &str, used: i64, held: i64) {
    let value: String = redis::cmd("HGET").arg(account).arg(group).query_async(connection).await.unwrap();
    let (_, rest) = value.split_once('/').unwrap();
    let before = amounts(connection, account, group).await;
    let sum = |one: u64, other: i64| i64::try_from(one).unwrap() + other;
    let value = format!("{}+{}/{rest}", sum(before.0, used), sum(before.1, held));
    redis::cmd("HSET").arg(account).arg(group).arg(value).query_async::<()>(connection).await.unwrap();
}
