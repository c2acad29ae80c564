//! Optimistic facts: a node computes with what it has at hand, the script checks it, and a stale fact is learnt and
//! computed again. One round trip is the normal case; no cache can cause a wrong decision.

use std::sync::Arc;

use super::Gateway;
use super::config::AppConfig;
use super::error::ServiceError;
use super::tenant::Tenant;
use crate::domain::admission::Validity;
use crate::domain::ids::UserId;
use crate::domain::plan::Plan;
use crate::domain::subscription::Subscribed;
use crate::domain::window::TimeMs;
use crate::store::admission::{Facts, Owner, Ran, Stale, UNKNOWN_VERSION};
use crate::store::keys::Bucket;
use crate::store::usage::UsageReply;

/// Rounds of learning before the call is given up: each needs a change in between.
const STALE_ROUNDS: usize = 12;
/// Batches of 256 expired holds that one call takes out of the way at most.
const RECLAIM_ROUNDS: usize = 4_096;

/// What the node believes about one user's call.
pub struct View {
    pub bucket: Bucket,
    pub config: Arc<AppConfig>,
    pub subscribed: Arc<Subscribed>,
    pub now_ms: TimeMs,
}

impl View {
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.subscribed.at(self.now_ms).0.and_then(|subscription| self.config.plan(&subscription.plan))
    }

    pub fn facts(&self, validity: Validity) -> Facts<'_> {
        Facts {
            sandbox: self.bucket.is_sandbox(),
            revision: self.config.revision,
            version: &self.subscribed.version,
            validity,
        }
    }
}

/// How one round ended.
pub enum Round<T> {
    Done(T),
    Stale(Stale, TimeMs),
    /// Expired holds were taken out of the way, and more are due.
    Again(Ran),
}

impl Gateway {
    /// Computes and calls until no fact was stale.
    ///
    /// # Errors
    /// What the round answered; store_unavailable if facts keep changing.
    pub(crate) async fn with_facts<T>(
        &self,
        tenant: &Tenant,
        user: &UserId,
        round: impl AsyncFn(&View) -> Result<Round<T>, ServiceError>,
    ) -> Result<T, ServiceError> {
        let bucket = tenant.bucket_of(user);
        let cache_key = bucket.user(user).counters;
        let mut view = View {
            config: self.config(&tenant.app).await?,
            subscribed: self.subscriptions.get(&cache_key).unwrap_or_else(unknown),
            now_ms: self.clocks.estimate(&bucket),
            bucket,
        };
        let (mut stale_rounds, mut reclaim_rounds) = (0, 0);
        loop {
            match round(&view).await? {
                Round::Done(answer) => return Ok(answer),
                Round::Again(ran) => {
                    self.clocks.hear(&view.bucket, ran.now_ms);
                    count_reclaimed(ran);
                    metrics::counter!("quotagate_retries_total", "cause" => "reclaim").increment(1);
                    reclaim_rounds += 1;
                }
                Round::Stale(stale, now_ms) => {
                    self.clocks.hear(&view.bucket, now_ms);
                    view.now_ms = now_ms;
                    metrics::counter!("quotagate_retries_total", "cause" => cause(&stale)).increment(1);
                    match stale {
                        Stale::Time => {}
                        Stale::Subscription(truth) => {
                            view.subscribed = Arc::new(truth);
                            self.subscriptions.insert(cache_key.clone(), Arc::clone(&view.subscribed));
                        }
                        Stale::Configuration { stamp } => {
                            self.catch_up(tenant, stamp).await?;
                            view.config = self.config(&tenant.app).await?;
                        }
                    }
                    stale_rounds += 1;
                }
            }
            if stale_rounds > STALE_ROUNDS || reclaim_rounds > RECLAIM_ROUNDS {
                return Err(ServiceError::StoreUnavailable("the facts of the call kept changing".to_owned()));
            }
        }
    }

    /// Before a refusal that no script decided: were the facts true? Answers a round that learns, or None.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn check_facts<T>(&self, view: &View, user: &UserId) -> Result<Option<Round<T>>, ServiceError> {
        let owner = Owner { keys: view.bucket.user(user), groups: Vec::new() };
        let validity = Validity { from_ms: TimeMs::MIN, until_ms: view.subscribed.at(view.now_ms).1 };
        match self.store.usage(&view.bucket, view.facts(validity), &[owner]).await? {
            UsageReply::Stale(stale, now_ms) => Ok(Some(Round::Stale(stale, now_ms))),
            UsageReply::Reclaim(_) | UsageReply::Usage(..) => Ok(None),
        }
    }

    /// What a script told on its way.
    pub(crate) fn hear(&self, bucket: &Bucket, ran: Ran) {
        self.clocks.hear(bucket, ran.now_ms);
        count_reclaimed(ran);
    }
}

fn unknown() -> Arc<Subscribed> {
    Arc::new(Subscribed { version: UNKNOWN_VERSION.to_owned(), subscription: None })
}

fn count_reclaimed(ran: Ran) {
    if ran.reclaimed > 0 {
        metrics::counter!("quotagate_reclaimed_holds_total").increment(ran.reclaimed);
    }
}

fn cause(stale: &Stale) -> &'static str {
    match stale {
        Stale::Configuration { .. } => "configuration",
        Stale::Subscription(_) => "subscription",
        Stale::Time => "time",
    }
}
