//! An app's configuration: loaded, kept at hand, and written with a stamp in every bucket before the answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};

use super::app_config::{AppConfig, VersionDocument};
use crate::domain::configuration::plan::Plan;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy::Policy;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::metering::reservation::{Memo, Rules};
use crate::domain::values::ids::{AppId, Mode, PlanId, PolicyId};
use crate::infra::supervise::Pulse;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::access::audit::Trail;
use crate::store::configuration::configure::{ConfigureArgs, ConfigureReply};
use crate::store::keys::{Bucket, Versioned};
use crate::store::metering::operation::Operation;

/// How often a configuration write that lost a race is tried again.
const WRITE_ROUNDS: usize = 20;

/// A configuration that was announced to change is looked at with every poll for so long: writers announce first.
const ANNOUNCED: Duration = Duration::from_secs(3);

/// The configurations that this node has at hand.
#[derive(Default)]
pub struct Configs {
    at_hand: RwLock<HashMap<AppId, Arc<AppConfig>>>,
    announced: Mutex<Announced>,
    /// Counts what becomes of those at hand.
    changes: AtomicU64,
}

/// The configurations that are about to change.
#[derive(Default)]
struct Announced {
    /// Up to this count of changes.
    count: u64,
    /// With when this node heard of it.
    apps: HashMap<AppId, Instant>,
}

impl Configs {
    /// What this node has of it, however old.
    pub(crate) fn at_hand(&self, app: &AppId) -> Option<Arc<AppConfig>> {
        self.at_hand.read().unwrap_or_else(PoisonError::into_inner).get(app).cloned()
    }

    /// Keeps the newer one.
    fn put(&self, app: &AppId, config: Arc<AppConfig>) {
        let mut configs = self.at_hand.write().unwrap_or_else(PoisonError::into_inner);
        let present = configs.entry(app.clone()).or_insert_with(|| Arc::clone(&config));
        if present.revision < config.revision {
            *present = config;
            self.has_changed();
        }
    }

    /// Puts what Redis has in the place of what was at `seen`, also if its revision is lower: another app of the name.
    fn replace(&self, app: &AppId, seen: u64, config: Arc<AppConfig>) {
        let mut configs = self.at_hand.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = configs.get_mut(app).filter(|present| present.revision == seen) {
            *present = config;
            self.has_changed();
        }
    }

    pub(crate) fn forget(&self, app: &AppId) {
        self.at_hand.write().unwrap_or_else(PoisonError::into_inner).remove(app);
        self.has_changed();
    }

    pub(crate) fn apps(&self) -> Vec<AppId> {
        self.at_hand.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// An app, or its configuration, is another one than before.
    pub(in crate::service) fn has_changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a write puts into the configuration.
#[derive(Debug, Default)]
pub struct Change {
    pub set: Vec<(String, String)>,
    pub delete: Vec<String>,
    /// Plans and policies with their document at the new revision; None for one that is deleted.
    pub versions: Vec<(Versioned, Option<String>)>,
    /// For the audit log.
    pub trails: Vec<Trail>,
    /// What to tell, now and for the idempotency key.
    pub answer: String,
    /// Nothing differs: tell the answer, write nothing.
    pub unchanged: bool,
}

impl Gateway {
    /// A number that changes whenever an app comes or goes, or a configuration at hand changes.
    pub fn configured(&self) -> u64 {
        self.configs.changes.load(Ordering::Relaxed)
    }

    /// The configuration at hand, loaded if there is none.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn config(&self, app: &AppId) -> Result<Arc<AppConfig>, ServiceError> {
        match self.configs.at_hand(app) {
            Some(config) => Ok(config),
            None => Box::pin(self.load_config(app)).await,
        }
    }

    /// The configuration as Redis has it now.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn load_config(&self, app: &AppId) -> Result<Arc<AppConfig>, ServiceError> {
        let config = Arc::new(AppConfig::read(self.store.configuration(app).await?)?);
        if config.revision == 0 {
            // No app is without one for longer than a moment.
            self.store.verify_identity().await?;
        }
        self.configs.put(app, Arc::clone(&config));
        Ok(config)
    }

