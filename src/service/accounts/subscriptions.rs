//! Subscriptions: an idempotent upsert, and cancelling.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::custom_limits::{CustomLimits, CustomQuota};
use crate::domain::accounts::subscription::{Move, Subscribed, Subscription, Upsert};
use crate::domain::configuration::limit_group::{LimitGroup, OnPlanChange};
use crate::domain::metering::admission::{Caller, EffectiveLimits, Validity, overview};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{GroupId, KeyId, PlanId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::webhooks::webhook::WebhookEvent;
use crate::service::configuration::app_config::{AppConfig, Change};
use crate::service::configuration::clashes::{counted_plan, own_plan};
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::facts::{Attempt, CallFacts};
use crate::service::tenant::Tenant;
use crate::store::accounts::change_user::{ChangeUserArgs, ChangeUserReply, MovedGroup, Reset, UserChange};
use crate::store::client::library::WhenFull;
use crate::store::metering::operation::Operation;

/// Of a longer subscription, the audit log only records the length.
const MOST_AUDITED: usize = 4_096;
/// All group IDs that an app has ever had. Beyond this number, custom plans cannot add new ones.
const MOST_GROUP_IDS: usize = 10_000;

/// A subscription as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    pub user_id: String,
    pub plan_id: String,
    /// RFC 3339, UTC, whole seconds.
    pub started_at: String,
    pub cycle_start: Option<String>,
    pub ends_at: Option<String>,
    /// Replaces the plan's limits.
    #[schema(value_type = Option<Object>)]
    pub custom_limits: Option<serde_json::Value>,
    /// After a write: false if nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<bool>,
}

/// Whose subscription is written, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionWrite<'a> {
    pub user: &'a UserId,
    /// ID of the key.
    pub by: &'a KeyId,
    /// The reason, for the audit log.
    pub note: Option<&'a str>,
    pub rules: GroupRegistration,
}

/// The quota of one group in custom limits.
#[derive(Clone, Debug)]
pub(super) struct QuotaChange<'a> {
    pub group: &'a GroupId,
    /// None removes it.
    pub quota: Option<CustomQuota<'a>>,
}

/// Whether the groups of a plan body in `customLimits` are registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRegistration {
    New,
    Checked,
}

/// The requested change of a subscription.
pub(in crate::service) struct RequestedChange {
    pub subscription: Subscription,
    pub changed: bool,
    pub reset: bool,
    /// How the counters move to the windows of the plan.
    pub moves: Option<Move>,
    /// A time taken from the node's clock must match the script's time.
    from_now: bool,
    action: &'static str,
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn subscribe(
        &self,
        tenant: &Tenant,
        written: SubscriptionWrite<'_>,
        upsert: &Upsert,
        idempotency: Option<&Idempotency>,
    ) -> Result<SubscriptionView, ServiceError> {
        if let (GroupRegistration::New, Some(Some(limits))) = (written.rules, &upsert.custom_limits) {
            self.register_groups(tenant, &upsert.plan, limits).await?;
        }
        let operation = Operation::new(written.user.as_str(), idempotency, false);
        self.with_facts(tenant, written.user, async |facts| {
            if let Some(retry) = self.check_start(facts, written.user, upsert).await? {
                return Ok(retry);
            }
            let wanted = self.upserted(facts, upsert).await;
            self.subscribe_attempt(facts, written, &operation, wanted).await
        })
        .await
    }

    /// Before a start in the future is refused: makes sure that it has not come, for Redis' time may be ahead of this
    /// node's.
    pub(in crate::service) async fn check_start<T>(
        &self,
        facts: &CallFacts,
        user: &UserId,
        upsert: &Upsert,
    ) -> Result<Option<Attempt<T>>, ServiceError> {
        match upsert.started_at_ms {
            Some(start_ms) if start_ms > facts.now_ms => self.check_facts_until(facts, user, start_ms).await,
            _ => Ok(None),
        }
    }

