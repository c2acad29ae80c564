//! Finds values that differ strongly from the days before.

/// A value that differs strongly from the days before. Figures are rounded to 3 decimal places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unusual {
    pub value: f64,
    /// The mean of the days before.
    pub mean: f64,
    /// The population standard deviation of the days before.
    pub deviation: f64,
}

/// Days with fewer calls are ignored.
const LEAST_CALLS: i128 = 20;
const DEVIATIONS: f64 = 3.0;
const TIMES_THE_MEAN: f64 = 2.0;

/// Whether `value` exceeds the mean of `before` plus three standard deviations, and is at least twice the mean. Only
/// for a day with at least 20 calls (or denials). None without days before.
pub fn unusual(value: f64, before: &[f64], calls: i128) -> Option<Unusual> {
    if before.is_empty() || calls < LEAST_CALLS {
        return None;
    }
    let days = before.len() as f64;
    let mean = before.iter().sum::<f64>() / days;
    let deviation = (before.iter().map(|other| (other - mean).powi(2)).sum::<f64>() / days).sqrt();
    let stands_out = value > mean + DEVIATIONS * deviation && value >= TIMES_THE_MEAN * mean && value > 0.0;
    stands_out.then(|| Unusual { value: rounded(value), mean: rounded(mean), deviation: rounded(deviation) })
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
