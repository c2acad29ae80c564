//! Evaluates a call before Redis is called: which groups count it, and whether it is denied without any counter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::facts::{Attempt, CallFacts};
use crate::domain::configuration::limit_group::Enforcement;
use crate::domain::metering::admission::{Admission, Matched, Purpose, prepare};
use crate::domain::metering::growth::{FittedEvent, growth};
use crate::domain::values::field_error::FieldError;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::store::metering::admission::ApprovalRequest;
use crate::store::metering::operation::Operation;

/// The result of evaluating a call before Redis is called.
pub(in crate::service) enum Prepared<T> {
    Admitted(Admission),
    /// A fact was stale, so the call must be evaluated again.
    Stale(Attempt<T>),
}

impl Gateway {
    /// The evaluation of the call; or, before it is rejected as invalid, an attempt with updated facts.
    pub(in crate::service) async fn admission<T>(
        &self,
        facts: &CallFacts,
        call: &Call,
        purpose: Purpose,
    ) -> Result<Prepared<T>, ServiceError> {
        match evaluate(facts, call, purpose) {
            Ok(admission) => Ok(Prepared::Admitted(admission)),
            Err(fault) => match Box::pin(self.check_facts(facts, &call.user)).await? {
                Some(stale) => Ok(Prepared::Stale(stale)),
                None => Err(fault.into()),
            },
        }
    }
}

/// The evaluation of the call; with `fit` it says how far an admitted call may grow.
pub(in crate::service) fn evaluate(facts: &CallFacts, call: &Call, purpose: Purpose) -> Result<Admission, FieldError> {
    let learned = facts.learned(call);
    let (effective_limits, caller, requests) = (facts.effective_limits(), call.caller(facts), call.requests(&learned));
    let mut admission = prepare(effective_limits, caller, &requests, facts.now_ms, purpose)?;
    let fitted = call.fit.as_ref().and_then(|fit| Some((fit, *requests.get(fit.item)?)));
    if let Some((fit, request)) = fitted.filter(|_| admission.refusal.is_none()) {
        let grown = growth(&admission, fit, FittedEvent { effective_limits, caller, request });
        let within = |fault: FieldError| match requests.len() {
            1 => fault,
            _ => fault.within(&format!("items[{}]", fit.item)),
        };
        admission.growth = Some(grown.map_err(within)?);
    }
    Ok(Admission { learned, ..admission })
}

/// What is stored about a call that requests an approval.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedApproval {
    pub user_id: String,
    /// ID of the key.
    pub key_id: String,
    pub event: String,
    pub metadata: BTreeMap<String, String>,
}

/// The approval request that a denial may open; None if no matched group uses approval.
pub(crate) fn asked(
    facts: &CallFacts,
    call: &Call,
    admission: &Admission,
    operation: &Operation,
) -> Result<Option<ApprovalRequest>, ServiceError> {
    let approval = |matched: &Matched| matched.group.enforcement == Enforcement::Approval;
    let Some(item) = call.items.first().filter(|_| admission.matched.iter().any(approval)) else {
        return Ok(None);
    };
    let asking = RequestedApproval {
        user_id: call.user.to_string(),
        key_id: call.key.to_string(),
        event: item.event.to_string(),
        metadata: item.metadata.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let id = format!("apr_{}{:02x}", operation.name.as_str(), facts.bucket.number());
    Ok(Some(ApprovalRequest { id, about: json(&asking)? }))
}

/// The node's own denial in the form that scripts expect.
pub(crate) fn verdict(admission: &Admission) -> &'static str {
    admission.refusal.as_ref().map_or("", |refusal| refusal.reason.as_str())
}

/// The first reason for which groups that only observe would have denied the call by the facts alone, in the form that
/// scripts expect.
pub(crate) fn observed_reason(admission: &Admission) -> &'static str {
    admission.observed.first().map_or("", |observed| observed.reason.as_str())
}
