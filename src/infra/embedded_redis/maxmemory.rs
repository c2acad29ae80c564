//! The memory limit of the private Redis.

use std::fs;

/// Used if the system does not report its memory.
const UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Half of the memory of this machine, or of the container if that is less. Redis may exceed it by the headroom for
/// settling calls, and copies pages while it rewrites its append-only file. The rest is for that and for the gateway.
pub fn default_bytes() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    half_of(&[
        machine(&read("/proc/meminfo")),
        limit(&read("/sys/fs/cgroup/memory.max")),
        limit(&read("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
    ])
}

fn half_of(limits: &[Option<u64>]) -> u64 {
    limits.iter().flatten().min().map_or(UNKNOWN, |least| least / 2)
}

/// `MemTotal:       16316412 kB`
fn machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `max` means no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Parses a number of bytes as Redis does: `0`, `1073741824`, `512mb`, `2gb`.
///
/// # Errors
/// What is accepted.
pub fn parse(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => Some(1),
        "k" => Some(1_000),
        "kb" => Some(1 << 10),
        "m" => Some(1_000_000),
        "mb" => Some(1 << 20),
        "g" => Some(1_000_000_000),
        "gb" => Some(1 << 30),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    bytes.ok_or_else(|| "must be a number of bytes such as 512mb or 2gb; 0 sets no limit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        for (text, bytes) in [("0", 0), ("1024", 1024), ("1k", 1_000), ("512mb", 512 << 20), ("2GB", 2 << 30)] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "mb", "-1", "1.5gb", "1tb", "1 gb", "99999999999gb", "half"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_is_half_of_the_tightest_limit() {
        let meminfo = "MemFree: 1 kB\nMemTotal:       16316412 kB\n";
        assert_eq!(machine(meminfo), Some(16_316_412 * 1024));
        assert_eq!((limit("max\n"), limit("1073741824\n"), limit("")), (None, Some(1 << 30), None));
        assert_eq!(half_of(&[machine(meminfo), Some(1 << 30), None]), 1 << 29);
        assert_eq!(half_of(&[None, None, None]), UNKNOWN);
        assert!(default_bytes() > 0);
    }
}
