//! A call that requests an amount: the caller, its events, and the owners of its counters.

use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::metering::admission::{Caller, Request};
use crate::domain::metering::counter::Counter;
use crate::domain::metering::fit::Fit;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::{EventName, KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::service::error::{ServiceError, positive};
use crate::service::tenant::Tenant;
use crate::store::keys::call_label;
use crate::store::metering::operation::Operation;

use super::facts::CallFacts;

/// The input of a call.
#[derive(Clone, Debug)]
pub struct Call {
    pub user: UserId,
    /// One event, or several that are allowed together or not at all.
    pub items: Vec<CallItem>,
    pub key: KeyId,
    /// The figure that may be reduced; the event has its least value.
    pub fit: Option<Fit>,
    /// The learned estimates by item, if it was allowed with them already; otherwise empty.
    pub allowed_with: Vec<LearnedValues>,
}

/// One event of a call.
#[derive(Clone, Debug)]
pub struct CallItem {
    pub event: EventName,
    pub quantity: Number,
    /// Including the key's fixed metadata.
    pub metadata: Metadata,
}

impl Call {
    /// Its events with their learned estimates.
    pub fn requests<'a>(&'a self, learned: &'a [LearnedValues]) -> Vec<Request<'a>> {
        let requests = self.items.iter().enumerate().map(|(place, item)| {
            let none = LearnedValues::none();
            item.request(learned.get(place).unwrap_or(none))
        });
        requests.collect()
    }

    pub fn caller<'a>(&'a self, facts: &'a CallFacts) -> Caller<'a> {
        Caller { user: &self.user, app: &facts.app, key: Some(&self.key) }
    }

    /// How the ledger and an expired hold refer to the call.
    pub(crate) fn call_label(&self) -> String {
        self.items.first().map(|item| call_label(&item.event, &self.key, &self.user)).unwrap_or_default()
    }

    /// Checks that the call can be reserved.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        self.items.iter().try_for_each(CallItem::check)
    }
}

impl CallItem {
    pub fn request<'a>(&'a self, learned: &'a LearnedValues) -> Request<'a> {
        Request { event: &self.event, quantity: self.quantity.0, metadata: &self.metadata, learned }
    }

    /// Checks that it can be reserved.
    pub(in crate::service) fn check(&self) -> Result<(), ServiceError> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(faults.into()) }
    }

    /// Why it cannot be reserved: it is a refund, or empty.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if self.event.is_refund() {
            faults.push(FieldError::new("event", "must not end in `.refund`; send refunds to `track`"));
        }
        faults.extend(positive(self.quantity).err());
        faults
    }
}

/// A call with the facts that the node has cached.
#[derive(Clone, Copy)]
pub(super) struct CallContext<'a> {
    pub tenant: &'a Tenant,
    pub facts: &'a CallFacts,
    pub call: &'a Call,
    pub operation: &'a Operation,
}

/// A caller with the values that determine whose counters are used.
#[derive(Clone, Copy, Debug)]
pub struct CounterContext<'a> {
    pub caller: Caller<'a>,
    pub metadata: &'a Metadata,
}

/// The caller, once per item.
pub(crate) fn contexts<'a>(facts: &'a CallFacts, call: &'a Call) -> Vec<CounterContext<'a>> {
    call.items.iter().map(|item| CounterContext { caller: call.caller(facts), metadata: &item.metadata }).collect()
}

/// Adds counters that are not in the list yet.
pub(crate) fn add_counters(counters: &mut Vec<Counter>, more: Vec<Counter>) {
    for counter in more {
        let same = |known: &Counter| known.group.id == counter.group.id && known.owner == counter.owner;
        if !counters.iter().any(same) {
            counters.push(counter);
        }
    }
}
