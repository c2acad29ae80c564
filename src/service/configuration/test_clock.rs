//! The test clock of a sandbox.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::app_config::{AppConfig, Change};
use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::ids::{AppId, Mode, Sandbox};
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::{Placement, Tenant};
use crate::store::configuration::test_clock::SetClockReply;
use crate::store::keys::Bucket;
use crate::store::metering::operation::Operation;

/// 2500-01-01. The width of times in IDs suffices until later.
const CLOCK_ENDS_MS: TimeMs = 16_725_225_600_000;

impl Gateway {
    /// The time that a bucket's scripts see.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn now(&self, bucket: &Bucket) -> Result<TimeMs, ServiceError> {
        let frozen = if bucket.is_sandbox() { self.store.frozen_ms(bucket).await? } else { None };
        match frozen {
            Some(frozen) => Ok(frozen),
            None => Ok(TimeMs::try_from(self.store.time_us().await? / 1000).unwrap_or(TimeMs::MAX)),
        }
    }

    /// Freezes a sandbox's clock. It only moves forward; in an empty sandbox the first time may be in the past.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn set_test_clock(&self, tenant: &Tenant, time_ms: TimeMs) -> Result<(), ServiceError> {
        only_in_test(tenant)?;
        if time_ms >= CLOCK_ENDS_MS {
            return Err(ServiceError::invalid("now", format!("must be before {}", rfc3339(CLOCK_ENDS_MS))));
        }
        let buckets = tenant.buckets();
        let mut empty = true;
        for bucket in &buckets {
            empty = empty && self.store.user_count(bucket).await? == 0;
        }
        for bucket in &buckets {
            match self.store.set_clock(bucket, time_ms, empty).await? {
                SetClockReply::Frozen => self.clocks.observe_time(bucket, time_ms),
                SetClockReply::Backwards(stands) => {
                    return Err(ServiceError::invalid(
                        "now",
                        format!("must not be before {}, since the clock only moves forward", rfc3339(stands)),
                    ));
                }
                SetClockReply::NotEmpty(now) => {
                    let message = format!(
                        "must not be before now ({}), since the sandbox is not empty; DELETE test-clock empties it",
                        rfc3339(now)
                    );
                    return Err(ServiceError::invalid("now", message));
                }
            }
        }
        Ok(())
    }

    /// The frozen time, if the clock is frozen.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn test_clock(&self, tenant: &Tenant) -> Result<Option<TimeMs>, ServiceError> {
        only_in_test(tenant)?;
        match tenant.buckets().first() {
            Some(bucket) => Ok(self.store.frozen_ms(bucket).await?),
            None => Ok(None),
        }
    }

    /// The app's sandboxes by name, each with its frozen time if there is one.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn sandboxes(&self, tenant: &Tenant) -> Result<Vec<(Sandbox, Option<TimeMs>)>, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        let clock = async |sandbox: Sandbox| {
            let tenant = Tenant { mode: Mode::Test(sandbox.clone()), ..tenant.clone() };
            Ok((sandbox, self.test_clock(&tenant).await?))
        };
        stream::iter(config.sandboxes.iter().cloned()).map(clock).buffered(8).try_collect().await
    }

    /// Empties the sandbox and returns it to real time. Configuration and keys are not changed.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn empty_sandbox(&self, tenant: &Tenant) -> Result<(), ServiceError> {
        only_in_test(tenant)?;
        stream::iter(tenant.buckets().into_iter().map(Ok::<_, ServiceError>))
            .try_for_each_concurrent(8, async |bucket| {
                self.store.empty(&bucket).await?;
                Ok(())
            })
            .await
    }

    /// Registers a sandbox, so that configuration changes are stamped there too.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub(crate) async fn ensure_sandbox(
        &self,
        app: &AppId,
        placement: Placement,
        sandbox: &Sandbox,
    ) -> Result<(), ServiceError> {
        let operation = Operation::new("", None, false);
        self.write_config(app, placement, &operation, 0, async |config, _| {
            let unchanged = config.sandboxes.contains(sandbox);
            Ok(Change { set: vec![AppConfig::sandbox_field(sandbox)], unchanged, ..Change::default() })
        })
        .await
        .map(|_| ())
    }
}

fn only_in_test(tenant: &Tenant) -> Result<(), ServiceError> {
    match tenant.mode {
        Mode::Test(_) => Ok(()),
        Mode::Live => Err(ServiceError::ForbiddenKey("A test clock exists only in test mode.".to_owned())),
    }
}
