//! All metrics of a node with their labels. Tests compare the table with the code and with the documentation.

use metrics::Unit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Option<Unit>,
    pub labels: &'static [&'static str],
    /// The `# HELP` line.
    pub help: &'static str,
}

pub const METRICS: &[Metric] = &[
    Metric {
        name: "quotagate_decisions_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["call", "outcome"],
        help: "Decisions by call and outcome.",
    },
    Metric {
        name: "quotagate_request_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        labels: &["call"],
        help: "Latency by call.",
    },
    Metric {
        name: "quotagate_requests_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["call", "status"],
        help: "Answers by call and status.",
    },
    Metric {
        name: "quotagate_redis_round_trip_seconds",
        kind: Kind::Histogram,
        unit: Some(Unit::Seconds),
        labels: &["script"],
        help: "Redis round trips by script.",
    },
    Metric {
        name: "quotagate_retries_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["cause"],
        help: "Retries because of a stale fact, by fact.",
    },
    Metric {
        name: "quotagate_webhook_attempts_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["outcome"],
        help: "Attempts to deliver to webhooks, by outcome.",
    },
    Metric {
        name: "quotagate_crowded_scopes_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["call"],
        help: "Counters that a call skipped or was denied for, because the scope has its maximum number of values.",
    },
    Metric {
        name: "quotagate_degraded_decisions_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["outcome"],
        help: "Reserves that were decided while Redis was unavailable, by outcome.",
    },
    Metric {
        name: "quotagate_degraded_counted_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["outcome"],
        help: "Degraded reserves that were counted later, by outcome.",
    },
    Metric {
        name: "quotagate_degraded_waiting",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "Degraded reserves of this node that are not counted yet.",
    },
    Metric {
        name: "quotagate_leases_held",
        kind: Kind::Gauge,
        unit: None,
        labels: &["work"],
        help: "Parts of the background work that this node does, by work.",
    },
    Metric {
        name: "quotagate_rollup_lag_entries",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app", "mode"],
        help: "Entries that reports do not count yet, by app.",
    },
    Metric {
        name: "quotagate_stream_bytes",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app", "mode", "stream"],
        help: "Memory of a stream in Redis, by app and stream.",
    },
    Metric {
        name: "quotagate_dropped_entries_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["stream"],
        help: "Entries that were dropped because of a limit in bytes before reports or webhooks processed them, by stream.",
    },
    Metric {
        name: "quotagate_refused_reads_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["code", "bound"],
        help: "Reads that were rejected with 429, by code and limit.",
    },
    Metric {
        name: "quotagate_ledger_entries",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app", "mode"],
        help: "Entries of the ledger, by app.",
    },
    Metric {
        name: "quotagate_ledger_oldest_seconds",
        kind: Kind::Gauge,
        unit: Some(Unit::Seconds),
        labels: &["app", "mode"],
        help: "Age of the oldest entry of the ledger, by app.",
    },
    Metric {
        name: "quotagate_verify_drifts",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app"],
        help: "Drifts that the last `quotagate verify` found, by app.",
    },
    Metric {
        name: "quotagate_verify_damaged_entries",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app"],
        help: "Entries of the ledger that the last `quotagate verify` could not read, by app.",
    },
    Metric {
        name: "quotagate_damaged_entries_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["stream"],
        help: "Unreadable entries that this node skipped in reports, by stream.",
    },
    Metric {
        name: "quotagate_verify_time_seconds",
        kind: Kind::Gauge,
        unit: None,
        labels: &["app"],
        help: "When the last `quotagate verify` ended (Unix time).",
    },
    Metric {
        name: "quotagate_unreplicated_calls_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["script"],
        help: "Script calls that too few replicas acknowledged in time, by script.",
    },
    Metric {
        name: "quotagate_refused_keys_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["reason"],
        help: "Calls with an invalid key, by reason.",
    },
    Metric {
        name: "quotagate_reclaimed_holds_total",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Expired holds removed from counters.",
    },
    Metric {
        name: "quotagate_log_lines_lost_total",
        kind: Kind::Counter,
        unit: None,
        labels: &[],
        help: "Log lines that could not be written.",
    },
    Metric {
        name: "quotagate_task_restarts_total",
        kind: Kind::Counter,
        unit: None,
        labels: &["task"],
        help: "Background tasks that ended, by task.",
    },
    Metric {
        name: "quotagate_store_identity_matches",
        kind: Kind::Gauge,
        unit: None,
        labels: &[],
        help: "1 while Redis has the data that this node started with, else 0.",
    },
    Metric {
        name: "quotagate_redis_memory_used_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        labels: &[],
        help: "Memory that Redis uses.",
    },
    Metric {
        name: "quotagate_redis_memory_max_bytes",
        kind: Kind::Gauge,
        unit: Some(Unit::Bytes),
        labels: &[],
        help: "Memory limit of Redis (maxmemory); 0: no limit.",
    },
];

/// Registers kinds, units and help texts with the process's recorder.
pub fn describe() {
    for Metric { name, kind, unit, help, .. } in METRICS.iter().copied() {
        match (kind, unit) {
            (Kind::Counter, None) => metrics::describe_counter!(name, help),
            (Kind::Counter, Some(unit)) => metrics::describe_counter!(name, unit, help),
            (Kind::Gauge, None) => metrics::describe_gauge!(name, help),
            (Kind::Gauge, Some(unit)) => metrics::describe_gauge!(name, unit, help),
            (Kind::Histogram, None) => metrics::describe_histogram!(name, help),
            (Kind::Histogram, Some(unit)) => metrics::describe_histogram!(name, unit, help),
        }
    }
}
