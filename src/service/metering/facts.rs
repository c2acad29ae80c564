//! Optimistic facts: a node computes with cached facts, the script checks them, and if one is stale the node updates
//! it and computes again. Usually one round trip is enough, and no cache can cause a wrong decision.

use std::borrow::Cow;
use std::sync::Arc;

use super::known_estimates::KnownEstimates;
use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::limit_group::Limits;
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::admission::{Admission, EffectiveLimits, Matched, Validity};
use crate::domain::metering::reservation::{GRACE_MS, LONGEST_LIFE_MS};
use crate::domain::metering::rollover::end_of_next_ms;
use crate::domain::time::period::SubscriptionAnchor;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{AppId, UserId};
use crate::domain::webhooks::webhook::WebhookEvent;
use crate::service::configuration::app_config::AppConfig;
use crate::service::configuration::clashes::counted_plan;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::keys::Bucket;
use crate::store::metering::admission::{
    Facts, NO_USER, OwnedGroup, Owner, OwnerExpiry, ScriptRun, Stale, UNKNOWN_VERSION, UserExpiry,
};
use crate::store::metering::usage::UsageReply;

/// A result that depends on the present time is valid if the script runs within this time.
pub(crate) const NOW_MS: TimeMs = 1_000;
/// Attempts with updated facts before the call fails; each needs a change in between.
const STALE_ATTEMPTS: usize = 12;
/// A call removes at most this many batches of 64 expired holds.
const RECLAIM_ATTEMPTS: usize = 8_192;

/// The expiry of owners is rounded up to a multiple of this, so that most calls leave it as it is.
const RENEW_STEP_MS: TimeMs = 60 * 60 * 1000;

/// The version of a user whose state was never changed by an operator or subscription.
pub(crate) const NEVER_WRITTEN: &str = "0";

/// The cached facts about one user's call.
pub struct CallFacts {
    pub app: AppId,
    pub bucket: Bucket,
    pub config: Arc<AppConfig>,
    pub subscribed: Arc<Subscribed>,
    pub now_ms: TimeMs,
    /// None if the app learns no estimates, or if the node has not read them recently.
    pub(super) estimates: Option<Arc<KnownEstimates>>,
    plan: Option<Arc<Plan>>,
}

/// Users on the default plan only have calendar windows and endless ones, which begin here.
pub(crate) const NO_ANCHOR: SubscriptionAnchor = SubscriptionAnchor { started_at_ms: 0, cycle_start_ms: None };

impl CallFacts {
    /// The user's plan with custom limits.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// The user has a custom plan, so no version of the plan has these rules.
    pub fn has_own_rules(&self) -> bool {
        let custom = self.subscribed.at(self.now_ms).0.and_then(|subscription| subscription.custom_limits.as_ref());
        custom.is_some_and(|limits| limits.is_whole_plan())
    }

