//! Sums up the outcomes of calls.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use quotagate::cli::trace::Row;
use rust_decimal::Decimal;

use super::prices::Price;

/// The outcome of one call, and how long the gateway took (retries included).
pub enum Outcome {
    /// Reserved and committed.
    Committed { reserve: Duration, commit: Duration },
    /// Allowed without a reservation: an unmatched event, or a gateway without Redis.
    Unmetered { reserve: Duration },
    /// Denied.
    Denied { reserve: Duration, denial: Denial },
}

/// Why a call was denied.
pub struct Denial {
    pub groups: Vec<String>,
    pub reasons: Vec<String>,
    /// The call would have been within the limit by the figures of the denial.
    pub undue: bool,
}

/// Sums over all calls.
pub struct TraceSums {
    price: Price,
    pub committed: u64,
    pub unmetered: u64,
    pub denied: u64,
    pub undue_denials: u64,
    /// A call that several groups denied counts for each of them.
    pub denied_by_group: BTreeMap<String, u64>,
    pub denied_by_reason: BTreeMap<String, u64>,
    pub context_tokens: u64,
    pub generated_tokens: u64,
    pub cents: Decimal,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    pub reserve: Latency,
    pub commit: Latency,
}

impl TraceSums {
    pub fn new(price: Price) -> Result<Self, CreationError> {
        Ok(Self {
            price,
            committed: 0,
            unmetered: 0,
            denied: 0,
            undue_denials: 0,
            denied_by_group: BTreeMap::new(),
            denied_by_reason: BTreeMap::new(),
            context_tokens: 0,
            generated_tokens: 0,
            cents: Decimal::ZERO,
            elapsed: Duration::ZERO,
            reserve: Latency::new()?,
            commit: Latency::new()?,
        })
    }

    /// Counts one call.
    pub fn add(&mut self, row: &Row, outcome: Outcome) {
        match outcome {
            Outcome::Committed { reserve, commit } => {
                self.reserve.record(reserve);
                self.commit.record(commit);
                self.committed += 1;
                self.context_tokens += u64::from(row.context_tokens);
                self.generated_tokens += u64::from(row.generated_tokens);
                let cents = self.price.cents(row.context_tokens, row.generated_tokens);
                self.cents = self.cents.saturating_add(cents);
            }
            Outcome::Unmetered { reserve } => {
                self.reserve.record(reserve);
                self.unmetered += 1;
            }
            Outcome::Denied { reserve, denial } => {
                self.reserve.record(reserve);
                self.denied += 1;
                self.undue_denials += u64::from(denial.undue);
                for group in denial.groups {
                    *self.denied_by_group.entry(group).or_default() += 1;
                }
                for reason in denial.reasons {
                    *self.denied_by_reason.entry(reason).or_default() += 1;
                }
            }
        }
    }

    pub fn calls(&self) -> u64 {
        self.committed + self.unmetered + self.denied
    }

    pub fn allowed(&self) -> u64 {
        self.committed + self.unmetered
    }

    pub fn tokens(&self) -> u64 {
        self.context_tokens + self.generated_tokens
    }

    pub fn calls_per_second(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            seconds if seconds > 0.0 => self.calls() as f64 / seconds,
            _ => 0.0,
        }
    }
}

/// The latency of calls of one kind.
pub struct Latency(Histogram<u64>);

impl Latency {
    const LONGEST_MICROS: u64 = 600_000_000;

    fn new() -> Result<Self, CreationError> {
        Histogram::new_with_bounds(1, Self::LONGEST_MICROS, 3).map(Self)
    }

    fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }

    /// Milliseconds within which this share of the calls was answered.
    pub fn ms_at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::prices::PriceTable;
    use super::*;

    fn row(context_tokens: u32, generated_tokens: u32) -> Row {
        Row { line: 2, at: chrono::NaiveDateTime::default(), context_tokens, generated_tokens }
    }

    fn tally() -> TraceSums {
        TraceSums::new(PriceTable::default().price("chat-large").unwrap()).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn only_committed_calls_add_tokens_and_cents() {
        let mut tally = tally();
        tally.add(&row(374, 44), Outcome::Committed { reserve: ms(1), commit: ms(2) });
        tally.add(&row(9_000, 900), Outcome::Unmetered { reserve: ms(1) });
        let denial = Denial {
            groups: vec!["tokens".into(), "cents".into()],
            reasons: vec!["limit_reached".into()],
            undue: false,
        };
        tally.add(&row(9_000, 900), Outcome::Denied { reserve: ms(1), denial });
        assert_eq!((tally.calls(), tally.allowed(), tally.denied), (3, 2, 1));
        assert_eq!(tally.tokens(), 418);
        assert_eq!(tally.cents, Decimal::new(1375, 4));
        assert_eq!(tally.denied_by_group["tokens"], 1);
        assert_eq!(tally.denied_by_group["cents"], 1);
        assert_eq!(tally.denied_by_reason["limit_reached"], 1);
    }

    #[test]
    fn throughput_counts_reserve_and_commit_as_one_call() {
        let mut tally = tally();
        for _ in 0..50 {
            tally.add(&row(1, 1), Outcome::Committed { reserve: ms(1), commit: ms(1) });
        }
        assert_eq!(tally.calls_per_second(), 0.0);
        tally.elapsed = ms(500);
        assert_eq!(tally.calls_per_second(), 100.0);
    }

    #[test]
    fn percentiles_are_milliseconds() {
        let mut latency = Latency::new().unwrap();
        assert!(latency.is_empty());
        for took in 1..=100 {
            latency.record(ms(took));
        }
        latency.record(Duration::MAX);
        assert!((latency.ms_at(0.5) - 51.0).abs() < 0.1);
        assert!((latency.ms_at(0.99) - 100.0).abs() < 0.1);
    }
}
