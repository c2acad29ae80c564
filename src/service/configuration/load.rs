//! An app's configuration: loads and caches it, and writes it with a stamp in every bucket before the call returns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};
use serde::de::DeserializeOwned;

use super::app_config::{AppConfig, Change, VersionDocument};
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::metering::reservation::{RequestSnapshot, Rules};
use crate::domain::values::ids::{AppId, Mode, PlanId, PolicyId};
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::configuration::configure::{ConfigureArgs, ConfigureReply};
use crate::store::keys::{Bucket, Versioned};
use crate::store::metering::operation::Operation;

/// How often a configuration write is retried after losing a race.
const WRITE_ROUNDS: usize = 20;

/// Writers announce changes before they write. A configuration that was announced is checked with every poll for this
/// long.
const ANNOUNCED: Duration = Duration::from_secs(3);

impl Gateway {
    /// A number that changes whenever an app is created or deleted, or a cached configuration changes.
    pub fn configured(&self) -> u64 {
        self.configs.changes()
    }

    /// The cached configuration, loaded if necessary.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn config(&self, app: &AppId) -> Result<Arc<AppConfig>, ServiceError> {
        match self.configs.cached(app) {
            Some(config) => Ok(config),
            None => Box::pin(self.load_config(app)).await,
        }
    }

    /// The configuration as it is in Redis now.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn load_config(&self, app: &AppId) -> Result<Arc<AppConfig>, ServiceError> {
        let config = Arc::new(self.read_config(app).await?);
        self.configs.put(app, Arc::clone(&config));
        Ok(config)
    }

    /// Reads the configuration, then makes sure that it was read from this node's data. Scripts compare its revision
    /// with the bucket's stamp, so the configuration of another store would pass for that store's buckets.
    async fn read_config(&self, app: &AppId) -> Result<AppConfig, ServiceError> {
        let documents = self.store.configuration(app).await?;
        self.store.verify_identity().await?;
        AppConfig::read(documents)
    }

    /// Handles a bucket that has not seen the revision of `config`: a writer is about to stamp it, or died before it
    /// did, or a failover lost the stamp, or the data belong to another store. Loads the configuration from Redis and
    /// stamps the bucket with it.
    /// # Errors
    /// [`ServiceError`], also if Redis has other data than this node expects.
    pub(crate) async fn stamp_bucket(
        &self,
        app: &AppId,
        bucket: &Bucket,
        config: &AppConfig,
    ) -> Result<Arc<AppConfig>, ServiceError> {
        let stored = Arc::new(self.read_config(app).await?);
        self.configs.replace(app, config.revision, Arc::clone(&stored));
        if stored.revision > 0 {
            self.store.stamp(bucket, stored.revision).await?;
        }
        Ok(stored)
    }

    /// Handles a bucket with the stamp `stamp`. If a failover lost the document with that revision, the document is
    /// published again above the stamp.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn catch_up(&self, tenant: &Tenant, stamp: u64) -> Result<(), ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        if config.revision >= stamp {
            return Ok(());
        }
        tracing::warn!(app = %tenant.app, stamp, revision = config.revision, "the configuration is older than its stamp; publishing it again");
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, stamp, async |_, _| Ok(Change::default()))
            .await
            .map(|_| ())
    }

    /// [`Gateway::write_config`] with a document as answer.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn write_document<T: DeserializeOwned>(
        &self,
        tenant: &Tenant,
        operation: &Operation,
        change: impl AsyncFn(&AppConfig, u64) -> Result<Change, ServiceError>,
    ) -> Result<T, ServiceError> {
        let text = self.write_config(&tenant.app, tenant.placement, operation, 0, change).await?;
        serde_json::from_str(&text).map_err(|_| ServiceError::IdempotencyKeyReused)
    }

    /// Changes the configuration. `change` receives the present one and the new revision, and is called again if
    /// another writer was first. Every bucket of every mode is stamped before this returns, so the change is effective
    /// from the next call on every node. Returns the answer of `change`, or the stored answer of the same operation.
    ///
    /// # Errors
    /// [`ServiceError`], also from `change`.
    pub(crate) async fn write_config(
        &self,
        app: &AppId,
        placement: Placement,
        operation: &Operation,
        above: u64,
        change: impl AsyncFn(&AppConfig, u64) -> Result<Change, ServiceError>,
    ) -> Result<String, ServiceError> {
        for _ in 0..WRITE_ROUNDS {
            match self.store.configured_before(app, operation).await? {
                Some(ConfigureReply::Before(answer)) => return Ok(answer),
                Some(_) => return Err(ServiceError::IdempotencyKeyReused),
                None => {}
            }
            let present = self.load_config(app).await?;
            let revision = self.store.time_us().await?.max(present.revision + 1).max(above + 1);
            let wanted = change(&present, revision).await?;
            // A client's key is stored even if nothing else is written.
            if wanted.unchanged && !operation.is_kept() {
                return Ok(wanted.answer);
            }
            let args = ConfigureArgs {
                app,
                operation,
                expected: present.revision,
                revision,
                answer: &wanted.answer,
                set: &wanted.set,
                delete: &wanted.delete,
                versions: &wanted.versions,
                audit_entries: &wanted.audit_entries,
            };
            // Announced before the write, so that other nodes notice it even if this node dies in between.
            let announced = Instant::now();
            self.store.announce_configuration(app).await?;
            match self.store.configure(args).await? {
                ConfigureReply::Stale => continue,
                ConfigureReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
                ConfigureReply::Before(answer) => return Ok(answer),
                ConfigureReply::Configured => {}
            }
            if announced.elapsed() > ANNOUNCED / 2 {
                self.store.announce_configuration(app).await?;
            }
            let config = self.load_config(app).await?;
            self.stamp_all(app, placement, &config).await?;
            return Ok(wanted.answer);
        }
        Err(ServiceError::StoreUnavailable("the configuration kept changing".to_owned()))
    }

    async fn stamp_all(&self, app: &AppId, placement: Placement, config: &AppConfig) -> Result<(), ServiceError> {
        let modes = std::iter::once(Mode::Live).chain(config.sandboxes.iter().cloned().map(Mode::Test));
        let buckets = modes.flat_map(|mode| Tenant { app: app.clone(), mode, placement }.buckets());
        stream::iter(buckets.map(Ok::<_, ServiceError>))
            .try_for_each_concurrent(32, async |bucket| {
                self.store.stamp(&bucket, config.revision).await?;
                Ok(())
            })
            .await
    }

    /// Loads configurations that changed on other nodes, according to the change count. Needed for background work,
    /// and if a writer died between two stamps.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn follow_configs(&self, count: u64, pulse: &Pulse) -> Result<(), ServiceError> {
        let known = self.configs.announced().count;
        if count != known {
            // A lower count means that a failover lost changes, and it is unknown which ones.
            let apps = if count > known { self.store.announced_since(known).await? } else { self.configs.apps() };
            let mut announced = self.configs.announced();
            announced.count = count;
            announced.apps.extend(apps.into_iter().map(|app| (app, Instant::now())));
        }
        let announced: Vec<(AppId, Instant)> =
            self.configs.announced().apps.iter().map(|(app, announced_at)| (app.clone(), *announced_at)).collect();
        for (app, announced_at) in announced {
            pulse.beat().await;
            let is_over = announced_at.elapsed() > ANNOUNCED;
            if let Some(present) = self.configs.cached(&app)
                && self.store.configuration_revision(&app).await? != present.revision
            {
                let config = self.read_config(&app).await?;
                self.configs.replace(&app, present.revision, Arc::new(config));
            }
            if is_over {
                self.configs.announced().apps.remove(&app);
            }
        }
        Ok(())
    }

    /// The plan version that a reservation was made with.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if the version is no longer stored.
    pub(crate) async fn plan_version(&self, app: &AppId, id: &PlanId, version: u64) -> Result<Arc<Plan>, ServiceError> {
        let config = self.config(app).await?;
        if let Some(plan) = config.plan(id).filter(|plan| plan.version == version) {
            return Ok(Arc::clone(plan));
        }
        let key = (app.clone(), id.clone(), version);
        if let Some(plan) = self.versions.get(&key) {
            return Ok(plan);
        }
        let text = self.store.version(app, &Versioned::Plan(id.clone()), version).await?;
        let text = text.ok_or_else(|| ServiceError::Internal(format!("version {version} of plan {id} is gone")))?;
        let plan = Arc::new(VersionDocument::<PlanBody>::read(&text)?.plan(id, version)?);
        self.versions.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// The policy version that a reservation was made with.
    async fn policy_version(&self, app: &AppId, id: &PolicyId, version: u64) -> Result<Arc<Policy>, ServiceError> {
        let config = self.config(app).await?;
        if let Some(policy) = config.policy(id).filter(|policy| policy.version == version) {
            return Ok(Arc::clone(policy));
        }
        let key = (app.clone(), id.clone(), version);
        if let Some(policy) = self.policy_versions.get(&key) {
            return Ok(policy);
        }
        let text = self.store.version(app, &Versioned::Policy(id.clone()), version).await?;
        let text = text.ok_or_else(|| ServiceError::Internal(format!("version {version} of policy {id} is gone")))?;
        let policy = Arc::new(VersionDocument::<PolicyBody>::read(&text)?.policy(id, version)?);
        self.policy_versions.insert(key, Arc::clone(&policy));
        Ok(policy)
    }

    /// The rules that a reservation was made with.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn rules(&self, app: &AppId, snapshot: &RequestSnapshot) -> Result<Rules, ServiceError> {
        let plan = match (&snapshot.plan, &snapshot.rules) {
            (None, _) => None,
            (Some(plan), None) => Some(self.plan_version(app, plan, snapshot.version).await?),
            (Some(plan), Some(body)) => Plan::validate(plan, snapshot.version, body.as_ref().clone())
                .map(|plan| Some(Arc::new(plan)))
                .map_err(|_| ServiceError::Internal("the rules of a reservation".to_owned()))?,
        };
        let mut policies = Vec::new();
        for (id, version) in &snapshot.policies {
            policies.push(self.policy_version(app, id, *version).await?);
        }
        Ok(Rules { plan, policies })
    }
}
