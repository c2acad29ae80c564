//! Invalid keys: counted, logged, and answered with growing delay per client address.
//!
//! Only the refusal is delayed. A call with a valid key is never delayed, even from the same address, so a proxy or a
//! large office pays nothing for one bad client. The address is that of the connection; headers such as
//! `X-Forwarded-For` are ignored.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::body::EitherBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, ResponseError, web};
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::http::wire::header::presented_key;
use crate::http::wire::problem::ApiError;
use crate::http::wire::session_cookie;
use crate::service::access::key_record::is_plausible;

const MINUTE: Duration = Duration::from_secs(60);
/// Refusals per minute that are answered at once: a mistyped key, or a caller whose key has just been revoked.
const AT_ONCE: u32 = 10;
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How many addresses are remembered. The least recently used ones are removed first.
const ADDRESSES: usize = 10_000;

/// Why a key was refused; a label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// No key was sent. This is not an attempt to guess keys, so it is not delayed.
    Missing,
    /// The text cannot be a key.
    Malformed,
    Unknown,
    /// The cookie of a session that has ended or never existed.
    Session,
    /// A key that was used to sign in to the dashboard.
    SignIn,
}

impl Reason {
    fn of(request: &HttpRequest) -> Self {
        match presented_key(request).ok().flatten() {
            Some(key) if is_plausible(key) => Self::Unknown,
            Some(_) => Self::Malformed,
            None if request.method() == Method::POST && request.path() == "/api/v1/session" => Self::SignIn,
            None if session_cookie::is_presented(request) => Self::Session,
            None => Self::Missing,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Session => "session",
            Self::SignIn => "sign_in",
        }
    }
}

/// The refusals of an address in the minute that began at this time.
#[derive(Clone, Copy)]
struct Minute {
    began: Instant,
    refused: u32,
}

impl Minute {
    /// Adds one and returns the new count.
    fn count(&mut self, now: Instant) -> u32 {
        if now.duration_since(self.began) >= MINUTE {
            *self = Self { began: now, refused: 0 };
        }
        self.refused = self.refused.saturating_add(1);
        self.refused
    }
}

/// The delay of the n-th refusal in a minute.
fn wait(refused: u32) -> Duration {
    match refused.checked_sub(AT_ONCE + 1) {
        None => Duration::ZERO,
        Some(beyond) => SHORTEST_WAIT.saturating_mul(1 << beyond.min(16)).min(LONGEST_WAIT),
    }
}

/// The client: an address, or for IPv6 the network of one subscriber.
fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// The refusals that a node has seen, within a bound.
pub struct Refusals {
    addresses: Cache<IpAddr, Arc<Mutex<Minute>>>,
    /// One permit for each answer that may wait.
    waiting: Semaphore,
}

impl Refusals {
    pub fn new(most_waiting: usize) -> Self {
        Self { addresses: Cache::new(ADDRESSES), waiting: Semaphore::new(most_waiting) }
    }

    /// Counts a refusal and returns the address's count for this minute.
    fn count(&self, address: IpAddr, now: Instant) -> u32 {
        let caller = caller(address);
        let minute = self.addresses.get(&caller).unwrap_or_else(|| {
            let minute = Arc::new(Mutex::new(Minute { began: now, refused: 0 }));
            self.addresses.insert(caller, Arc::clone(&minute));
            minute
        });
        minute.lock().unwrap_or_else(PoisonError::into_inner).count(now)
    }

    /// # Errors
    /// Too many answers are waiting already.
    async fn wait(&self, refused: u32) -> Result<(), ApiError> {
        let wait = wait(refused);
        if wait.is_zero() {
            return Ok(());
        }
        let too_many = |_| ApiError::TooManyRefusedKeys { retry_after_s: LONGEST_WAIT.as_secs() };
        let _place = self.waiting.try_acquire().map_err(too_many)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Returns the answer; one that refuses a key after a delay, or another one if too many wait already.
pub async fn delayed<B>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    if response.status() != StatusCode::UNAUTHORIZED {
        return response.map_into_left_body();
    }
    let (reason, peer) = (Reason::of(response.request()), response.request().peer_addr());
    metrics::counter!("quotagate_refused_keys_total", "reason" => reason.as_str()).increment(1);
    let refusals = response.request().app_data::<web::Data<Refusals>>().cloned();
    let Some((peer, refusals)) = peer.filter(|_| reason != Reason::Missing).zip(refusals) else {
        return response.map_into_left_body();
    };
    let refused = refusals.count(peer.ip(), Instant::now());
    if refused == 1 {
        tracing::warn!(address = %peer.ip(), reason = reason.as_str(), "an invalid key was refused; further ones this minute are not logged");
    }
    match refusals.wait(refused).await {
        Ok(()) => response.map_into_left_body(),
        Err(error) => response.into_response(error.error_response()).map_into_right_body(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ten_of_a_minute_do_not_wait_and_the_rest_ever_longer() {
        let waits: Vec<u128> =
            [1, 10, 11, 12, 13, 14, 15, 1000, u32::MAX].map(|refused| wait(refused).as_millis()).into();
        assert_eq!(waits, [0, 0, 250, 500, 1000, 2000, 2000, 2000, 2000]);
    }

    #[test]
    fn refusals_are_counted_per_address_and_minute() {
        let (refusals, now) = (Refusals::new(1), Instant::now());
        let at =
            |address: &str, seconds: u64| refusals.count(address.parse().unwrap(), now + Duration::from_secs(seconds));
        assert_eq!((at("192.0.2.1", 0), at("192.0.2.1", 59), at("192.0.2.2", 59)), (1, 2, 1));
        assert_eq!((at("192.0.2.1", 60), at("192.0.2.2", 60)), (1, 2));
        assert_eq!(at("::ffff:192.0.2.2", 60), 3, "in other clothes");
        assert_eq!((at("2001:db8::1", 0), at("2001:db8::2", 0), at("2001:db8:0:1::2", 0)), (1, 2, 1));
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten() {
        let (refusals, now) = (Refusals::new(1), Instant::now());
        for address in 0..50_000 {
            refusals.count(std::net::Ipv4Addr::from_bits(address).into(), now);
        }
        assert!(refusals.addresses.len() <= ADDRESSES);
    }
}
