//! Verifies counters with the ledger, as `quotagate verify` does.

use quotagate::domain::values::ids::{AppId, Mode};
use quotagate::service::error::ServiceError;
use quotagate::service::gateway::Gateway;
use quotagate::service::reporting::verify::{LocatedDrift, Verified};
use quotagate::service::tenant::Tenant;
use quotagate::store::Store;

/// What `quotagate verify` would find in the default app.
pub async fn drifts(redis_url: &str, mode: &str) -> Vec<LocatedDrift> {
    verified(redis_url, mode).await.drifts
}

/// The same, with the number of entries and owners that were checked.
pub async fn verified(redis_url: &str, mode: &str) -> Verified {
    verified_app(redis_url, "default", mode).await
}

/// The same for any app.
pub async fn verified_app(redis_url: &str, app: &str, mode: &str) -> Verified {
    let gateway = gateway(redis_url);
    let tenant = tenant_of(&gateway, app, mode).await;
    reached(async || gateway.verify(&tenant, None, |_, _| ()).await).await
}

/// A gateway without a server.
pub fn gateway(redis_url: &str) -> Gateway {
    Gateway::new(Store::open(redis_url, super::PATIENCE).unwrap(), None)
}

/// The default app.
pub async fn tenant(gateway: &Gateway, mode: &str) -> Tenant {
    tenant_of(gateway, "default", mode).await
}

async fn tenant_of(gateway: &Gateway, app: &str, mode: &str) -> Tenant {
    let app = AppId::parse(app).unwrap();
    let placement = reached(async || gateway.placement(&app).await).await;
    Tenant { app, mode: Mode::parse(mode).unwrap(), placement }
}

/// Repeats a read while the store is unavailable: a failover may be under way.
async fn reached<T>(read: impl AsyncFn() -> Result<T, ServiceError>) -> T {
    let mut found = None;
    super::eventually("the store is available", async || {
        let answer = read().await;
        let is_there = !matches!(answer, Err(ServiceError::StoreUnavailable(_)));
        found = Some(answer);
        is_there
    })
    .await;
    found.unwrap().unwrap()
}
