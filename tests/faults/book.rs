//! What callers were answered: the expected state of Redis.

use std::collections::BTreeMap;

/// What was acknowledged for one user.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Sum of the committed quantities.
    pub charged: u64,
    /// Sum of the tracked quantities.
    pub tracked: u64,
    /// Commits and tracks, which the app's own counter counts one by one.
    pub events: u64,
    /// Reservations that are left to expire: quantity and expiry.
    pub left: Vec<(u64, i64)>,
}

#[derive(Debug, Default)]
pub struct Book {
    pub users: BTreeMap<String, Account>,
}

impl Book {
    pub fn of(&mut self, user: &str) -> &mut Account {
        self.users.entry(user.to_owned()).or_default()
    }

    pub fn events(&self) -> u64 {
        self.users.values().map(|account| account.events).sum()
    }

    /// When the last of the abandoned reservations expires (ms).
    pub fn last_end_ms(&self) -> i64 {
        self.users.values().flat_map(|account| &account.left).map(|(_, end_ms)| *end_ms).max().unwrap_or(0)
    }
}
