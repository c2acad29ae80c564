//! Applies one call, or its repetition, to the model.

use super::admit::Asked;
use super::call::{Call, Name, Reply};
use super::rules::{MINUTE_MS, Ms};
use super::state::{GRACE_MS, Model, Status};
use super::users::Upsert;

impl Model {
    /// The expected answer to a call. A call whose idempotency key was answered before gets the same answer, or an
    /// error if it is a different call.
    pub fn apply(&mut self, name: Name, keyed: bool, call: &Call) -> Reply {
        if keyed && let Some((first, reply)) = self.done.get(&name) {
            return if first == call { reply.clone() } else { Reply::problem(409, "idempotency_key_reused") };
        }
        let reply = self.decide(name, call);
        // A refusal is decided again, and a repetition that is recognized by the state need not be stored.
        if keyed && matches!(reply.status, 200 | 201 | 429) && !reply.replayed {
            self.done.insert(name, (call.clone(), reply.clone()));
        }
        reply
    }

    /// Whether this call was answered before, so that it is not decided again.
    pub fn repeats(&self, name: Name, keyed: bool) -> bool {
        keyed && self.done.contains_key(&name)
    }

    fn decide(&mut self, name: Name, call: &Call) -> Reply {
        match call {
            Call::Reserve { user, items, fit: None, ttl_ms } => self.reserve(name, Asked { user, items }, *ttl_ms),
            Call::Reserve { user, items, fit: Some(fit), ttl_ms } => {
                self.reserve_fitted(name, Asked { user, items }, *fit, *ttl_ms)
            }
            Call::CanUse { user, items, fit: None } => self.can_use(Asked { user, items }),
            Call::CanUse { user, items, fit: Some(fit) } => self.can_use_fitted(Asked { user, items }, *fit),
            Call::Commit { of, figures, is_final, reject_late } => self.commit(*of, figures, *is_final, *reject_late),
            Call::Release { of } => self.release(*of),
            Call::Extend { of, quantity, ttl_ms } => self.extend(*of, *quantity, *ttl_ms),
            Call::Track { user, item, enforce } => self.track(Asked { user, items: &[*item] }, *enforce),
            Call::GiveBack { user, item } => self.give_back(Asked { user, items: &[*item] }),
            Call::Refund { user, of, quantity, steps } => self.refund(user, *of, *quantity, *steps),
            Call::Usage { user, labels } => Reply {
                word: self.plan_id(user).unwrap_or_default().to_owned(),
                counters: self.stands(user, *labels, |_| true),
                ..Reply::ok()
            },
            Call::Time { now_ms } if *now_ms >= self.now_ms => {
                self.now_ms = *now_ms;
                Reply::ok()
            }
            Call::Time { .. } => Reply::problem(400, "invalid_request"),
            Call::Subscribe { user, plan, started_ms, cycle_ms, ends_ms, limits, reset } => {
                let (started_ms, cycle_ms, ends_ms) = (*started_ms, *cycle_ms, *ends_ms);
                self.subscribe(user, Upsert { plan, started_ms, cycle_ms, ends_ms, limits: *limits, reset: *reset })
            }
            Call::Cancel { user, ends_ms } => self.cancel(user, *ends_ms),
            Call::Block { user, blocked } => self.block(user, *blocked),
            Call::Reset { user, group } => self.reset(user, *group),
            Call::Grant { owner, group, amount, expires_ms } => self.grant(name, owner, group, *amount, *expires_ms),
            Call::Revoke { of } => self.revoke(*of),
            Call::Limit { owner, group, limit } => self.limit(owner, group, *limit),
            Call::Edit { policy, of, group, edit } => self.edit(*policy, of, group, *edit),
            Call::Approve { owner, group, amount, until_ms } => self.approve(name, owner, group, *amount, *until_ms),
            Call::Reject { owner, group } => self.reject(owner, group),
        }
    }

    /// Future times at which something ends, in order.
    pub fn edges(&self) -> Vec<Ms> {
        let held = self.reservations.values().filter(|it| it.status == Status::Held);
        let mut edges: Vec<Ms> = held.flat_map(|it| [it.expires_ms, it.expires_ms + GRACE_MS]).collect();
        edges.extend(self.counters.keys().filter_map(|name| self.stored(name)?.end_ms));
        edges
            .extend(self.counters.values().flat_map(|counter| counter.grants.iter().filter_map(|grant| grant.ends_ms)));
        edges.extend(self.limits.values().filter_map(|limit| limit.until_ms));
        edges.extend(self.users.values().filter_map(|user| user.subscription.as_ref()?.ends_ms));
        edges.retain(|edge| *edge > self.now_ms);
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// A time to try as an expiry, this many steps of a minute or a day from now.
    pub fn later(&self, steps: i64) -> Ms {
        self.now_ms + steps * if steps % 2 == 0 { MINUTE_MS } else { 26 * 60 * MINUTE_MS }
    }
}
