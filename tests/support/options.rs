//! The options of a test node.

use std::time::Duration;

use quotagate::http::middleware::limits::Limits;
use quotagate::infra::supervise::Parts;
use quotagate::startup::Options;
use quotagate::workers::deliveries::DeliverOptions;
use quotagate::workers::rollup::RollUpOptions;

use super::ROOT_KEY;

pub fn options(redis_url: &str, redis_timeout: Duration) -> Options {
    Options {
        bind: "127.0.0.1:0".parse().unwrap(),
        redis_url: redis_url.to_owned(),
        redis_timeout,
        wait_replicas: 0,
        ledger_entries: quotagate::store::LEDGER_ENTRIES,
        workers: 1,
        root_key: Some(ROOT_KEY.to_owned()),
        config_file: None,
        // Receivers in tests run on this machine, so retries need no long delays.
        deliver: DeliverOptions {
            allow_private: true,
            timeout: Duration::from_secs(30),
            first_wait: Duration::from_millis(10),
            ..DeliverOptions::default()
        },
        roll_up: RollUpOptions::default(),
        journal: None,
        limits: Limits::default(),
        straight_path: true,
        may_initialise: true,
        parts: Parts::default(),
    }
}
