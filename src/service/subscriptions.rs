//! Subscriptions: an idempotent upsert, and cancelling.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Gateway;
use super::error::ServiceError;
use super::facts::{Round, View};
use super::tenant::Tenant;
use crate::domain::admission::Validity;
use crate::domain::ids::UserId;
use crate::domain::subscription::{Subscribed, Subscription, Upsert};
use crate::domain::window::{TimeMs, rfc3339};
use crate::store::operation::{Idempotency, Operation};
use crate::store::subscribe::{SubscribeArgs, SubscribeReply};

/// A start that defaults to now is right while the script runs within this time.
const NOW_MS: TimeMs = 1_000;

/// A subscription as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    pub user_id: String,
    pub plan_id: String,
    /// RFC 3339, UTC, whole seconds.
    pub started_at: String,
    pub cycle_start: Option<String>,
    pub ends_at: Option<String>,
    /// False: everything was so already.
    pub changed: bool,
}

/// What one call wants of the subscription.
struct Wanted {
    subscription: Subscription,
    changed: bool,
    reset: bool,
    /// A moment taken from the clock must lie in the script's time.
    from_now: bool,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn subscribe(
        &self,
        tenant: &Tenant,
        user: &UserId,
        upsert: &Upsert,
        idempotency: Option<&Idempotency>,
    ) -> Result<SubscriptionView, ServiceError> {
        let operation = Operation::new(user.as_str(), idempotency, false);
        self.with_facts(tenant, user, async |view| {
            let wanted = upsert
                .apply(&view.subscribed, view.now_ms)
                .map_err(|(field, message)| ServiceError::invalid(field, message));
            let wanted = wanted.and_then(|upserted| {
                self.takes_users(view, &upserted.subscription)?;
                let from_now = upserted.changed && upsert.started_at_ms.is_none();
                Ok(Wanted {
                    subscription: upserted.subscription,
                    changed: upserted.changed,
                    reset: upserted.reset,
                    from_now,
                })
            });
            self.subscribe_round(view, user, &operation, wanted).await
        })
        .await
    }

    /// Ends the subscription, now or at `ends_at_ms`.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn cancel(
        &self,
        tenant: &Tenant,
        user: &UserId,
        ends_at_ms: Option<TimeMs>,
        idempotency: Option<&Idempotency>,
    ) -> Result<SubscriptionView, ServiceError> {
        let operation = Operation::new(user.as_str(), idempotency, false);
        self.with_facts(tenant, user, async |view| {
            let wanted = cancellation(&view.subscribed, view.now_ms, ends_at_ms);
            self.subscribe_round(view, user, &operation, wanted).await
        })
        .await
    }

    async fn subscribe_round(
        &self,
        view: &View,
        user: &UserId,
        operation: &Operation,
        wanted: Result<Wanted, ServiceError>,
    ) -> Result<Round<SubscriptionView>, ServiceError> {
        let wanted = match wanted {
            Ok(wanted) => wanted,
            // A refusal, and a repetition of an earlier call, must rest on true facts too.
            Err(refusal) => match self.check_facts(view, user).await? {
                Some(learn) => return Ok(learn),
                None => return self.first_answer(view, operation).await?.map(Round::Done).ok_or(refusal),
            },
        };
        let answer = view_of(user, &wanted);
        let text = serde_json::to_string(&answer).map_err(|error| ServiceError::Internal(error.to_string()))?;
        let until_ms = view.subscribed.at(view.now_ms).1;
        let validity = match wanted.from_now {
            true => {
                Validity { from_ms: view.now_ms.div_euclid(1000) * 1000, until_ms: until_ms.min(view.now_ms + NOW_MS) }
            }
            false => Validity { from_ms: TimeMs::MIN, until_ms },
        };
        let args = SubscribeArgs {
            bucket: &view.bucket,
            operation,
            facts: view.facts(validity),
            user,
            write: wanted.changed,
            subscription: &wanted.subscription,
            reset: wanted.reset,
            answer: &text,
        };
        Ok(match self.store.subscribe(args).await? {
            SubscribeReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            SubscribeReply::Stale(stale, now_ms) => Round::Stale(stale, now_ms),
            SubscribeReply::Subscribed { now_ms, version } => {
                self.clocks.hear(&view.bucket, now_ms);
                let subscribed = Subscribed { version, subscription: Some(wanted.subscription) };
                self.subscriptions.insert(view.bucket.user(user).counters, Arc::new(subscribed));
                Round::Done(answer)
            }
            SubscribeReply::Before(first) => Round::Done(read_answer(&first)?),
        })
    }

    /// The first answer to the same operation, if there was one: by now the same call might be refused.
    async fn first_answer(&self, view: &View, operation: &Operation) -> Result<Option<SubscriptionView>, ServiceError> {
        match self.store.subscribed_before(&view.bucket, operation).await? {
            Some(SubscribeReply::Before(first)) => read_answer(&first).map(Some),
            Some(_) => Err(ServiceError::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    /// An unknown plan, or one about to be deleted, takes no users.
    fn takes_users(&self, view: &View, subscription: &Subscription) -> Result<(), ServiceError> {
        match view.config.plans.get(&subscription.plan) {
            None => Err(ServiceError::invalid("planId", format!("there is no plan `{}`", subscription.plan))),
            Some(entry) if entry.closing => {
                Err(ServiceError::PlanInUse(format!("plan `{}` is being deleted", subscription.plan)))
            }
            Some(_) => Ok(()),
        }
    }
}

fn cancellation(present: &Subscribed, now: TimeMs, ends_at_ms: Option<TimeMs>) -> Result<Wanted, ServiceError> {
    let Some(running) = present.at(now).0 else {
        return Err(match present.subscription {
            Some(_) => ServiceError::AlreadyCanceled,
            None => ServiceError::NotFound("the user never had a subscription".to_owned()),
        });
    };
    let end = ends_at_ms.unwrap_or(now).div_euclid(1000) * 1000;
    if end < running.started_at_ms {
        return Err(ServiceError::invalid("endsAt", "must not be before the subscription's start"));
    }
    let changed = running.ends_at_ms != Some(end);
    let subscription = Subscription { ends_at_ms: Some(end), ..running.clone() };
    Ok(Wanted { subscription, changed, reset: false, from_now: ends_at_ms.is_none() })
}

fn view_of(user: &UserId, wanted: &Wanted) -> SubscriptionView {
    let subscription = &wanted.subscription;
    SubscriptionView {
        user_id: user.to_string(),
        plan_id: subscription.plan.to_string(),
        started_at: rfc3339(subscription.started_at_ms),
        cycle_start: subscription.cycle_start_ms.map(rfc3339),
        ends_at: subscription.ends_at_ms.map(rfc3339),
        changed: wanted.changed,
    }
}

fn read_answer(text: &str) -> Result<SubscriptionView, ServiceError> {
    serde_json::from_str(text).map_err(|_| ServiceError::IdempotencyKeyReused)
}
