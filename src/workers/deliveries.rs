//! Delivers webhooks: a node checks its buckets (`service/nodes/leases.rs`) for new events and due deliveries, and attempts
//! them. It runs outside of metering calls.

mod attempt;
mod resolver;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::WebhookId;
use crate::infra::supervise::{self, Pulse};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::nodes::leases::{Leases, Work};
use crate::service::tenant::Tenant;
use crate::service::webhooks::deliveries::Due;
use crate::store::keys::Bucket;
use crate::store::webhooks::deliveries::AttemptResult;
use attempt::{Answer, Sender};

/// The options of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct DeliverOptions {
    /// Whether receivers may have private addresses.
    pub allow_private: bool,
    /// The time limit of one attempt.
    pub timeout: Duration,
    /// The wait after the first failed attempt, doubled after each further one.
    pub first_wait: Duration,
    /// After this time since the message was created, there are no further attempts.
    pub give_up: Duration,
}

impl Default for DeliverOptions {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout: Duration::from_secs(15),
            first_wait: Duration::from_secs(5),
            give_up: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How often a node checks for events and due deliveries.
const LOOK: Duration = Duration::from_millis(200);
/// How often it checks for entries that a dead node has not finished.
const LOOK_AT_ALL: Duration = Duration::from_secs(5);
/// Concurrent attempts of one node, in total and per webhook, so that a slow receiver does not block the others.
const AT_ONCE: usize = 64;
const AT_ONCE_TO_ONE: usize = 8;
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 60 * 60);

/// The deliveries of one node.
pub struct Deliverer {
    gateway: Arc<Gateway>,
    options: DeliverOptions,
    sender: Sender,
    slots: Arc<Semaphore>,
}

/// The work of this node.
#[derive(Default)]
struct Workload {
    /// Buckets with webhooks.
    buckets: Vec<(Tenant, Bucket)>,
    queues: Vec<Arc<Queue>>,
}

/// One webhook in one mode, with its slots for concurrent attempts.
struct Queue {
    tenant: Tenant,
    webhook: WebhookId,
    slots: Arc<Semaphore>,
}

impl Deliverer {
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(gateway: Arc<Gateway>, options: DeliverOptions) -> Result<Self, reqwest::Error> {
        let sender = Sender::new(options)?;
        Ok(Self { gateway, options, sender, slots: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>, pulse: Pulse) {
        let this = self;
        let leases = Leases::new(Arc::clone(&this.gateway), Work::Webhooks, pulse);
        let mut workload = Workload::default();
        let mut far = tokio::time::Instant::now();
        let mut known = None;
        loop {
            leases.beat().await;
            // A change of any configuration may have added a webhook.
            let changed = (leases.held(), this.gateway.configured());
            let look_at_all = far <= tokio::time::Instant::now();
            let looked = async {
                if known != Some(changed) {
                    workload = this.workload(&workload, &leases).await?;
                    known = Some(changed);
                }
                this.look(&workload, look_at_all, &leases).await
            }
            .await;
            if look_at_all {
                far = tokio::time::Instant::now() + LOOK_AT_ALL;
            }
            if let Err(error) = looked {
                tracing::debug!(?error, "cannot read webhooks; retrying");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The present work; known webhooks keep their slots.
    async fn workload(&self, known: &Workload, leases: &Leases) -> Result<Workload, ServiceError> {
        let mut workload = Workload::default();
        for (tenant, webhooks) in self.gateway.listening(leases).await? {
            workload.buckets.extend(leases.buckets(&tenant).into_iter().map(|bucket| (tenant.clone(), bucket)));
            for webhook in webhooks.into_iter().filter(|_| leases.holds_app(&tenant.app)) {
                let same = |queue: &&Arc<Queue>| queue.tenant == tenant && queue.webhook == webhook;
                workload.queues.push(known.queues.iter().find(same).cloned().unwrap_or_else(|| {
                    let slots = Arc::new(Semaphore::new(AT_ONCE_TO_ONE));
                    Arc::new(Queue { tenant: tenant.clone(), webhook, slots })
                }));
            }
        }
        Ok(workload)
    }

    async fn look(
        self: &Arc<Self>,
        workload: &Workload,
        look_at_all: bool,
        leases: &Leases,
    ) -> Result<(), ServiceError> {
        for (tenant, bucket) in &workload.buckets {
            leases.beat().await;
            self.gateway.fan_out(tenant, bucket, false).await?;
            if look_at_all {
                self.gateway.fan_out(tenant, bucket, true).await?;
            }
        }
        for queue in &workload.queues {
            leases.beat().await;
            self.take(queue).await?;
        }
        Ok(())
    }

    /// Claims due deliveries for the free slots.
    async fn take(self: &Arc<Self>, queue: &Arc<Queue>) -> Result<(), ServiceError> {
        let free = queue.slots.available_permits().min(self.slots.available_permits());
        if free == 0 {
            return Ok(());
        }
        // Longer than an attempt, so that no other node attempts it meanwhile.
        let lease_ms = TimeMs::try_from(self.options.timeout.as_millis() * 2 + 5_000).unwrap_or(TimeMs::MAX);
        for due in self.gateway.claim_due(&queue.tenant, &queue.webhook, free, lease_ms).await? {
            let slots = (Arc::clone(&self.slots).acquire_owned().await, Arc::clone(&queue.slots).acquire_owned().await);
            let this = Arc::clone(self);
            // After a panic, the delivery is due again when its lease expires.
            supervise::once("webhook_attempt", async move {
                this.attempt(due).await;
                drop(slots);
            });
        }
        Ok(())
    }

    async fn attempt(&self, due: Due) {
        let answer = self.sender.send(&due).await;
        let (delivered, code, fault) = match &answer {
            Answer::Accepted(code) => (true, Some(*code), None),
            Answer::Refused(code) => (false, Some(*code), Some(format!("HTTP {code}"))),
            Answer::Failed(what) => (false, None, Some(what.clone())),
        };
        let attempt = AttemptResult {
            delivered,
            code,
            fault: fault.as_deref(),
            wait_ms: TimeMs::try_from(self.wait(due.attempts).as_millis()).unwrap_or(TimeMs::MAX),
            give_up_ms: TimeMs::try_from(self.options.give_up.as_millis()).unwrap_or(TimeMs::MAX),
        };
        if let Err(error) = self.gateway.attempted(&due.tenant, &due.webhook, &due.message, &attempt).await {
            // It is due again when its lease expires.
            tracing::warn!(?error, webhook = %due.webhook, "the result of a delivery could not be stored");
        }
    }

    /// Exponential with jitter: between half and the whole of `first_wait × 2^attempts`.
    fn wait(&self, attempts: u64) -> Duration {
        let doubled = u32::try_from(attempts.min(20)).map_or(u32::MAX, |attempts| 2u32.saturating_pow(attempts));
        let whole = self.options.first_wait.saturating_mul(doubled).min(LONGEST_WAIT);
        whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}
