//! Rate-limit headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) for the matched
//! groups, the older `X-RateLimit-*` for the tightest group, and `Retry-After` on a denial that ends with time.

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::web::Bytes;

use crate::domain::metering::counter::{Counter, Share};
use crate::domain::time::window::{TimeMs, WindowKind};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::digits::{push_digits, push_signed};
use crate::service::metering::decision::Decision;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Denials that end within this time are worth a retry.
const SOON_MS: TimeMs = 60_000;

pub fn insert(response: &mut HttpResponseBuilder, decision: &Decision) {
    let mut limited = limited(&decision.counters, decision.counters_at_ms);
    // The groups that denied the call are first.
    if decision.allowed {
        sort(&mut limited);
    }
    insert_limited(response, limited);
    if let Some(wait_ms) = decision.retry_after_ms.filter(|_| !decision.allowed) {
        response.insert_header((RETRY_AFTER, seconds_up(wait_ms)));
    }
}

/// For answers that contain counters without a decision.
pub fn insert_counters(response: &mut HttpResponseBuilder, counters: &[Counter], now_ms: TimeMs) {
    let mut limited = limited(counters, now_ms);
    sort(&mut limited);
    insert_limited(response, limited);
}

fn limited(counters: &[Counter], now_ms: TimeMs) -> Vec<Limited<'_>> {
    counters.iter().filter_map(|counter| Limited::of(counter, counters, now_ms)).collect()
}

/// Tightest first. Counters are in this order already, but for what balances add.
fn sort(limited: &mut [Limited<'_>]) {
    let share = |it: &Limited<'_>| Share { remaining: it.remaining, of: it.quota };
    limited.sort_by(|one, other| share(one).compare(share(other)));
}

fn insert_limited(response: &mut HttpResponseBuilder, mut limited: Vec<Limited<'_>>) {
    keep_first(&mut limited);
    let Some(tightest) = limited.first() else {
        return;
    };
    // All values in one text, since every metering call has five of them.
    let mut text = String::with_capacity(BYTES_OF_ONE * limited.len());
    push_list(&limited, &mut text, Limited::write_policy);
    let policy = text.len();
    push_list(&limited, &mut text, Limited::write_state);
    let state = text.len();
    push_digits(whole(tightest.quota, tightest.unit), &mut text);
    let limit = text.len();
    push_digits(whole(tightest.remaining, tightest.unit), &mut text);
    let remaining = text.len();
    if let Some(reset_ms) = tightest.resets_at_ms {
        push_signed(seconds_up(reset_ms), &mut text);
    }
    let ends = [(POLICY, policy), (STATE, state), (LIMIT, limit), (REMAINING, remaining), (RESET, text.len())];
    let (text, mut begin) = (Bytes::from(text), 0);
    for (name, end) in ends {
        let value = HeaderValue::from_maybe_shared(text.slice(begin..end));
        // Without an end of the window there is no reset.
        if let (true, Ok(value)) = (begin < end, value) {
            response.insert_header((name, value));
        }
        begin = end;
    }
}

/// Keeps the first of each group, which may have counters of several owners.
fn keep_first(limited: &mut Vec<Limited<'_>>) {
    let mut place = 0;
    while let Some(one) = limited.get(place) {
        if limited.iter().take(place).any(|known| known.id == one.id) {
            limited.remove(place);
        } else {
            place += 1;
        }
    }
}

/// What the headers say about one counter takes about this many bytes.
const BYTES_OF_ONE: usize = 128;

/// Whether the denial ends with a short window.
pub fn lifts_soon(decision: &Decision) -> bool {
    decision.retry_after_ms.is_some_and(|wait_ms| wait_ms <= SOON_MS)
}

fn push_list<'a>(limited: &[Limited<'a>], text: &mut String, write: impl Fn(&Limited<'a>, &mut String)) {
    for (place, limited) in limited.iter().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        write(limited, text);
    }
}

fn seconds_up(ms: TimeMs) -> TimeMs {
    ms.max(0).div_euclid(1000) + TimeMs::from(ms.max(0) % 1000 > 0)
}

/// Rounded down to whole units, since the headers take integers.
fn whole(amount: Amount, unit: Unit) -> u64 {
    match unit.decimals() {
        0 => amount.steps(),
        decimals => amount.steps() / 10_u64.pow(decimals),
    }
}

/// A counter with a quota.
struct Limited<'a> {
    id: &'a str,
    unit: Unit,
    /// Including grants: what can be used in this window.
    quota: Amount,
    /// Including the balance onto which the group overflows.
    remaining: Amount,
    resets_at_ms: Option<TimeMs>,
    window_s: Option<TimeMs>,
    resets_in_s: Option<TimeMs>,
}

impl<'a> Limited<'a> {
    /// None without a quota, and if nothing is left of it, but the call did not need the balance: what that has is not
    /// known here.
    fn of(counter: &'a Counter, counters: &[Counter], now_ms: TimeMs) -> Option<Self> {
        let group = &counter.group;
        let (quota, mut remaining) = (counter.allowance()?, counter.remaining()?);
        if let Some(onto) = &group.overflow {
            let balance = counters.iter().find(|other| other.group.id == onto.id && other.owner == counter.owner);
            remaining = remaining.saturating_add(balance.and_then(Counter::remaining).unwrap_or(Amount::ZERO));
            if balance.is_none() && whole(remaining, group.unit) == 0 {
                return None;
            }
        }
        let window = counter.window.filter(|window| window.kind != WindowKind::Concurrent);
        let end = window.and_then(|window| window.end_ms);
        Some(Self {
            id: group.id.as_str(),
            unit: group.unit,
            quota,
            remaining,
            resets_at_ms: end,
            window_s: window.zip(end).map(|(window, end)| seconds_up(end - window.start_ms)),
            resets_in_s: end.map(|end| seconds_up(end - now_ms)),
        })
    }

    /// `"lg_pro_a";q=20;w=2592000`
    fn write_policy(&self, text: &mut String) {
        text.extend(["\"", self.id, "\";q="]);
        push_digits(whole(self.quota, self.unit), text);
        if let Some(seconds) = self.window_s {
            text.push_str(";w=");
            push_signed(seconds, text);
        }
    }

    /// `"lg_pro_a";r=8;t=3600`
    fn write_state(&self, text: &mut String) {
        text.extend(["\"", self.id, "\";r="]);
        push_digits(whole(self.remaining, self.unit), text);
        if let Some(seconds) = self.resets_in_s {
            text.push_str(";t=");
            push_signed(seconds, text);
        }
    }
}