    pub fn effective_limits(&self) -> EffectiveLimits<'_> {
        let (subscription, until_ms) = self.subscribed.at(self.now_ms);
        EffectiveLimits {
            plan: self.plan.as_deref(),
            policies: &self.config.policies,
            anchor: subscription.map_or(NO_ANCHOR, Subscription::anchor),
            until_ms,
            blocked: self.subscribed.blocked,
        }
    }

    /// For a call that creates no state for a user without any.
    pub fn for_script(&self, validity: Validity) -> Facts<'_> {
        Facts {
            sandbox: self.bucket.is_sandbox(),
            revision: self.config.revision,
            version: &self.subscribed.version,
            validity,
            reports_expiry: self.config.wants(WebhookEvent::ReservationExpired),
            forget: None,
        }
    }

    /// The owners of an admission with the amounts for their groups.
    pub fn owners(&self, admission: &Admission, limits: Limits) -> Vec<Owner> {
        let reports_limit = self.config.wants(WebhookEvent::LimitReached);
        let owners = admission.owners.iter().enumerate().map(|(place, name)| {
            let matched = || admission.matched.iter().filter(|matched| matched.owner == place);
            Owner {
                keys: self.bucket.owner(name),
                renew: (!name.scope().is_user()).then(|| self.renew(name, matched())),
                groups: matched().map(|matched| OwnedGroup::of(matched, limits, reports_limit)).collect(),
            }
        });
        owners.collect()
    }

    /// When an owner that is not a user expires. With metadata in the scope, callers choose its name. With the user in
    /// the scope, it expires together with a user without stored state.
    fn renew<'a>(&self, owner: &OwnerName, matched: impl Iterator<Item = &'a Matched>) -> OwnerExpiry {
        let is_free = owner.scope().is_free();
        let goes = is_free || (owner.scope().contains_user() && self.subscribed.version == NEVER_WRITTEN);
        let last = last_end(self.now_ms, matched).filter(|_| goes);
        let most = if is_free { self.config.settings.max_scope_values } else { u64::MAX };
        OwnerExpiry { at_ms: last.map(rounded_up), most }
    }

    /// For a call that counts: a user without a subscription or other stored state expires after the last window.
    pub fn for_counting_script<'a>(&'a self, user: &'a UserId, admission: &Admission) -> Facts<'a> {
        let own = || admission.matched.iter().filter(|matched| matched.owner == 0);
        let forgettable = self.subscribed.version == NEVER_WRITTEN && own().next().is_some();
        let forget = forgettable.then(|| UserExpiry { user, at_ms: last_end(self.now_ms, own()).map(rounded_up) });
        Facts { forget, ..self.for_script(admission.validity) }
    }
}

/// Rounded up to [`RENEW_STEP_MS`].
pub(crate) fn rounded_up(at_ms: TimeMs) -> TimeMs {
    (at_ms / RENEW_STEP_MS).saturating_add(1).saturating_mul(RENEW_STEP_MS)
}

/// When no amount of these groups matters any more; None if a window never ends.
fn last_end<'a>(now_ms: TimeMs, matched: impl Iterator<Item = &'a Matched>) -> Option<TimeMs> {
    let last_hold_ms = now_ms + LONGEST_LIFE_MS;
    // An owner stays because of its credits, not because of calls that its balance denies.
    let counted = matched.filter(|matched| !matched.group.is_balance());
    let ends = counted.map(|matched| match matched.group.is_concurrent() {
        true => Some(last_hold_ms),
        // What the window leaves unused matters in the next one.
        false if matched.group.rollover.is_some() => end_of_next_ms(&matched.window),
        false => matched.window.end_ms,
    });
    let ends = ends.collect::<Option<Vec<_>>>()?;
    Some(ends.into_iter().fold(last_hold_ms, TimeMs::max).saturating_add(GRACE_MS))
}

/// The cached facts about a user.
pub(crate) struct CachedFacts {
    /// The node has seen the user, so there is exactly one set of facts.
    pub is_known: bool,
    pub sets: Vec<CallFacts>,
}

/// The result of one attempt.
pub enum Attempt<T> {
    Done(T),
    Stale(Stale, TimeMs),
    /// Expired holds were removed, and more have expired.
    Again(ScriptRun),
}

impl Gateway {
    /// Computes and calls the script until no fact is stale.
    ///
    /// # Errors
    /// The error of an attempt; store_unavailable if facts keep changing.
    pub(crate) async fn with_facts<T>(
        &self,
        tenant: &Tenant,
        user: &UserId,
        attempt: impl AsyncFn(&CallFacts) -> Result<Attempt<T>, ServiceError>,
    ) -> Result<T, ServiceError> {
        self.with_account(tenant, Some(user), tenant.bucket_of(user), attempt).await
    }

