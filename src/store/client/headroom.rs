//! Behaviour when Redis has reached its memory limit (`maxmemory`).
//!
//! Redis rejects calls that need new memory: reserves, new users. Calls that free memory, calls whose number is
//! limited by stored data (each open reservation is committed once), and calls of operators always succeed. Calls that
//! clients can repeat without limit (tracks, draws, refunds) may exceed `maxmemory` by the headroom.

use std::collections::HashMap;

use redis::Value;

use crate::store::Store;
use crate::store::client::library::round_trips;
use crate::store::error::StoreError;
use crate::store::reply::optional_text;

/// The headroom: a tenth of `maxmemory`, and at least 8 MiB.
const SHARE: u64 = 10;
const LEAST: u64 = 8 * 1024 * 1024;

/// The memory that Redis uses, and its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// As Redis compares it with the limit.
    pub used: u64,
    /// 0 means no limit.
    pub max: u64,
}

impl MemoryUse {
    pub(in crate::store) fn read(fields: &HashMap<String, String>) -> Self {
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let used = number("used_memory").saturating_sub(number("mem_not_counted_for_evict"));
        Self { used, max: number("maxmemory") }
    }

    /// Used memory in whole percent of the limit; None without a limit.
    pub fn percent(self) -> Option<u64> {
        u64::try_from(u128::from(self.used) * 100 / u128::from(std::num::NonZeroU64::new(self.max)?.get())).ok()
    }

    fn is_beyond_headroom(self) -> bool {
        self.max > 0 && self.used >= self.max.saturating_add(LEAST.max(self.max / SHARE))
    }
}

impl Store {
    /// Sections of `INFO` from the server that holds `key`.
    pub(in crate::store) async fn info(
        &self,
        key: &str,
        sections: &[&str],
    ) -> Result<HashMap<String, String>, StoreError> {
        let mut fields = HashMap::new();
        for section in sections {
            let mut info = redis::cmd("INFO");
            info.arg(*section);
            let text =
                self.timed(&round_trips("command"), self.links.own()?.run_at(key, &info)).await.and_then(text)?;
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            fields.extend(lines.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        Ok(fields)
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn memory_use(&self) -> Result<MemoryUse, StoreError> {
        Ok(MemoryUse::read(&self.info("qg", &["memory"]).await?))
    }

    /// # Errors
    /// [`StoreError::Full`] if the server that holds `key` has used up its headroom.
    pub(in crate::store) async fn check_headroom(&self, key: &str) -> Result<(), StoreError> {
        let memory = MemoryUse::read(&self.info(key, &["memory"]).await?);
        match memory.is_beyond_headroom() {
            true => {
                let MemoryUse { used, max } = memory;
                Err(StoreError::Full(format!("{used} of {max} bytes (maxmemory) are used, including the headroom")))
            }
            false => Ok(()),
        }
    }
}

fn text(value: Value) -> Result<String, StoreError> {
    Ok(optional_text(value)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn the_headroom_is_a_tenth_and_at_least_8_mib() {
        for (used, max, is_beyond) in [
            (u64::MAX, 0, false),
            (9 * MIB - 1, MIB, false),
            (9 * MIB, MIB, true),
            (1100 * MIB - 1, 1000 * MIB, false),
            (1100 * MIB, 1000 * MIB, true),
            (u64::MAX - 1, u64::MAX, false),
        ] {
            assert_eq!(MemoryUse { used, max }.is_beyond_headroom(), is_beyond, "{used} of {max}");
        }
        assert_eq!(MemoryUse { used: 899, max: 1000 }.percent(), Some(89));
        assert_eq!(MemoryUse { used: 899, max: 0 }.percent(), None);
    }

    #[test]
    fn memory_is_counted_as_redis_counts_it() {
        let fields = [("used_memory", "1000"), ("mem_not_counted_for_evict", "100"), ("maxmemory", "2000")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(MemoryUse::read(&fields), MemoryUse { used: 900, max: 2000 });
        assert_eq!(MemoryUse::read(&HashMap::new()), MemoryUse::default());
    }
}
