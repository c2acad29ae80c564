//! The journal entry of a degraded reserve.

use serde::{Deserialize, Serialize};

use crate::domain::configuration::estimate::LearnedValues;
use crate::domain::metering::reservation::{Item, OperationName};
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::{AppId, GroupId, KeyId, Mode, UserId};
use crate::infra::journal::file::Record;
use crate::service::error::ServiceError;
use crate::service::metering::call::{Call, CallItem};
use crate::service::tenant::{Placement, Tenant};
use crate::store::metering::operation::Operation;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub app: AppId,
    mode: String,
    user: UserId,
    key: KeyId,
    operation: String,
    /// The time of the answer, by the node's estimate.
    pub at_ms: TimeMs,
    /// The answer, for repetitions.
    pub matched: bool,
    pub groups: Vec<GroupId>,
    items: Vec<Item>,
}

/// The answer, as far as the node could know it.
pub(super) struct Answer {
    pub at_ms: TimeMs,
    pub matched: bool,
    pub groups: Vec<GroupId>,
}

fn damaged(what: &str) -> ServiceError {
    ServiceError::Internal(format!("a journalled reserve: {what}"))
}

impl Entry {
    pub fn new(tenant: &Tenant, call: &Call, operation: &Operation, answer: Answer) -> Self {
        let item = |item: &CallItem| Item {
            event: item.event.clone(),
            quantity: item.quantity,
            metadata: item.metadata.clone(),
            estimated: LearnedValues::default(),
            drawn: None,
        };
        Self {
            app: tenant.app.clone(),
            mode: tenant.mode.to_string(),
            user: call.user.clone(),
            key: call.key.clone(),
            operation: operation.name.as_str().to_owned(),
            at_ms: answer.at_ms,
            matched: answer.matched,
            groups: answer.groups,
            items: call.items.iter().map(item).collect(),
        }
    }

    /// # Errors
    /// None in practice.
    pub fn record(&self, name: String, operation: &Operation) -> Result<Record, ServiceError> {
        let body = serde_json::to_value(self).map_err(|error| damaged(&error.to_string()))?;
        Ok(Record { name, fingerprint: operation.fingerprint().to_owned(), body })
    }

    /// # Errors
    /// The record was written by another version.
    pub fn read(record: &Record) -> Result<Self, ServiceError> {
        Self::deserialize(&record.body).map_err(|error| damaged(&error.to_string()))
    }

    /// # Errors
    /// The record was written by another version.
    pub fn tenant(&self, placement: Placement) -> Result<Tenant, ServiceError> {
        let mode = Mode::parse(&self.mode).map_err(|error| damaged(&error))?;
        Ok(Tenant { app: self.app.clone(), mode, placement })
    }

    /// # Errors
    /// The record was written by another version.
    pub fn operation(&self, record: &Record) -> Result<Operation, ServiceError> {
        let name = OperationName::parse(&self.operation).ok_or_else(|| damaged("its operation"))?;
        Ok(Operation::again(name, &record.fingerprint))
    }

    pub fn call(self) -> Call {
        let item = |item: Item| CallItem { event: item.event, quantity: item.quantity, metadata: item.metadata };
        Call { user: self.user, items: self.items.into_iter().map(item).collect(), key: self.key, fit: None }
    }
}
