//! Explains why a call would be allowed or denied now, without writing anything.

use std::sync::Arc;

use crate::domain::accounts::subscription::Subscription;
use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::configuration::limit_group::{LimitGroup, Limits};
use crate::domain::configuration::plan::Plan;
use crate::domain::metering::admission::{Caller, EffectiveLimits, Purpose, prepare};
use crate::domain::metering::counter::Counter;
use crate::domain::metering::explain::{ExplainedGroup, trace};
use crate::domain::metering::reason::Reason;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{KeyId, UserId};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CallItem;
use crate::service::metering::decision::{Counted, Decision, GroupOutcome, Relief, group_outcomes};
use crate::service::metering::facts::{Attempt, CallFacts, NEVER_WRITTEN};
use crate::service::tenant::Tenant;
use crate::store::accounts::users::LiveGrant;
use crate::store::metering::usage::UsageReply;

/// A hypothetical call.
#[derive(Clone, Debug)]
pub struct Question {
    pub user: UserId,
    pub item: CallItem,
    /// None if no key is given; groups that count by key then miss a name.
    pub key: Option<KeyId>,
}

/// The explanation of a hypothetical call.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The user has a subscription, counters, or anything else stored.
    pub known: bool,
    /// None without a running subscription.
    pub subscription: Option<Subscription>,
    pub blocked: bool,
    /// The plan with the user's custom limits; None without a subscription and a default plan.
    pub plan: Option<Arc<Plan>>,
    /// It is the app's default plan.
    pub is_default_plan: bool,
    pub verdict: Verdict,
    /// The learned estimates of figures that the call does not have.
    pub estimated: LearnedValues,
    /// The groups of the plan, then those of all policies.
    pub groups: Vec<Explained>,
    pub now_ms: TimeMs,
}

/// The decision on the call.
#[derive(Clone, Debug)]
pub enum Verdict {
    Decided(Box<Decision>),
    /// The call is invalid under these rules.
    Invalid(FieldError),
}

/// A group with its counter, if it counts the call.
#[derive(Clone, Debug)]
pub struct Explained {
    pub traced: ExplainedGroup,
    pub counter: Option<Counter>,
    /// The limit of the counter: quota, grants and rolled quota, minus blocked amounts; None without a limit.
    pub limit: Option<Amount>,
    /// The call would exceed the limit.
    pub over_limit: bool,
    /// The group only observes, and would deny the call otherwise.
    pub observed: bool,
    /// The balance onto which the group overflows, if the call needs it.
    pub balance: Option<Counter>,
    pub grants: Vec<LiveGrant>,
}

impl Explained {
    /// The group refuses the call.
    pub fn refuses(&self) -> bool {
        (self.over_limit && !self.observed) || self.traced.refuses()
    }
}

impl Gateway {
    /// # Errors
    /// [`ServiceError`]
    pub async fn explain(&self, tenant: &Tenant, question: &Question) -> Result<Explanation, ServiceError> {
        question.item.check()?;
        self.with_facts(tenant, &question.user, async |facts| self.explain_attempt(facts, question).await).await
    }

    async fn explain_attempt(
        &self,
        facts: &CallFacts,
        question: &Question,
    ) -> Result<Attempt<Explanation>, ServiceError> {
        let Question { user, item, key } = question;
        let estimated = facts.learned_by(item, None);
        let request = item.request(&estimated);
        let caller = Caller { user, app: &facts.app, key: key.as_ref() };
        let effective_limits = facts.effective_limits();
        // The counters of a blocked user are shown too.
        let open = EffectiveLimits { blocked: false, ..effective_limits };
        let (traced, counting) = trace(open, caller, request, facts.now_ms);
        let owners = facts.owners(&counting, Limits::Enforced);
        let (now_ms, states, free_at_ms) =
            match self.store.usage(&facts.bucket, facts.for_script(counting.validity), &owners).await? {
                UsageReply::Stale(stale, now_ms) => return Ok(Attempt::Stale(stale, now_ms)),
                UsageReply::Reclaim(now_ms) => return self.reclaim_attempt(facts, &owners, now_ms).await,
                UsageReply::Usage { now_ms, states, free_at_ms, .. } => (now_ms, states, free_at_ms),
            };
        self.clocks.observe_time(&facts.bucket, now_ms);
        let outcomes = group_outcomes(&counting, &states, LimitGroup::refuses_beyond);
        let verdict = match prepare(effective_limits, caller, &[request], facts.now_ms, Purpose::Ask) {
            Err(fault) => Verdict::Invalid(fault),
            Ok(admission) => {
                // Calls that are denied before groups are checked match no group.
                let early = |reason| matches!(reason, Reason::UserBlocked | Reason::NoSubscription);
                let asked =
                    if admission.refusal.as_ref().is_some_and(|it| early(it.reason)) { &[][..] } else { &outcomes };
                let denied = admission.refusal.is_some() || asked.iter().any(|outcome| outcome.state.over_limit);
                Verdict::Decided(Box::new(match denied {
                    true => Decision::denied(asked, &admission, Relief { free_at_ms, opened: &[] }, now_ms),
                    false => Decision::allowed(asked, now_ms).observing(asked, &admission, Counted::Before),
                }))
            }
        };
        let mut groups = Vec::new();
        for traced in traced {
            groups.push(self.explained(facts, traced, &outcomes, now_ms).await?);
        }
        let subscription = facts.subscribed.at(facts.now_ms).0.cloned();
        let known = facts.subscribed.version != NEVER_WRITTEN
            || self.store.read_users(&facts.bucket, std::slice::from_ref(user)).await?.iter().any(Option::is_some);
        Ok(Attempt::Done(Explanation {
            known,
            is_default_plan: subscription.is_none() && facts.plan().is_some(),
            subscription,
            blocked: effective_limits.blocked,
            plan: facts.plan().cloned(),
            verdict,
            estimated,
            groups,
            now_ms,
        }))
    }

    async fn explained(
        &self,
        facts: &CallFacts,
        traced: ExplainedGroup,
        outcomes: &[GroupOutcome],
        now_ms: TimeMs,
    ) -> Result<Explained, ServiceError> {
        let Some(own) = outcomes.iter().find(|outcome| outcome.group.id == traced.group.id) else {
            let observed = traced.group.observes() && traced.would_refuse();
            return Ok(Explained {
                traced,
                counter: None,
                limit: None,
                over_limit: false,
                observed,
                balance: None,
                grants: Vec::new(),
            });
        };
        let grants = match own.state.granted {
            Amount::ZERO => Vec::new(),
            _ => self.store.stored_owner(&facts.bucket, &own.owner).await?.grants_to(&traced.group.id, now_ms),
        };
        let limit = own.counter().allowance().map(|allowance| allowance.saturating_sub(own.state.blocked));
        let observed = own.state.observed || (own.group.observes() && traced.would_refuse());
        let over_limit = own.state.over_limit || own.state.observed;
        let (counter, balance) = (Some(own.counter()), own.balance());
        Ok(Explained { traced, counter, limit, over_limit, observed, balance, grants })
    }
}
