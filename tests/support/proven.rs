//! Verifies counters with the ledger, as `quotagate verify` does.

use quotagate::domain::values::ids::{AppId, Mode};
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
    let store = Store::open(redis_url, super::PATIENCE).unwrap();
    let gateway = Gateway::new(store, None);
    let app = AppId::parse("default").unwrap();
    let placement = gateway.placement(&app).await.unwrap();
    let tenant = Tenant { app, mode: Mode::parse(mode).unwrap(), placement };
    gateway.verify(&tenant, None, |_, _| ()).await.unwrap()
}