    /// Like [`Gateway::with_facts`], for an owner that may not be a user; then no subscription is read.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn with_owner<T>(
        &self,
        tenant: &Tenant,
        owner: &OwnerName,
        attempt: impl AsyncFn(&CallFacts) -> Result<Attempt<T>, ServiceError>,
    ) -> Result<T, ServiceError> {
        let user = owner.user().map(UserId::parse).transpose();
        let user = user.map_err(|error| ServiceError::invalid("scope.user", error.to_string()))?;
        match &user {
            Some(user) => self.with_facts(tenant, user, attempt).await,
            None => self.with_account(tenant, None, tenant.shared_bucket()?, attempt).await,
        }
    }

    async fn with_account<T>(
        &self,
        tenant: &Tenant,
        user: Option<&UserId>,
        bucket: Bucket,
        attempt: impl AsyncFn(&CallFacts) -> Result<Attempt<T>, ServiceError>,
    ) -> Result<T, ServiceError> {
        let cache_key = user.map_or_else(String::new, |user| bucket.account(user));
        let config = self.config(&tenant.app).await?;
        let mut facts = CallFacts {
            app: tenant.app.clone(),
            estimates: self.known_estimates(tenant, &config),
            config,
            subscribed: match user {
                Some(_) => self.subscriptions.get(&cache_key).unwrap_or_else(unknown),
                None => nobody(),
            },
            now_ms: self.clocks.estimate(&bucket),
            bucket,
            plan: None,
        };
        facts.plan = self.plan_of(&cache_key, &facts.config, &facts.subscribed, facts.now_ms);
        let (mut stale_attempts, mut reclaim_attempts) = (0, 0);
        while stale_attempts <= STALE_ATTEMPTS && reclaim_attempts <= RECLAIM_ATTEMPTS {
            let (stale, now_ms) = match attempt(&facts).await? {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Again(ran) => {
                    self.clocks.observe_time(&facts.bucket, ran.now_ms);
                    count_reclaimed(ran);
                    metrics::counter!("quotagate_retries_total", "cause" => "reclaim").increment(1);
                    reclaim_attempts += 1;
                    continue;
                }
                Attempt::Stale(stale, now_ms) => (stale, now_ms),
            };
            self.clocks.observe_time(&facts.bucket, now_ms);
            facts.now_ms = now_ms;
            // Boxed, since most calls do not await it: the smaller a call's future, the less memory it goes through.
            Box::pin(self.update_facts(tenant, &cache_key, &mut facts, stale)).await?;
            stale_attempts += 1;
        }
        Err(ServiceError::StoreRefused("the facts of the call kept changing".to_owned()))
    }

    /// Replaces a stale fact, and the plan that follows from it.
    async fn update_facts(
        &self,
        tenant: &Tenant,
        cache_key: &str,
        facts: &mut CallFacts,
        stale: Stale,
    ) -> Result<(), ServiceError> {
        metrics::counter!("quotagate_retries_total", "cause" => cause(&stale)).increment(1);
        match stale {
            Stale::Time => {}
            Stale::User(truth) => {
                facts.subscribed = Arc::new(truth);
                self.subscriptions.insert(cache_key.to_owned(), Arc::clone(&facts.subscribed));
            }
            Stale::Configuration { stamp } => {
                self.catch_up(tenant, stamp).await?;
                facts.config = self.config(&tenant.app).await?;
                facts.estimates = self.known_estimates(tenant, &facts.config);
            }
            Stale::Stamp => facts.config = self.stamp_bucket(&tenant.app, &facts.bucket, &facts.config).await?,
        }
        facts.plan = self.plan_of(cache_key, &facts.config, &facts.subscribed, facts.now_ms);
        Ok(())
    }

    /// The cached facts about a user. If the node has not seen the user, one set of facts per plan, beginning with the
    /// default plan.
    pub(crate) fn cached_facts(&self, tenant: &Tenant, user: &UserId, config: &Arc<AppConfig>) -> CachedFacts {
        let bucket = tenant.bucket_of(user);
        let cache_key = bucket.account(user);
        let now_ms = self.clocks.estimate(&bucket);
        let known = self.subscriptions.get(&cache_key);
        let subscribed = known.clone().unwrap_or_else(unknown);
        let estimates = self.known_estimates(tenant, config);
        let facts = |plan: Option<Arc<Plan>>| CallFacts {
            app: tenant.app.clone(),
            bucket: bucket.clone(),
            config: Arc::clone(config),
            subscribed: Arc::clone(&subscribed),
            now_ms,
            estimates: estimates.clone(),
            plan,
        };
        let own = self.plan_of(&cache_key, config, &subscribed, now_ms);
        let mut sets = vec![facts(own)];
        if known.is_none() {
            sets.extend(config.sorted_plans().into_iter().map(|plan| facts(Some(Arc::clone(plan)))));
        }
        CachedFacts { is_known: known.is_some(), sets }
    }

    /// The plan of a user: the subscription's with custom limits, otherwise the app's default.
    pub(crate) fn plan_of(
        &self,
        cache_key: &str,
        config: &AppConfig,
        subscribed: &Subscribed,
        now_ms: TimeMs,
    ) -> Option<Arc<Plan>> {
        let Some(subscription) = subscribed.at(now_ms).0 else {
            return config.plan(config.settings.default_plan_id.as_ref()?).map(Arc::clone);
        };
        let plan = config.plan(&subscription.plan)?;
        let Some(limits) = &subscription.custom_limits else {
            return Some(Arc::clone(plan));
        };
        // Quotas that have ended make another plan of the same version.
        let limits = limits.at(now_ms);
        let version = match limits {
            Cow::Borrowed(_) => subscribed.version.clone(),
            Cow::Owned(_) => format!("{}@{}", subscribed.version, limits.next_end(now_ms).unwrap_or(0)),
        };
        let key = (cache_key.to_owned(), version, config.revision);
        if let Some(known) = self.own_plans.get(&key) {
            return Some(known);
        }
        let own = counted_plan(config, &limits, plan);
        self.own_plans.insert(key, Arc::clone(&own));
        Some(own)
    }

    /// Before a denial without a script, or a repeated answer: checks the facts and the time. Returns an attempt with
    /// updated facts, or None if they are correct.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn check_facts<T>(
        &self,
        facts: &CallFacts,
        user: &UserId,
    ) -> Result<Option<Attempt<T>>, ServiceError> {
        self.check_facts_until(facts, user, facts.now_ms.saturating_add(NOW_MS)).await
    }

    /// The same for what only holds until a time.
    pub(crate) async fn check_facts_until<T>(
        &self,
        facts: &CallFacts,
        user: &UserId,
        until_ms: TimeMs,
    ) -> Result<Option<Attempt<T>>, ServiceError> {
        let owner = Owner { keys: facts.bucket.user(user), renew: None, groups: Vec::new() };
        let mut validity = Validity { from_ms: TimeMs::MIN, until_ms: facts.subscribed.at(facts.now_ms).1 };
        validity.narrow(facts.now_ms, until_ms);
        match self.store.usage(&facts.bucket, facts.for_script(validity), &[owner]).await? {
            UsageReply::Stale(stale, now_ms) => Ok(Some(Attempt::Stale(stale, now_ms))),
            UsageReply::Reclaim(_) | UsageReply::Usage { .. } => Ok(None),
        }
    }

    /// Records what a script returned besides its result.
    pub(crate) fn observe_run(&self, bucket: &Bucket, ran: ScriptRun) {
        self.clocks.observe_time(bucket, ran.now_ms);
        count_reclaimed(ran);
    }
}

fn unknown() -> Arc<Subscribed> {
    Arc::new(Subscribed { version: UNKNOWN_VERSION.to_owned(), subscription: None, blocked: false })
}

/// For an owner without a user no version is checked.
fn nobody() -> Arc<Subscribed> {
    Arc::new(Subscribed { version: NO_USER.to_owned(), subscription: None, blocked: false })
}

fn count_reclaimed(ran: ScriptRun) {
    if ran.reclaimed > 0 {
        metrics::counter!("quotagate_reclaimed_holds_total").increment(ran.reclaimed);
    }
}

fn cause(stale: &Stale) -> &'static str {
    match stale {
        Stale::Configuration { .. } => "configuration",
        Stale::Stamp => "stamp",
        Stale::User(_) => "user",
        Stale::Time => "time",
    }
}
