//! Events of a stretch of time, counted.

use std::collections::BTreeMap;

use serde_json::Value;

/// Charges and denials of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub charged: u64,
    pub denied: u64,
}

impl Count {
    fn merge(&mut self, other: Self) {
        self.charged += other.charged;
        self.denied += other.denied;
    }
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub all: Count,
    pub released: u64,
    pub expired: u64,
    /// Calls that groups which only observe would have denied.
    pub observed: u64,
    pub reasons: BTreeMap<String, u64>,
    groups: BTreeMap<String, Count>,
    users: BTreeMap<String, Count>,
}

impl Tally {
    /// Counts an event, as `GET events` has it. Commits, draws and tracks are charges.
    pub fn add(&mut self, event: &Value) {
        let count = match event["type"].as_str() {
            Some("commit" | "draw" | "track") => Count { charged: 1, denied: 0 },
            // The call was allowed.
            Some("denial") if event["observed"] == true => return self.observed += 1,
            Some("denial") => Count { charged: 0, denied: 1 },
            Some("release") => return self.released += 1,
            Some("expire") => return self.expired += 1,
            _ => return,
        };
        self.all.merge(count);
        if let Some(reason) = event["reason"].as_str().filter(|_| count.denied > 0) {
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
        if let Some(user) = event["userId"].as_str() {
            self.users.entry(user.to_owned()).or_default().merge(count);
        }
        let list = if count.denied > 0 { "denied" } else { "charges" };
        let parts = event[list].as_array().into_iter().flatten().filter(|part| part["observed"] != true);
        for group in parts.filter_map(|part| part["groupId"].as_str()) {
            self.groups.entry(group.to_owned()).or_default().merge(count);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.all.merge(other.all);
        self.released += other.released;
        self.expired += other.expired;
        self.observed += other.observed;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        for (own, others) in [(&mut self.groups, &other.groups), (&mut self.users, &other.users)] {
            for (name, count) in others {
                own.entry(name.clone()).or_default().merge(*count);
            }
        }
    }

    pub fn busiest_groups(&self, rows: usize) -> Vec<(&str, Count)> {
        busiest(&self.groups, rows)
    }

    pub fn busiest_users(&self, rows: usize) -> Vec<(&str, Count)> {
        busiest(&self.users, rows)
    }
}

/// Those with the most charges and denials.
fn busiest(counts: &BTreeMap<String, Count>, rows: usize) -> Vec<(&str, Count)> {
    let mut all: Vec<(&str, Count)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(count.charged + count.denied));
    all.truncate(rows);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_counted_by_group_user_and_reason() {
        let mut tally = Tally::default();
        for (kind, user, groups) in [
            ("commit", "ada", ["a", "b"]),
            ("track", "bob", ["a", "a"]),
            ("draw", "bob", ["a", "c"]),
            ("reset", "bob", ["a", "b"]),
        ] {
            let charges: Vec<Value> = groups.iter().map(|group| json!({"groupId": group})).collect();
            tally.add(&json!({"type": kind, "userId": user, "charges": charges}));
        }
        let mut later = Tally::default();
        later.add(&json!({"type": "denial", "userId": "bob", "reason": "limit_reached", "charges": [], "denied": [{"groupId": "a"}]}));
        later.add(&json!({"type": "denial", "userId": "cy", "reason": "unmatched_event", "charges": []}));
        later.add(&json!({"type": "expire", "charges": []}));
        let observed = json!([{"groupId": "a", "observed": true}]);
        later.add(
            &json!({"type": "denial", "userId": "cy", "reason": "limit_reached", "observed": true, "denied": observed}),
        );
        later.add(&json!({"type": "release", "reason": "x", "charges": []}));
        tally.merge(&later);
        let count = |charged, denied| Count { charged, denied };
        assert_eq!((tally.all, tally.released, tally.expired, tally.observed), (count(3, 2), 1, 1, 1));
        assert_eq!(tally.busiest_groups(2), [("a", count(4, 1)), ("b", count(1, 0))]);
        assert_eq!(tally.busiest_users(9), [("bob", count(2, 1)), ("ada", count(1, 0)), ("cy", count(0, 1))]);
        assert_eq!(tally.reasons, BTreeMap::from([("limit_reached".to_owned(), 1), ("unmatched_event".to_owned(), 1)]));
    }
}
