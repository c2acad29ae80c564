//! Events: the ledger and the denials of all buckets of an app and mode, as one list.

pub mod filter;
pub mod id;
pub mod merge;
pub mod view;

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::reporting::ledger::Entry;
use crate::domain::values::ids::AppId;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;
use filter::EventFilter;
use id::EventId;
use merge::{Merge, Order, Span};
use view::EventView;

/// Entries read for one page. With a filter that matches few entries, the page ends early and has a cursor.
const MOST_LOOKED_AT: usize = 10_000;
/// Entries that a stream reads in one round.
const MOST_FOLLOWED: usize = 1_000;
/// Buckets that are asked for their time concurrently.
const PARALLEL: usize = 16;

/// Which events to return, from which time, in which order, and after which one.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    pub filter: EventFilter,
    pub span: Span,
    pub order: Order,
    pub cursor: Option<EventId>,
}

/// A page, and the cursor of the next one.
pub struct EventPage {
    pub events: Vec<EventView>,
    pub next: Option<EventId>,
}

/// The events since a stream's last round.
pub struct Followed {
    pub events: Vec<(EventId, EventView)>,
    /// There may be more events to read at once.
    pub more: bool,
}

impl Gateway {
    /// At most `count` events.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn events(&self, tenant: &Tenant, query: &EventQuery, count: usize) -> Result<EventPage, ServiceError> {
        let mut span = query.span;
        if query.order == Order::OldestFirst {
            // A client that continues after the last event of this page must not miss any.
            span.to_ms = Some(self.complete_until_ms(tenant).await?.min(span.to_ms.unwrap_or(u64::MAX)));
        }
        let mut config = self.config(&tenant.app).await?;
        let mut entries = Merge::new(&self.store, query.filter.sources(tenant), query.order, span, query.cursor);
        let mut events = Vec::new();
        for looked_at in 1.. {
            let Some((id, entry)) = entries.next().await? else { break };
            if query.filter.wants(&entry) {
                config = self.config_telling(&tenant.app, config, &entry).await?;
                events.push(EventView::new(id, &entry, &config));
            }
            if events.len() == count || looked_at == MOST_LOOKED_AT {
                return Ok(EventPage { events, next: Some(id) });
            }
        }
        Ok(EventPage { events, next: None })
    }

    /// The events after `position`, which is moved to the end of what was read.
    ///
    /// # Errors
    /// [`ServiceError`]; then the position stays unchanged.
    pub async fn follow_events(
        &self,
        tenant: &Tenant,
        filter: &EventFilter,
        position: &mut EventId,
    ) -> Result<Followed, ServiceError> {
        let until_ms = self.complete_until_ms(tenant).await?;
        let span = Span { from_ms: None, to_ms: Some(until_ms) };
        let mut config = self.config(&tenant.app).await?;
        let sources = filter.sources(tenant);
        let mut entries = Merge::new(&self.store, sources, Order::OldestFirst, span, Some(*position));
        let mut events = Vec::new();
        for looked_at in 1.. {
            let Some((id, entry)) = entries.next().await? else { break };
            if filter.wants(&entry) {
                config = self.config_telling(&tenant.app, config, &entry).await?;
                events.push((id, EventView::new(id, &entry, &config)));
            }
            if looked_at == MOST_FOLLOWED {
                *position = id;
                return Ok(Followed { events, more: true });
            }
        }
        *position = (*position).max(EventId::end_of(until_ms.saturating_sub(1)));
        Ok(Followed { events, more: false })
    }

    /// All matching events, oldest first, as entries with their IDs. `span` ends where the list is complete.
    pub fn all_events(&self, tenant: &Tenant, filter: &EventFilter, span: Span, cursor: Option<EventId>) -> Merge<'_> {
        Merge::new(&self.store, filter.sources(tenant), Order::OldestFirst, span, cursor)
    }

    /// Whether events after this one may have been dropped: a stream was trimmed, and its first entry is later.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn has_forgotten_since(
        &self,
        tenant: &Tenant,
        filter: &EventFilter,
        last: EventId,
    ) -> Result<bool, ServiceError> {
        for (bucket, stream) in filter.sources(tenant) {
            let info = self.store.stream_info(&bucket, stream).await?;
            if !info.whole && info.first.is_some_and(|first| first > last.at) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Before this millisecond of real time no further entry is appended, whatever the clocks of a cluster's servers
    /// say: it is the earliest of their times.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn complete_until_ms(&self, tenant: &Tenant) -> Result<u64, ServiceError> {
        let buckets = tenant.buckets();
        let times = stream::iter(&buckets).map(|bucket| self.store.stream_time_ms(bucket)).buffer_unordered(PARALLEL);
        let times: Vec<u64> = times.try_collect().await?;
        Ok(times.into_iter().min().unwrap_or(0))
    }

    /// The cached configuration, or a newer one if a group of the entry is not in the cached one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn config_telling(
        &self,
        app: &AppId,
        config: Arc<AppConfig>,
        entry: &Entry,
    ) -> Result<Arc<AppConfig>, ServiceError> {
        match EventView::is_described_by(entry, &config) {
            true => Ok(config),
            false => self.load_config(app).await,
        }
    }
}
