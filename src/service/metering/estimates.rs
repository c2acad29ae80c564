//! Learned estimates: a background task reads the rows of each mode that is in use, and a call only looks up a map.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Call, CallItem};
use super::facts::CallFacts;
use super::known_estimates::KnownEstimates;
use crate::domain::configuration::estimate::{Estimate, LearnedValues};
use crate::domain::configuration::measure::Measure;
use crate::domain::reporting::rollup::learned_row;
use crate::infra::supervise::Pulse;
use crate::service::configuration::app_config::AppConfig;
use crate::service::error::ServiceError;
use crate::service::gateway::Gateway;
use crate::service::tenant::Tenant;

/// How often the node checks which modes to read, and how long it waits after an error.
const LOOK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

impl Gateway {
    /// The estimates for a call; None if the app learns none, or if this node has not read them recently.
    pub(super) fn known_estimates(&self, tenant: &Tenant, config: &AppConfig) -> Option<Arc<KnownEstimates>> {
        if config.learned.is_empty() { None } else { self.estimates.recent(tenant, config.revision) }
    }

    /// Reads the estimates of the modes in use until it is dropped.
    pub async fn follow_estimates(&self, pulse: Pulse) {
        loop {
            pulse.beat().await;
            for tenant in self.estimates.due() {
                let refreshed = self.refresh_estimates(&tenant, &pulse).await.inspect_err(|error| {
                    tracing::debug!(?error, app = %tenant.app, mode = %tenant.mode, "cannot read estimates; retrying");
                });
                if refreshed.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // Earlier if a call wants those of another mode.
            let _ = tokio::time::timeout(LOOK, self.estimates.wanted.notified()).await;
        }
    }

    async fn refresh_estimates(&self, tenant: &Tenant, pulse: &Pulse) -> Result<(), ServiceError> {
        let began = Instant::now();
        let config = self.config(&tenant.app).await?;
        let rows = self.estimate_rows(tenant, pulse).await?;
        self.estimates.put(tenant, KnownEstimates::new(began, &config, &rows));
        Ok(())
    }
}

impl CallFacts {
    /// The learned estimates that the call needs, by item; empty if the app learns none.
    pub(in crate::service) fn learned(&self, call: &Call) -> Vec<LearnedValues> {
        if !call.allowed_with.is_empty() {
            return call.allowed_with.clone();
        }
        if self.config.learned.is_empty() {
            return Vec::new();
        }
        let values = call.items.iter().enumerate().map(|(place, item)| {
            let fit = call.fit.as_ref().filter(|fit| fit.item == place && fit.wish.is_none());
            self.learned_by(item, fit.map(|fit| fit.field.as_str()))
        });
        values.collect()
    }

    /// The learned estimates that one event needs: of the figures that it does not have, and of `fitted`, which it has
    /// only with its least value. If several groups learn a figure, the largest estimate counts for all of them.
    pub(in crate::service) fn learned_by(&self, item: &CallItem, fitted: Option<&str>) -> LearnedValues {
        let mut values = LearnedValues::default();
        if self.config.learned.is_empty() {
            return values;
        }
        let event = item.event.as_str();
        for group in self.effective_limits().groups() {
            let Some(rule) = group.matching_rule(event, &item.metadata) else { continue };
            let Measure::Weighted(weighted) = group.measure_of(rule) else { continue };
            for (field, estimate) in &weighted.estimate {
                let Estimate::Learned(estimate) = estimate else { continue };
                if item.metadata.get(field).is_none() || fitted == Some(field.as_str()) {
                    let row = learned_row(event, &estimate.by, &item.metadata);
                    let quantile = self.estimates.as_ref().and_then(|known| known.quantile(estimate, field, row));
                    values.raise(field, estimate.value(quantile));
                }
            }
        }
        values
    }
}
