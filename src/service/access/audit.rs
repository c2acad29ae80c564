//! The audit log: changes of configuration, keys and users in one list, newest first.

use serde_json::Value;

use crate::domain::access::audit::StoredAuditEntry;
use crate::domain::reporting::entry_id::EntryId;
use crate::domain::webhooks::webhook::masked_url;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use crate::store::client::pace::Pace;
use crate::store::keys;

/// Entries read for one page. With a filter that matches few entries, the page ends early and has a cursor.
const MOST_LOOKED_AT: usize = 5_000;
/// Entries read from each log at a time.
const BATCH: usize = 200;

/// Which entries to return; all given conditions must match.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// ID of a key.
    pub actor: Option<String>,
    /// `plan.put`, or a prefix such as `plan.`.
    pub action: Option<String>,
    pub target: Option<String>,
}

/// The position at which a page ends: an entry of one of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    pub id: EntryId,
    pub log: usize,
}

/// A page, and the cursor of the next one.
pub struct AuditPage {
    pub entries: Vec<ListedEntry>,
    pub next: Option<AuditCursor>,
}

impl AuditFilter {
    fn wants(&self, entry: &StoredAuditEntry) -> bool {
        let audit_entry = &entry.audit_entry;
        self.actor.as_ref().is_none_or(|actor| *actor == audit_entry.actor)
            && self.target.as_ref().is_none_or(|target| *target == audit_entry.target)
            && self.action.as_ref().is_none_or(|action| audit_entry.action.starts_with(action.as_str()))
    }
}

/// An entry with its position in the list.
pub struct ListedEntry {
    pub cursor: AuditCursor,
    pub entry: StoredAuditEntry,
}

impl AuditCursor {
    /// Newest first; at the same time, in the order of the logs.
    fn order(&self) -> (std::cmp::Reverse<EntryId>, usize) {
        (std::cmp::Reverse(self.id), self.log)
    }
}

impl Gateway {
    /// Changes of the app's configuration and keys, and of the users of this mode.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn audit(
        &self,
        tenant: &Tenant,
        filter: &AuditFilter,
        after: Option<AuditCursor>,
        count: usize,
    ) -> Result<AuditPage, ServiceError> {
        let mut logs = vec![keys::configuration_audit(&tenant.app), keys::register_audit(&tenant.app)];
        logs.extend(tenant.buckets().iter().map(keys::Bucket::audit));
        let mut entries = Vec::new();
        let mut position = after;
        let mut looked_at = 0;
        let mut pace = Pace::default();
        loop {
            let mut batch = Vec::new();
            for (log, key) in logs.iter().enumerate() {
                pace.rest().await;
                let from = position.map(|position| (position.id, log > position.log));
                for entry in self.store.audit_entries(key, from, BATCH).await? {
                    batch.push(ListedEntry { cursor: AuditCursor { id: entry.id, log }, entry });
                }
            }
            batch.sort_by_key(|listed| listed.cursor.order());
            // Beyond this number, the batches of some logs may have ended too early.
            batch.truncate(BATCH);
            let whole = batch.len() < BATCH;
            for listed in batch {
                position = Some(listed.cursor);
                looked_at += 1;
                if filter.wants(&listed.entry) {
                    entries.push(listed);
                    if entries.len() == count {
                        return Ok(AuditPage { entries, next: position });
                    }
                }
            }
            if whole {
                return Ok(AuditPage { entries, next: None });
            }
            if looked_at >= MOST_LOOKED_AT {
                return Ok(AuditPage { entries, next: position });
            }
        }
    }
}

/// A value in an entry about `target`: JSON, or plain text. Entries are stored for long and read by many, so they
/// never contain the credentials in a webhook's URL.
pub fn audited(target: &str, text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    if target.starts_with("webhook:")
        && let Some(url) = value.get_mut("url")
    {
        *url = Value::from(url.as_str().map_or_else(String::new, masked_url));
    }
    value
}
