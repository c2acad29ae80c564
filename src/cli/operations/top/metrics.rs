//! The node's metrics: calls, their answers and their latency.

use std::collections::BTreeMap;

use crate::cli::remote::{Api, RemoteError};

const API: &str = "/api/v1/";

/// Answers of one call since the node's start.
#[derive(Clone, Debug, Default)]
struct Answers {
    all: f64,
    /// Of the gateway's own faults: statuses from 500 on.
    failed: f64,
    /// Bounds in seconds with how many answers were as quick.
    buckets: Vec<(f64, f64)>,
}

/// What the node has counted since its start, by the route of a call.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, Answers>);

/// A call in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRate {
    pub call: String,
    pub per_second: f64,
    pub failed_per_second: f64,
    /// Within the bucket of the histogram it is an estimate.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl Metrics {
    /// # Errors
    /// [`RemoteError`]
    pub async fn read(api: &Api) -> Result<Self, RemoteError> {
        Ok(Self::parse(&api.text("metrics").await?))
    }

    fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for (name, labels, value) in text.lines().filter_map(line) {
            let Some(call) = label(labels, "call").and_then(|call| call.strip_prefix(API)) else { continue };
            let answers = metrics.0.entry(call.to_owned()).or_default();
            match name {
                "quotagate_requests_total" => {
                    answers.all += value;
                    if label(labels, "status").is_some_and(|status| status.starts_with('5')) {
                        answers.failed += value;
                    }
                }
                "quotagate_request_seconds_bucket" => {
                    let bound = label(labels, "le").and_then(|bound| bound.parse().ok());
                    answers.buckets.extend(bound.map(|bound: f64| (bound, value)));
                }
                _ => {}
            }
        }
        metrics
    }

    /// What came after `before`, the most frequent call first. After a restart all of it did.
    pub fn since(&self, before: &Self, seconds: f64) -> Vec<CallRate> {
        let none = Answers::default();
        let rates = self.0.iter().filter_map(|(call, now)| {
            let before = before.0.get(call).filter(|before| before.all <= now.all).unwrap_or(&none);
            let count = now.all - before.all;
            (count > 0.0).then(|| {
                let quantile = |share: f64| quantile(&rise(&now.buckets, &before.buckets), share);
                CallRate {
                    call: call.clone(),
                    per_second: count / seconds,
                    failed_per_second: (now.failed - before.failed) / seconds,
                    p50_ms: quantile(0.5),
                    p99_ms: quantile(0.99),
                }
            })
        });
        let mut rates: Vec<CallRate> = rates.collect();
        rates.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
        rates
    }
}

/// The buckets' rise; their bounds are the same at all times.
fn rise(now: &[(f64, f64)], before: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let earlier = |bound: f64| before.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
    now.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect()
}

/// The latency in milliseconds below which this share of answers was, straight within its bucket. None beyond the last
/// bound, and without answers.
fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let wanted = share * buckets.last()?.1;
    let (mut from, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > below {
            let within = from + (bound - from) * (wanted - below) / (count - below);
            return within.is_finite().then_some(within * 1000.0);
        }
        (from, below) = (*bound, *count);
    }
    None
}

/// A line of the text format: name, labels and value.
fn line(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    Some((name, labels, value.trim().parse().ok()?))
}

/// The value of a label. Those that are looked for have no quotes in them.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(counts: [u32; 4], failed: u32) -> Metrics {
        let [first, second, third, all] = counts;
        let bucket = |bound: &str, count: u32| {
            format!("quotagate_request_seconds_bucket{{call=\"/api/v1/reserve\",le=\"{bound}\"}} {count}\n")
        };
        let status = |status: u32, count: u32| {
            format!("quotagate_requests_total{{call=\"/api/v1/reserve\",status=\"{status}\"}} {count}\n")
        };
        let text = [
            "# TYPE quotagate_requests_total counter\n".to_owned(),
            status(200, all - failed),
            status(503, failed),
            bucket("0.001", first),
            bucket("0.002", second),
            bucket("0.01", third),
            bucket("+Inf", all),
            "quotagate_requests_total{call=\"/metrics\",status=\"200\"} 5\n".to_owned(),
        ];
        Metrics::parse(&text.concat())
    }

    #[test]
    fn rates_and_latency_are_those_between_two_looks() {
        let (before, after) = (metrics([10, 10, 10, 10], 0), metrics([60, 110, 110, 110], 4));
        let rates = after.since(&before, 10.0);
        assert_eq!(rates.len(), 1, "{rates:?}");
        let rate = &rates[0];
        assert_eq!((rate.call.as_str(), rate.per_second, rate.failed_per_second), ("reserve", 10.0, 0.4));
        assert_eq!((rate.p50_ms.unwrap(), rate.p99_ms.map(|ms| (ms * 100.0).round())), (1.0, Some(198.0)));
        // The node was restarted.
        assert_eq!(before.since(&after, 10.0)[0].per_second, 1.0);
        // The slowest are beyond the last bound.
        let slow = metrics([0, 0, 1, 4], 0).since(&Metrics::default(), 1.0);
        assert_eq!((slow[0].p50_ms, slow[0].p99_ms), (None, None));
        assert!(before.since(&before, 10.0).is_empty());
    }
}
