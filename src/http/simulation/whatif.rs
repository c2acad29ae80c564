//! `POST whatif`: replays recent calls against a draft.

use actix_web::HttpResponse;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{PlanId, PolicyId};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Body;
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::simulation::recent::{Draft, ENTRIES, LEAST_ENTRIES, MOST_ENTRIES, RecentReport};

/// A draft of a plan or policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhatifBody {
    /// A plan with its `id`; cannot be combined with `policy`.
    plan: Option<PlanBody>,
    /// A policy with its `id`; cannot be combined with `plan`.
    policy: Option<PolicyBody>,
    /// Replay with the users of this plan; default: the users of the drafted plan.
    #[schema(value_type = Option<String>)]
    users_of: Option<PlanId>,
    /// How many of the newest ledger and denial entries to replay, 100 to 50000; default 20000.
    entries: Option<usize>,
}

impl WhatifBody {
    fn check(&self) -> Result<(Draft, usize), Vec<FieldError>> {
        let mut faults = Faults::default();
        let entries = self.entries.unwrap_or(ENTRIES);
        if !(LEAST_ENTRIES..=MOST_ENTRIES).contains(&entries) {
            faults.add("entries", format!("must be between {LEAST_ENTRIES} and {MOST_ENTRIES}"));
        }
        let draft = faults.take(draft(self.plan.clone(), self.policy.clone(), self.users_of.clone()));
        faults.or(draft.map(|draft| (draft, entries)))
    }
}

/// The draft: a plan or a policy, with its `id`.
///
/// # Errors
/// The fields do not fit together, or the `id` is not valid.
pub fn draft(plan: Option<PlanBody>, policy: Option<PolicyBody>, instead: Option<PlanId>) -> Result<Draft, FieldError> {
    let missing = |field: &str| FieldError::new(field, "is required");
    match (plan, policy, instead) {
        (Some(body), None, instead) => {
            let id = body.id.as_deref().ok_or_else(|| missing("plan.id"))?;
            let id = PlanId::parse(id).map_err(|error| FieldError::new("plan.id", error.to_string()))?;
            Ok(Draft::Plan { id, body: Box::new(body), instead })
        }
        (None, Some(body), None) => {
            let id = body.id.as_deref().ok_or_else(|| missing("policy.id"))?;
            let id = PolicyId::parse(id).map_err(|error| FieldError::new("policy.id", error.to_string()))?;
            Ok(Draft::Policy { id, body: Box::new(body) })
        }
        (None, Some(_), Some(_)) => Err(FieldError::new("usersOf", "can only be combined with `plan`")),
        (Some(_), Some(_), _) => Err(FieldError::new("policy", "cannot be combined with `plan`")),
        (None, None, _) => Err(FieldError::new("plan", "is required; provide `plan` or `policy`")),
    }
}

/// Replay recent calls against a draft of a plan or policy: which calls would be denied, and what they would cost
///
/// Nothing is written. At most `entries` of the newest entries are replayed, and reading stops after five seconds.
/// `cut` says whether entries were left out, `since` where the replay begins, and `presentRules` how closely a replay
/// of the present rules matches what happened. A node replays one draft at a time; up to ten run or wait. `quotagate
/// whatif` replays everything.
#[utoipa::path(post, path = "/api/v1/whatif", tag = "What-if", request_body = WhatifBody,
    responses((status = 200, body = RecentReport), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn whatif(
    principal: Principal,
    body: Body<WhatifBody>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let (draft, entries) = body.read_as(WhatifBody::check).await?.value;
    let tried = readers.run(Reader::Whatif, principal, async move |principal| {
        Ok(principal.gateway.whatif_recent(&principal.tenant, &draft, entries).await?)
    });
    Ok(HttpResponse::Ok().json(tried.await?))
}
