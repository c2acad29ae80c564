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
    /// The learned estimates with which it was allowed, by item; empty if the app learns none.
    pub learned: Vec<LearnedValues>,
}

fn damaged(what: &str) -> ServiceError {
    ServiceError::Internal(format!("a journalled reserve: {what}"))
}

impl Entry {
    pub fn new(tenant: &Tenant, call: &Call, operation: &Operation, answer: Answer) -> Self {
        let mut learned = answer.learned.into_iter();
        let item = |item: &CallItem| Item {
            event: item.event.clone(),
            quantity: item.quantity,
            metadata: item.metadata.clone(),
            estimated: learned.next().unwrap_or_default(),
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
        let estimated = self.items.iter().map(|item| item.estimated.clone()).collect::<Vec<_>>();
        // An older release did not write them.
        let is_known = estimated.iter().any(|values| !values.is_empty());
        let item = |item: Item| CallItem { event: item.event, quantity: item.quantity, metadata: item.metadata };
        Call {
            user: self.user,
            items: self.items.into_iter().map(item).collect(),
            key: self.key,
            fit: None,
            allowed_with: if is_known { estimated } else { Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use serde_json::{Value, json};

    use super::*;

    fn entry(items: &Value) -> Entry {
        let entry = json!({"app": "acme", "mode": "test", "user": "u", "key": "k", "operation": "o", "atMs": 1,
            "matched": true, "groups": [], "items": items});
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn a_call_is_counted_with_the_estimates_of_its_answer_and_without_them_in_older_journals() {
        let item = json!({"event": "llm.chat", "quantity": 1});
        assert!(entry(&json!([item])).call().allowed_with.is_empty());
        let estimated = json!({"event": "llm.chat", "quantity": 1, "estimated": {"tokens": 704}});
        let known = entry(&json!([item, estimated]));
        assert_eq!(serde_json::to_value(&known).unwrap()["items"][1]["estimated"], json!({"tokens": 704}));
        let allowed_with = known.call().allowed_with;
        assert_eq!(allowed_with.len(), 2);
        assert!(allowed_with[0].is_empty());
        assert_eq!(allowed_with[1].get("tokens"), Some(Decimal::from(704)));
    }
}