    /// Moves a user who is on plan `from` to another plan. Only the plan changes: the cycle and a planned end stay.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn move_user(
        &self,
        tenant: &Tenant,
        user: &UserId,
        from: &PlanId,
        to: &PlanId,
        by: &KeyId,
    ) -> Result<(), ServiceError> {
        let operation = Operation::new("", None, false);
        self.with_facts(tenant, user, async |facts| {
            let Some(running) = facts.subscribed.at(facts.now_ms).0.filter(|running| running.plan == *from) else {
                // The user has left the plan meanwhile.
                return Ok(self.check_facts(facts, user).await?.unwrap_or(Attempt::Done(())));
            };
            let upsert = Upsert {
                plan: to.clone(),
                started_at_ms: None,
                cycle_start_ms: Some(Some(running.cycle_start_ms.unwrap_or(running.started_at_ms))),
                ends_at_ms: Some(running.ends_at_ms),
                custom_limits: None,
                reset_usage: false,
            };
            let wanted = self.upserted(facts, &upsert).await;
            let written = SubscriptionWrite { user, by, note: None, rules: GroupRegistration::Checked };
            Ok(match self.subscribe_attempt(facts, written, &operation, wanted).await? {
                Attempt::Done(_) => Attempt::Done(()),
                Attempt::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                Attempt::Again(ran) => Attempt::Again(ran),
            })
        })
        .await
    }

    pub(in crate::service) async fn upserted(
        &self,
        facts: &CallFacts,
        upsert: &Upsert,
    ) -> Result<RequestedChange, ServiceError> {
        let upserted = upsert
            .apply(&facts.subscribed, facts.now_ms)
            .map_err(|(field, message)| ServiceError::invalid(field, message))?;
        self.takes_users(facts, &upserted.subscription.plan).await?;
        Ok(RequestedChange {
            from_now: upserted.changed,
            subscription: upserted.subscription,
            changed: upserted.changed,
            reset: upserted.reset,
            moves: upserted.changed.then_some(upserted.moves),
            action: "subscription.put",
        })
    }

    /// Sets the quota of one group in the custom limits of a running subscription, or removes it. None if it has none to
    /// remove.
    ///
    /// # Errors
    /// [`ServiceError`]; a user without a subscription, or with a custom plan.
    pub(super) async fn set_custom_quota(
        &self,
        tenant: &Tenant,
        written: SubscriptionWrite<'_>,
        change: QuotaChange<'_>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<SubscriptionView>, ServiceError> {
        let operation = Operation::new(written.user.as_str(), idempotency, false);
        self.with_facts(tenant, written.user, async |facts| {
            let QuotaChange { group, quota } = &change;
            let running = facts.subscribed.at(facts.now_ms).0;
            let limits = running.and_then(|running| running.custom_limits.as_deref());
            let known = limits.is_some_and(|limits| limits.quota(group, facts.now_ms).is_some());
            if quota.is_none() && !known {
                if let Some(retry) = self.check_facts(facts, written.user).await? {
                    return Ok(retry);
                }
                return Ok(Attempt::Done(self.first_answer(facts, &operation).await?));
            }
            let action = if quota.is_some() { "limit.put" } else { "limit.delete" };
            let wanted = match wanted_upsert(facts, group, quota.clone()) {
                Ok(upsert) => self.upserted(facts, &upsert).await.map(|wanted| RequestedChange { action, ..wanted }),
                Err(refusal) => Err(refusal),
            };
            Ok(match self.subscribe_attempt(facts, written, &operation, wanted).await? {
                Attempt::Done(answer) => Attempt::Done(Some(answer)),
                Attempt::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                Attempt::Again(ran) => Attempt::Again(ran),
            })
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
        written: SubscriptionWrite<'_>,
        ends_at_ms: Option<TimeMs>,
        idempotency: Option<&Idempotency>,
    ) -> Result<SubscriptionView, ServiceError> {
        let operation = Operation::new(written.user.as_str(), idempotency, false);
        self.with_facts(tenant, written.user, async |facts| {
            let wanted = cancellation(&facts.subscribed, facts.now_ms, ends_at_ms);
            self.subscribe_attempt(facts, written, &operation, wanted).await
        })
        .await
    }

    async fn subscribe_attempt(
        &self,
        facts: &CallFacts,
        written: SubscriptionWrite<'_>,
        operation: &Operation,
        wanted: Result<RequestedChange, ServiceError>,
    ) -> Result<Attempt<SubscriptionView>, ServiceError> {
        let user = written.user;
        let wanted = match wanted {
            Ok(wanted) => wanted,
            // A rejection, and a repetition of an earlier call, must be based on current facts too.
            Err(refusal) => match self.check_facts(facts, user).await? {
                Some(retry) => return Ok(retry),
                None => return self.first_answer(facts, operation).await?.map(Attempt::Done).ok_or(refusal),
            },
        };
        let answer = view_of(user, &wanted.subscription, Some(wanted.changed));
        let text = json(&answer)?;
        let mut validity = Validity { from_ms: TimeMs::MIN, until_ms: facts.subscribed.at(facts.now_ms).1 };
        if wanted.from_now {
            // The end is a whole second of the script's time, not of this node's estimate.
            let second_ms = facts.now_ms.div_euclid(1000) * 1000;
            validity.narrow(second_ms, second_ms + 1000);
        }
        let moved = self.moved_groups(facts, user, &wanted, &mut validity)?;
        let before = facts.subscribed.at(facts.now_ms).0;
        let audit_entry = AuditEntry {
            action: wanted.action.to_owned(),
            before: before.map(|before| json(&view_of(user, before, None)).map(short)).transpose()?,
            after: Some(short(json(&view_of(user, &wanted.subscription, None))?)),
            ..AuditEntry::of_user(user, written.note, written.by)
        };
        let wants_event = facts.config.wants(WebhookEvent::SubscriptionChanged);
        let args = ChangeUserArgs {
            bucket: &facts.bucket,
            operation,
            facts: facts.for_script(validity),
            user,
            when_full: match facts.subscribed.version.as_str() {
                // A user without stored state needs additional memory.
                "0" => WhenFull::Refused,
                _ => WhenFull::Headroom,
            },
            change: match wanted.changed {
                true => UserChange::Subscription(&wanted.subscription),
                false => UserChange::Nothing,
            },
            reset: if wanted.reset { Reset::All } else { Reset::Nothing },
            moved: &moved,
            audit_entry: wanted.changed.then_some(&audit_entry),
            event: Some(text.as_str()).filter(|_| wanted.changed && wants_event),
            answer: &text,
        };
        Ok(match self.store.change_user(args).await? {
            ChangeUserReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
            ChangeUserReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
            ChangeUserReply::Changed { now_ms, version } => {
                self.clocks.observe_time(&facts.bucket, now_ms);
                let blocked = facts.subscribed.blocked;
                self.remember(facts, user, Subscribed { version, subscription: Some(wanted.subscription), blocked });
                Attempt::Done(answer)
            }
            ChangeUserReply::Before(first) => Attempt::Done(read_answer(&first)?),
        })
    }

    /// Caches the user's new state.
    pub(crate) fn remember(&self, facts: &CallFacts, user: &UserId, subscribed: Subscribed) {
        self.subscriptions.insert(facts.bucket.account(user), Arc::new(subscribed));
    }

    /// The groups of the new plan in their windows, and the time range in which these are valid.
    fn moved_groups(
        &self,
        facts: &CallFacts,
        user: &UserId,
        wanted: &RequestedChange,
        validity: &mut Validity,
    ) -> Result<Vec<MovedGroup>, ServiceError> {
        let Some((moves, plan)) = wanted.moves.zip(facts.config.plan(&wanted.subscription.plan)) else {
            return Ok(Vec::new());
        };
        let own = wanted.subscription.custom_limits.as_ref();
        let own = own.map(|limits| limits.at(facts.now_ms));
        let own = own.map(|limits| limits.apply(plan).map(|_| counted_plan(&facts.config, &limits, plan))).transpose();
        let own = own.map_err(ServiceError::Invalid)?;
        let effective_limits = EffectiveLimits {
            plan: Some(own.as_ref().unwrap_or(plan)),
            policies: &[],
            anchor: wanted.subscription.anchor(),
            until_ms: validity.until_ms,
            blocked: false,
        };
        let caller = Caller { user, app: &facts.app, key: None };
        // A balance is the same in every plan.
        let moves_over = |group: &LimitGroup| group.scope.is_user() && !group.is_concurrent() && !group.is_balance();
        let admission = overview(effective_limits, caller, &Metadata::default(), facts.now_ms, moves_over);
        validity.narrow(admission.validity.from_ms, admission.validity.until_ms);
        let moved = admission.matched.iter().map(|matched| MovedGroup {
            id: matched.group.id.clone(),
            window: matched.window,
            action: if moves == Move::Over { matched.group.on_plan_change } else { OnPlanChange::Carry },
            quota: matched.group.quota,
            rollover: matched.group.rollover,
        });
        Ok(moved.collect())
    }

    /// Registers the groups of a custom plan, since the unit of an ID never changes.
    async fn register_groups(&self, tenant: &Tenant, plan: &PlanId, limits: &CustomLimits) -> Result<(), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        // An unknown plan is rejected together with the other fields.
        let Some(present) = config.plan(plan) else { return Ok(()) };
        own_plan(&config, tenant.placement, limits, present).map_err(ServiceError::Invalid)?;
        if !limits.is_whole_plan() {
            return Ok(());
        }
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, 0, async |config, _| {
            let Some(plan) = config.plan(plan) else { return Ok(Change { unchanged: true, ..Change::default() }) };
            let (_, groups) = own_plan(config, tenant.placement, limits, plan).map_err(ServiceError::Invalid)?;
            if !groups.new.is_empty() && config.groups.len() + groups.new.len() > MOST_GROUP_IDS {
                let message =
                    format!("must use existing group IDs: this app already has {MOST_GROUP_IDS}, the maximum");
                return Err(ServiceError::invalid("customLimits.groups", message));
            }
            let fields = groups.new.iter().map(|(group, kind)| AppConfig::group_field(group, kind));
            let set: Vec<_> = fields.collect::<Result<_, _>>()?;
            Ok(Change { unchanged: set.is_empty(), set, ..Change::default() })
        })
        .await
        .map(|_| ())
    }

    /// The first answer to the same operation, if there was one: by now the same call might be rejected.
    async fn first_answer(
        &self,
        facts: &CallFacts,
        operation: &Operation,
    ) -> Result<Option<SubscriptionView>, ServiceError> {
        match self.store.user_changed_before(&facts.bucket, operation).await? {
            Some(ChangeUserReply::Before(first)) => read_answer(&first).map(Some),
            Some(_) => Err(ServiceError::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    /// Checks that the plan exists and is not being deleted.
    async fn takes_users(&self, facts: &CallFacts, plan: &PlanId) -> Result<(), ServiceError> {
        let Some(entry) = facts.config.plans.get(plan) else {
            return Err(ServiceError::invalid(
                "planId",
                format!("must be an existing plan; there is no plan `{plan}`"),
            ));
        };
        // Whether the time is over depends on Redis' clock, not on this node's or a sandbox's.
        if entry.closed_us.is_some() && entry.is_closed(self.store.time_us().await?) {
            return Err(ServiceError::PlanInUse(format!("Plan `{plan}` is being deleted.")));
        }
        Ok(())
    }
}

/// The running subscription with another quota of one group in its custom limits.
fn wanted_upsert(facts: &CallFacts, group: &GroupId, quota: Option<CustomQuota<'_>>) -> Result<Upsert, ServiceError> {
    let running = facts.subscribed.at(facts.now_ms).0;
    let running =
        running.filter(|running| facts.config.plan(&running.plan).is_some_and(|it| it.group(group).is_some()));
    let running = running.ok_or_else(|| {
        ServiceError::invalid("scope.user", format!("must be a user with a subscription to a plan with `{group}`"))
    })?;
    let limits = CustomLimits::with(running.custom_limits.as_deref(), group, quota, facts.now_ms)?;
    Ok(Upsert {
        plan: running.plan.clone(),
        started_at_ms: None,
        cycle_start_ms: None,
        ends_at_ms: None,
        custom_limits: Some(limits.map(Arc::new)),
        reset_usage: false,
    })
}

fn cancellation(
    present: &Subscribed,
    now: TimeMs,
    ends_at_ms: Option<TimeMs>,
) -> Result<RequestedChange, ServiceError> {
    let Some(running) = present.at(now).0 else {
        return Err(match present.subscription {
            Some(_) => ServiceError::AlreadyCanceled,
            None => ServiceError::NotFound("The user never had a subscription.".to_owned()),
        });
    };
    let end = ends_at_ms.unwrap_or(now).div_euclid(1000) * 1000;
    if end < running.started_at_ms {
        return Err(ServiceError::invalid("endsAt", "must not be before the subscription's start"));
    }
    let changed = running.ends_at_ms != Some(end);
    let subscription = Subscription { ends_at_ms: Some(end), ..running.clone() };
    let from_now = ends_at_ms.is_none();
    Ok(RequestedChange { subscription, changed, reset: false, moves: None, from_now, action: "subscription.cancel" })
}

/// Keeps the audit log small: a custom plan may be large, and clients write it.
fn short(text: String) -> String {
    if text.len() <= MOST_AUDITED { text } else { format!("\"{} bytes\"", text.len()) }
}

/// A subscription as clients see it.
pub fn view_of(user: &UserId, subscription: &Subscription, changed: Option<bool>) -> SubscriptionView {
    SubscriptionView {
        user_id: user.to_string(),
        plan_id: subscription.plan.to_string(),
        started_at: rfc3339(subscription.started_at_ms),
        cycle_start: subscription.cycle_start_ms.map(rfc3339),
        ends_at: subscription.ends_at_ms.map(rfc3339),
        custom_limits: subscription
            .custom_limits
            .as_ref()
            .and_then(|limits| serde_json::from_str(limits.as_str()).ok()),
        changed,
    }
}

fn read_answer(text: &str) -> Result<SubscriptionView, ServiceError> {
    serde_json::from_str(text).map_err(|_| ServiceError::IdempotencyKeyReused)
}
