//! `POST whatif`: a draft tried on what was recorded last.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::ids::{PlanId, PolicyId};
use crate::http::middleware::readers::{Reader, SharedReaders};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Body;
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::simulation::recent::{Draft, ENTRIES, LEAST_ENTRIES, MOST_ENTRIES, RecentReport};

/// A plan or a policy, as putting it would take it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhatifBody {
    /// With its `id`. Instead of `policy`.
    plan: Option<PlanBody>,
    /// With its `id`. Instead of `plan`.
    policy: Option<PolicyBody>,
    /// The plan whose users get the one in `plan`; default: that plan's own users.
    #[schema(value_type = Option<String>)]
    users_of: Option<PlanId>,
    /// At most so many of the newest entries of the ledger and the denials, 100 to 50000, default 20000.
    entries: Option<usize>,
}

/// What is drafted: a plan or a policy, with its id.
///
/// # Errors
/// invalid_request
pub fn draft(plan: Option<PlanBody>, policy: Option<PolicyBody>, instead: Option<PlanId>) -> Result<Draft, ApiError> {
    let missing = |field: &str| ApiError::invalid(field, "is missing");
    match (plan, policy, instead) {
        (Some(body), None, instead) => {
            let id = body.id.as_deref().ok_or_else(|| missing("plan.id"))?;
            let id = PlanId::parse(id).map_err(|error| ApiError::invalid("plan.id", error.to_string()))?;
            Ok(Draft::Plan { id, body: Box::new(body), instead })
        }
        (None, Some(body), None) => {
            let id = body.id.as_deref().ok_or_else(|| missing("policy.id"))?;
            let id = PolicyId::parse(id).map_err(|error| ApiError::invalid("policy.id", error.to_string()))?;
            Ok(Draft::Policy { id, body: Box::new(body) })
        }
        (None, Some(_), Some(_)) => Err(ApiError::invalid("usersOf", "goes with `plan` only")),
        (Some(_), Some(_), _) => Err(ApiError::invalid("policy", "stands instead of `plan`, not beside it")),
        (None, None, _) => Err(ApiError::invalid("plan", "is missing; or give `policy`")),
    }
}

/// Try a plan or a policy on what was recorded last: who would have been denied what, and what it would have cost
///
/// Nothing is written. At most `entries` of the newest entries are replayed, and reading ends after five seconds; `cut`
/// tells whether that left something out, `since` where it begins, and `presentRules` how well a replay of the present
/// rules meets what happened. A node replays one draft at a time; up to ten are under way or wait. `quotagate whatif`
/// replays everything.
#[utoipa::path(post, path = "/api/v1/whatif", tag = "What-if", request_body = WhatifBody,
    responses((status = 200, body = RecentReport), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn whatif(
    principal: Principal,
    body: Body<WhatifBody>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let body = body.read().await?.value;
    let entries = body.entries.unwrap_or(ENTRIES);
    if !(LEAST_ENTRIES..=MOST_ENTRIES).contains(&entries) {
        return Err(ApiError::invalid("entries", format!("must be {LEAST_ENTRIES} to {MOST_ENTRIES}")));
    }
    let draft = draft(body.plan, body.policy, body.users_of)?;
    let tried = readers.run(Reader::Whatif, principal, async move |principal| {
        Ok(principal.gateway.whatif_recent(&principal.tenant, &draft, entries).await?)
    });
    Ok(HttpResponse::Ok().json(tried.await?))
}
