//! The results of a run. Serialized they are the output of `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exact::Exact;
use super::tally::Latency;
use super::verdict::{GroupSum, QuotaUse, TokenCheck};

/// The results of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub trace: String,
    pub model: String,
    pub users: usize,
    pub user_prefix: String,
    /// The plan that the run has subscribed its users to.
    pub plan_id: Option<String>,
    pub calls: u64,
    pub allowed: u64,
    /// Allowed calls without a reservation, which were not committed.
    pub unmetered: u64,
    pub denied: u64,
    pub denied_by_group: BTreeMap<String, u64>,
    pub denied_by_reason: BTreeMap<String, u64>,
    /// Denials with `limit_reached` whose own figures show that there was room.
    pub undue_denials: u64,
    pub context_tokens: u64,
    pub generated_tokens: u64,
    pub cents: Exact,
    pub seconds: f64,
    pub calls_per_second: f64,
    /// Attempts that were retried after a transport error or a 503.
    pub retries: u64,
    pub reserve_ms: Option<Percentiles>,
    pub commit_ms: Option<Percentiles>,
    /// The groups' counters summed over all users after the run.
    pub groups: Vec<GroupSum>,
    pub nearest_to_quota: Vec<QuotaUse>,
    pub above_quota: Vec<QuotaUse>,
    pub token_check: TokenCheck,
}

/// Milliseconds within which 50 % and 99 % of the calls were answered.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

/// A wrong result of a run, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(
        "{counters} counters are above their quota, first {} in {}: {} used and {} held of {}",
        .first.user_id, .first.group_id, .first.used, .first.held, .first.quota
    )]
    AboveQuota { counters: usize, first: Box<QuotaUse> },
    #[error("{denials} calls were denied although the limit had room")]
    UndueDenials { denials: u64 },
    #[error("the users' {group_id} counters rose by {rose}, but {committed} tokens were committed")]
    TokensDiffer { group_id: String, rose: Exact, committed: Exact },
}

impl Percentiles {
    /// `None` without calls.
    pub fn of(latency: &Latency) -> Option<Self> {
        (!latency.is_empty()).then(|| Self { p50: latency.ms_at(0.50), p99: latency.ms_at(0.99) })
    }
}

impl Report {
    /// The most serious wrong result, if there is one.
    pub fn fault(&self) -> Option<Fault> {
        if let Some(first) = self.above_quota.first() {
            return Some(Fault::AboveQuota { counters: self.above_quota.len(), first: Box::new(first.clone()) });
        }
        if let TokenCheck::Compared { group_id, used_before, used_after, committed, equal: false } = &self.token_check {
            return Some(Fault::TokensDiffer {
                group_id: group_id.clone(),
                rose: Exact(used_after.0 - used_before.0),
                committed: *committed,
            });
        }
        (self.undue_denials > 0).then_some(Fault::UndueDenials { denials: self.undue_denials })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run without any wrong result.
    pub fn sound() -> Report {
        let quota_use = QuotaUse {
            user_id: "replay_3".into(),
            group_id: "tokens".into(),
            unit: "tokens".into(),
            used: Exact::from(28_512),
            held: Exact::from(0),
            quota: Exact::from(30_000),
            percent: Exact::parse("95.04"),
        };
        Report {
            trace: "trace.csv".into(),
            model: "chat-large".into(),
            users: 10,
            user_prefix: "replay_".into(),
            plan_id: Some("demo".into()),
            calls: 300,
            allowed: 235,
            unmetered: 0,
            denied: 65,
            denied_by_group: BTreeMap::from([("tokens".into(), 25), ("cents".into(), 47)]),
            denied_by_reason: BTreeMap::from([("limit_reached".into(), 65)]),
            undue_denials: 0,
            context_tokens: 22_361_870,
            generated_tokens: 4_088_665,
            cents: Exact::parse("9679.1325").unwrap(),
            seconds: 1.5,
            calls_per_second: 200.0,
            retries: 0,
            reserve_ms: Some(Percentiles { p50: 1.25, p99: 4.5 }),
            commit_ms: None,
            groups: vec![GroupSum {
                group_id: "tokens".into(),
                unit: "tokens".into(),
                used: Exact::from(26_450_535),
                held: Exact::from(0),
            }],
            nearest_to_quota: vec![quota_use],
            above_quota: Vec::new(),
            token_check: TokenCheck::Compared {
                group_id: "tokens".into(),
                used_before: Exact::from(0),
                used_after: Exact::from(26_450_535),
                committed: Exact::from(26_450_535),
                equal: true,
            },
        }
    }

    fn fault(report: &Report) -> String {
        report.fault().unwrap().to_string()
    }

    #[test]
    fn a_sound_run_has_no_fault() {
        assert_eq!(sound().fault(), None);
    }

    #[test]
    fn a_user_above_a_quota_is_the_gravest_fault() {
        let mut report = sound();
        report.undue_denials = 1;
        let mut over = report.nearest_to_quota[0].clone();
        over.used = Exact::from(30_001);
        report.above_quota.push(over);
        assert_eq!(
            fault(&report),
            "1 counters are above their quota, first replay_3 in tokens: \
             30,001 used and 0 held of 30,000"
        );
    }

    #[test]
    fn tokens_that_differ_and_undue_denials_are_faults() {
        let mut report = sound();
        report.undue_denials = 2;
        assert_eq!(fault(&report), "2 calls were denied although the limit had room");
        report.token_check = TokenCheck::Compared {
            group_id: "tokens".into(),
            used_before: Exact::from(5),
            used_after: Exact::from(15),
            committed: Exact::from(11),
            equal: false,
        };
        assert_eq!(fault(&report), "the users' tokens counters rose by 10, but 11 tokens were committed");
    }

    #[test]
    fn json_has_exact_numbers() {
        let json = serde_json::to_value(sound()).unwrap();
        assert_eq!(json["cents"].to_string(), "9679.1325");
        assert_eq!(json["nearestToQuota"][0]["percent"].to_string(), "95.04");
        assert_eq!(json["deniedByGroup"]["cents"], 47);
        assert_eq!(json["tokenCheck"]["equal"], true);
        assert_eq!(json["commitMs"], serde_json::Value::Null);
    }
}