    /// A bucket has not seen the revision of `config` yet: somebody is about to stamp it, or died before, or a failover
    /// lost the stamp; or it is the data of another store. Takes over what Redis has and stamps the bucket with that.
    ///
    /// # Errors
    /// [`ServiceError`], also if Redis holds other data than this node's.
    pub(crate) async fn stamp_bucket(
        &self,
        app: &AppId,
        bucket: &Bucket,
        config: &AppConfig,
    ) -> Result<Arc<AppConfig>, ServiceError> {
        self.store.verify_identity().await?;
        let stored = Arc::new(AppConfig::read(self.store.configuration(app).await?)?);
        self.configs.replace(app, config.revision, Arc::clone(&stored));
        if stored.revision > 0 {
            self.store.stamp(bucket, stored.revision).await?;
        }
        Ok(stored)
    }

    /// A bucket has seen `stamp`. A document below it was lost in a failover: it is published anew above the stamp.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn catch_up(&self, tenant: &Tenant, stamp: u64) -> Result<(), ServiceError> {
        self.store.verify_identity().await?;
        let config = self.load_config(&tenant.app).await?;
        if config.revision >= stamp {
            return Ok(());
        }
        tracing::warn!(app = %tenant.app, stamp, revision = config.revision, "configuration is behind its stamp: publishing it anew");
        let operation = Operation::new("", None, false);
        self.write_config(&tenant.app, tenant.placement, &operation, stamp, async |_, _| Ok(Change::default()))
            .await
            .map(|_| ())
    }

    /// Changes the configuration: `change` sees the present one and the revision to be, and is asked again if another
    /// writer was first. Every bucket of every mode is stamped before this answers, so the change binds on the next
    /// call on every node. Answers what `change` told, or what the same operation was told before.
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
            // A client's key is kept, although nothing else is written.
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
                trails: &wanted.trails,
            };
            // Before, so that nodes hear of it although this one may die in between.
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

    /// Takes over configurations that have changed elsewhere, as the count of changes tells; for what looks at them beside
    /// calls, and for a writer that died between two stamps.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn follow_configs(&self, count: u64, pulse: &Pulse) -> Result<(), ServiceError> {
        let known = self.configs.announced().count;
        if count != known {
            // A lower count: a failover has lost some changes, whichever.
            let apps = if count > known { self.store.announced_since(known).await? } else { self.configs.apps() };
            let mut announced = self.configs.announced();
            announced.count = count;
            announced.apps.extend(apps.into_iter().map(|app| (app, Instant::now())));
        }
        let announced: Vec<(AppId, Instant)> =
            self.configs.announced().apps.iter().map(|(app, heard)| (app.clone(), *heard)).collect();
        for (app, heard) in announced {
            pulse.beat().await;
            let is_over = heard.elapsed() > ANNOUNCED;
            if let Some(present) = self.configs.at_hand(&app)
                && self.store.configuration_revision(&app).await? != present.revision
            {
                let config = AppConfig::read(self.store.configuration(&app).await?)?;
                self.configs.replace(&app, present.revision, Arc::new(config));
            }
            if is_over {
                self.configs.announced().apps.remove(&app);
            }
        }
        Ok(())
    }

    /// A plan at a version, which a reservation was made under.
    ///
    /// # Errors
    /// [`ServiceError`]; not found if the version is not kept.
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

    /// A policy at a version, which a reservation was made under.
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

    /// The rules that a reservation was made under.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn rules(&self, app: &AppId, memo: &Memo) -> Result<Rules, ServiceError> {
        let plan = match (&memo.plan, &memo.rules) {
            (None, _) => None,
            (Some(plan), None) => Some(self.plan_version(app, plan, memo.version).await?),
            (Some(plan), Some(body)) => Plan::validate(plan, memo.version, body.as_ref().clone())
                .map(|plan| Some(Arc::new(plan)))
                .map_err(|_| ServiceError::Internal("the rules of a reservation".to_owned()))?,
        };
        let mut policies = Vec::new();
        for (id, version) in &memo.policies {
            policies.push(self.policy_version(app, id, *version).await?);
        }
        Ok(Rules { plan, policies })
    }
}
