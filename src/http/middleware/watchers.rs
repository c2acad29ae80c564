//! The users that usage streams follow. However many streams of a node follow a user, the node reads the user's
//! counters once per round and notifies the streams of changes only. A slow stream gets the newest state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web;
use futures::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::limits::Reader;
use super::readers::Readers;
use crate::domain::metering::admission::Caller;
use crate::domain::values::ids::{KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::http::wire::problem::ApiError;
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::metering::usage::Usage;
use crate::service::tenant::Tenant;

/// How often a node checks for changes, including expiries and new windows, which no call announces.
pub const LOOK: Duration = Duration::from_millis(500);
/// Users that a node follows at the same time; a stream of a further user gets a 429.
const MOST_WATCHED: usize = 1_000;
/// Reads per second for all followed users together; with many users, each is read less often.
const READS_PER_SECOND: u32 = 400;
/// Concurrent reads.
const PARALLEL: usize = 4;

/// A user whose counters are followed, with the key and metadata that a stream names.
#[derive(Clone, Debug)]
pub struct Watched {
    pub tenant: Tenant,
    pub user: UserId,
    pub key: Option<KeyId>,
    pub metadata: Metadata,
}

/// The latest state, as long as a stream waits for it.
pub type Changes = watch::Receiver<Option<Arc<Usage>>>;

struct Watch {
    watched: Watched,
    changes: watch::Sender<Option<Arc<Usage>>>,
}

#[derive(Default)]
struct State {
    watches: HashMap<String, Watch>,
    is_running: bool,
}

/// The followed users of one node.
#[derive(Clone, Default)]
pub struct Watchers(Arc<Mutex<State>>);

/// Ends the streams if the watch ends unexpectedly. Clients reconnect, which starts it again.
struct Running(Watchers);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

impl Watched {
    fn name(&self) -> String {
        let Self { tenant, user, key, metadata } = self;
        format!("{}\n{}\n{user}\n{key:?}\n{metadata:?}", tenant.app, tenant.mode)
    }

    /// The present state.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn read(&self, gateway: &Gateway) -> Result<Usage, ApiError> {
        let caller = Caller { user: &self.user, app: &self.tenant.app, key: self.key.as_ref() };
        let context = CounterContext { caller, metadata: &self.metadata };
        Ok(gateway.usage(&self.tenant, context, |_| true).await?)
    }
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_running = false;
        state.watches.clear();
    }

    /// Follows a user until the node drains.
    ///
    /// # Errors
    /// 429 if the node follows too many users.
    pub fn follow(
        &self,
        watched: Watched,
        gateway: &web::Data<Gateway>,
        readers: &Readers,
        draining: &watch::Receiver<bool>,
    ) -> Result<Changes, ApiError> {
        let mut state = self.lock();
        let name = watched.name();
        if let Some(watch) = state.watches.get(&name) {
            return Ok(watch.changes.subscribe());
        }
        if state.watches.len() >= MOST_WATCHED {
            state.watches.retain(|_, watch| !watch.changes.is_closed());
            if state.watches.len() >= MOST_WATCHED {
                return Err(ApiError::TooManyReads { reader: Reader::UsageStream, of_key: false });
            }
        }
        let (changes, receiver) = watch::channel(None);
        state.watches.insert(name, Watch { watched, changes });
        if !state.is_running {
            state.is_running = true;
            let (watchers, gateway, mut draining) = (self.clone(), gateway.clone(), draining.clone());
            readers.background(async move || {
                let running = Running(watchers);
                tokio::select! {
                    () = running.0.run(&gateway) => {}
                    _ = draining.wait_for(|draining| *draining) => running.0.end(),
                }
            });
        }
        Ok(receiver)
    }

    /// Checks for changes while there is a stream.
    async fn run(&self, gateway: &Gateway) {
        loop {
            let began = Instant::now();
            let watches = {
                let mut state = self.lock();
                state.watches.retain(|_, watch| !watch.changes.is_closed());
                if state.watches.is_empty() {
                    state.is_running = false;
                    return;
                }
                state.watches.values().map(|watch| (watch.watched.clone(), watch.changes.clone())).collect::<Vec<_>>()
            };
            let round =
                LOOK.max(Duration::from_secs(1) * u32::try_from(watches.len()).unwrap_or(u32::MAX) / READS_PER_SECOND);
            let pause = round / u32::try_from(watches.len()).unwrap_or(u32::MAX);
            let reads = stream::iter(watches.into_iter().enumerate()).map(|(place, (watched, changes))| async move {
                // Spread over the round to avoid bursts.
                tokio::time::sleep_until(began + pause * u32::try_from(place).unwrap_or(u32::MAX)).await;
                // While Redis is unavailable, nothing changes.
                if let Ok(usage) = watched.read(gateway).await {
                    changes.send_if_modified(|known| {
                        let is_new = known.as_ref().is_none_or(|known| !known.is_like(&usage));
                        if is_new {
                            *known = Some(Arc::new(usage));
                        }
                        is_new
                    });
                }
            });
            reads.buffer_unordered(PARALLEL).for_each(|()| std::future::ready(())).await;
            tokio::time::sleep_until(began + round).await;
        }
    }
}
