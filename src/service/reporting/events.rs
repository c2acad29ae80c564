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

/// Entries looked at for one page: a filter that matches little ends the page early, with a cursor to go on.
const MOST_LOOKED_AT: usize = 10_000;
/// Entries that a follower looks at in one go.
const MOST_FOLLOWED: usize = 1_000;
/// Buckets that are asked for their time at once.
const PARALLEL: usize = 16;

/// What is asked for: which events, of what time, in what order, behind which one.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    pub filter: EventFilter,
    pub span: Span,
    pub order: Order,
    pub cursor: Option<EventId>,
}

/// A page, and where the next one begins.
pub struct EventPage {
    pub events: Vec<EventView>,
    pub next: Option<EventId>,
}

/// What came since a follower looked last.
pub struct Followed {
    pub events: Vec<(EventId, EventView)>,
    /// There may be more already.
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
            // Whoever goes on behind the last event of this page must not miss one.
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

    /// What came behind `position`, which moves on to where everything was looked at.
    ///
    /// # Errors
    /// [`ServiceError`]; then the position stays.
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

    /// All events that are wanted, oldest first, as entries with their ids. `span` ends where the list is complete.
    pub fn all_events(&self, tenant: &Tenant, filter: &EventFilter, span: Span, cursor: Option<EventId>) -> Merge<'_> {
        Merge::new(&self.store, filter.sources(tenant), Order::OldestFirst, span, cursor)
    }

    /// May events behind that one be gone? True where a stream was trimmed, and what is left of it begins later.
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

    /// Before this millisecond of real time nothing is appended any more, whatever the clocks of a cluster's servers say:
    /// the earliest of their times.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn complete_until_ms(&self, tenant: &Tenant) -> Result<u64, ServiceError> {
        let buckets = tenant.buckets();
        let times = stream::iter(&buckets).map(|bucket| self.store.stream_time_ms(bucket)).buffer_unordered(PARALLEL);
        let times: Vec<u64> = times.try_collect().await?;
        Ok(times.into_iter().min().unwrap_or(0))
    }

    /// The configuration at hand, or a newer one if it does not know a group of the entry yet.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn config_telling(
        &self,
        app: &AppId,
        config: Arc<AppConfig>,
        entry: &Entry,
    ) -> Result<Arc<AppConfig>, ServiceError> {
        match EventView::is_told_by(entry, &config) {
            true => Ok(config),
            false => self.load_config(app).await,
        }
    }
}
