//! A quantile sketch: counts of figures in logarithmic buckets. Sketches can be added up, and nothing else is needed to
//! estimate a quantile. The quantile is never too small, and at most 2 % too large for figures of 0.001 and more. Whole
//! numbers have whole quantiles, and those up to 128 exact ones.
//!
//! The buckets are computed with whole numbers, so that all machines agree, now and in later releases: what a bucket
//! means is stored in Redis.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};

/// A figure of 1 has this many steps; figures are rounded up to a step.
const STEPS: u64 = 1 << 20;
/// Larger figures count as this one.
const LARGEST: u64 = 1_000_000_000_000;
/// Buckets between a number and its double, above 128 steps: each is at most 1/64 wide.
const PER_DOUBLING: u64 = 64;
/// The bucket of [`LARGEST`].
const LAST: u16 = 3_509;
/// Beyond this number the lowest buckets are merged. Figures that differ by less than a factor of 256 have fewer.
const MOST_BUCKETS: usize = 512;
/// Decimal places of a quantile.
const DECIMALS: u32 = 6;

/// Counts of figures by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    buckets: BTreeMap<u16, u64>,
}

/// The bucket of a figure.
fn bucket_of(figure: Decimal) -> u16 {
    let steps = figure.min(Decimal::from(LARGEST)).checked_mul(Decimal::from(STEPS));
    bucket_of_steps(steps.and_then(|steps| u64::try_from(steps.ceil()).ok()).unwrap_or(0))
}

/// 0 for nothing, then one bucket per step up to 128 steps, then 64 per doubling.
fn bucket_of_steps(steps: u64) -> u16 {
    let Some(below) = steps.checked_sub(1) else { return 0 };
    let places = below.checked_ilog2().map_or(0, |top| u64::from(top).saturating_sub(6));
    u16::try_from(places * PER_DOUBLING + (below >> places) + 1).map_or(LAST, |bucket| bucket.min(LAST))
}

/// The largest number of steps of a bucket.
fn largest_steps(bucket: u16) -> u64 {
    let Some(place) = u64::from(bucket).checked_sub(1) else { return 0 };
    let places = (place / PER_DOUBLING).saturating_sub(1);
    (place - places * PER_DOUBLING + 1) << places
}

/// The largest figure of a bucket.
fn largest_of(bucket: u16) -> Decimal {
    let figure = (Decimal::from(largest_steps(bucket)) / Decimal::from(STEPS)).min(Decimal::from(LARGEST));
    figure.round_dp_with_strategy(DECIMALS, RoundingStrategy::ToPositiveInfinity).normalize()
}

/// Digits only.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

impl Sketch {
    /// Counts a figure, which is not negative.
    pub fn add(&mut self, figure: Decimal) {
        self.put(bucket_of(figure), 1);
        self.merge_lowest();
    }

    /// Adds the counts of another sketch. The result is the sketch of all figures, in whatever order they are added.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.put(*bucket, *count);
        }
        self.merge_lowest();
    }

    /// The number of figures.
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// A number that at least this share of the figures does not exceed; None without figures.
    pub fn quantile(&self, share: Decimal) -> Option<Decimal> {
        let rank = share.checked_mul(Decimal::from(self.count()))?.ceil();
        let rank = u64::try_from(rank).ok()?.max(1);
        let mut seen = 0_u64;
        for (bucket, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(largest_of(*bucket));
            }
        }
        None
    }

    /// `<distance>:<count>` per bucket, separated by commas: the distance from the bucket before, or from 0.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut before = 0_u16;
        for (bucket, count) in &self.buckets {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&(*bucket - before).to_string());
            text.push(':');
            text.push_str(&count.to_string());
            before = *bucket;
        }
        text
    }

    /// None for a text that [`Self::text`] did not write.
    pub fn parse(text: &str) -> Option<Self> {
        let mut sketch = Self::default();
        let mut before = None;
        for part in text.split(',') {
            let (distance, count) = part.split_once(':')?;
            let (distance, count) = (whole(distance)?, whole(count).filter(|count| *count > 0)?);
            let bucket = match before {
                None => distance,
                Some(before) => distance.checked_add(before).filter(|bucket| *bucket > before)?,
            };
            let number = u16::try_from(bucket).ok().filter(|bucket| *bucket <= LAST)?;
            sketch.buckets.insert(number, count);
            before = Some(bucket);
        }
        (sketch.buckets.len() <= MOST_BUCKETS).then_some(sketch)
    }

    fn put(&mut self, bucket: u16, count: u64) {
        let sum = self.buckets.entry(bucket).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Low quantiles become too large; high ones stay as they are.
    fn merge_lowest(&mut self) {
        while self.buckets.len() > MOST_BUCKETS {
            let Some((_, count)) = self.buckets.pop_first() else { return };
            if let Some(mut lowest) = self.buckets.first_entry() {
                let sum = lowest.get_mut();
                *sum = sum.saturating_add(count);
            }
        }
    }
}

#[cfg(test)]
mod tests;
