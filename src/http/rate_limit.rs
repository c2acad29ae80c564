//! Rate-limit headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) for the matched
//! groups, the older `X-RateLimit-*` for the tightest, `Retry-After` on a denial that time will lift.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use crate::domain::counter::Counter;
use crate::domain::window::{TimeMs, WindowKind};
use crate::service::decision::Decision;

/// A denial that ends within this time is worth waiting for.
const SOON_MS: TimeMs = 60_000;

pub fn insert(response: &mut HttpResponseBuilder, decision: &Decision) {
    insert_counters(response, &decision.counters, decision.now_ms);
    if let Some(wait_ms) = decision.retry_after_ms.filter(|_| !decision.allowed) {
        response.insert_header((RETRY_AFTER, seconds_up(wait_ms)));
    }
}

/// For answers that tell counters without a decision.
pub fn insert_counters(response: &mut HttpResponseBuilder, counters: &[Counter], now_ms: TimeMs) {
    let limited: Vec<Limited> = counters.iter().filter_map(|counter| Limited::of(counter, now_ms)).collect();
    let Some(tightest) = limited.first() else {
        return;
    };
    let policies: Vec<String> = limited.iter().map(Limited::policy).collect();
    let states: Vec<String> = limited.iter().map(Limited::state).collect();
    for (name, value) in [
        ("ratelimit-policy", policies.join(", ")),
        ("ratelimit", states.join(", ")),
        ("x-ratelimit-limit", tightest.quota.to_string()),
        ("x-ratelimit-remaining", tightest.remaining.to_string()),
    ] {
        insert_text(response, name, &value);
    }
    if let Some(reset_ms) = tightest.resets_at_ms {
        insert_text(response, "x-ratelimit-reset", &seconds_up(reset_ms).to_string());
    }
}

/// Will time lift this denial within a short window?
pub fn lifts_soon(decision: &Decision) -> bool {
    decision.retry_after_ms.is_some_and(|wait_ms| wait_ms <= SOON_MS)
}

fn insert_text(response: &mut HttpResponseBuilder, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.insert_header((HeaderName::from_static(name), value));
    }
}

fn seconds_up(ms: TimeMs) -> TimeMs {
    ms.max(0).div_euclid(1000) + TimeMs::from(ms.max(0) % 1000 > 0)
}

/// A counter with a quota, in whole units (headers take integers): rounded down.
struct Limited<'a> {
    id: &'a str,
    quota: u64,
    remaining: u64,
    resets_at_ms: Option<TimeMs>,
    window_s: Option<TimeMs>,
    resets_in_s: Option<TimeMs>,
}

impl<'a> Limited<'a> {
    fn of(counter: &'a Counter, now_ms: TimeMs) -> Option<Self> {
        let unit = counter.group.unit;
        let whole = |amount: crate::domain::amount::Amount| amount.steps() / 10_u64.pow(unit.decimals());
        let window = counter.window.filter(|window| window.kind != WindowKind::Concurrent);
        let end = window.and_then(|window| window.end_ms);
        Some(Self {
            id: counter.group.id.as_str(),
            // With grants: what may be used in this window.
            quota: whole(counter.allowance()?),
            remaining: whole(counter.remaining()?),
            resets_at_ms: end,
            window_s: window.zip(end).map(|(window, end)| seconds_up(end - window.start_ms)),
            resets_in_s: end.map(|end| seconds_up(end - now_ms)),
        })
    }

    /// `"lg_pro_a";q=20;w=2592000`
    fn policy(&self) -> String {
        let window = self.window_s.map_or(String::new(), |seconds| format!(";w={seconds}"));
        format!("\"{}\";q={}{window}", self.id, self.quota)
    }

    /// `"lg_pro_a";r=8;t=3600`
    fn state(&self) -> String {
        let reset = self.resets_in_s.map_or(String::new(), |seconds| format!(";t={seconds}"));
        format!("\"{}\";r={}{reset}", self.id, self.remaining)
    }
}
