//! `POST explain`: how an unsaved plan or policy treats a call.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::views::ExplainedGroupView;
use crate::domain::configuration::plan_body::PlanBody;
use crate::domain::configuration::policy_body::PolicyBody;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::EventName;
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::metering::call::one;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::simulation::whatif::draft;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Body;
use crate::http::wire::problem::{ApiError, Problem};
use crate::service::metering::call::CallItem;
use crate::service::simulation::recent::Draft;

/// An unsaved plan or policy, and a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainDraftBody {
    /// A plan with its `id`; cannot be combined with `policy`.
    plan: Option<PlanBody>,
    /// A policy with its `id`; cannot be combined with `plan`.
    policy: Option<PolicyBody>,
    #[schema(value_type = String)]
    event: EventName,
    #[serde(default = "one")]
    #[schema(value_type = NumberOrText, default = 1)]
    quantity: Number,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    metadata: Metadata,
}

impl ExplainDraftBody {
    fn check(&self) -> Result<(Draft, CallItem), Vec<FieldError>> {
        let mut faults = Faults::default();
        let draft = faults.take(draft(self.plan.clone(), self.policy.clone(), None));
        let (event, metadata) = (self.event.clone(), self.metadata.clone());
        let item = CallItem { event, quantity: self.quantity, metadata };
        faults.0.extend(item.faults());
        faults.or(draft.map(|draft| (draft, item)))
    }
}

/// How the groups of a draft treat a call.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedDraftView {
    /// The groups of the draft; for a plan, the groups of the policies too.
    groups: Vec<ExplainedGroupView>,
}

/// Test the rules of an unsaved plan or policy: which groups match a call, and why the others do not
///
/// The call is not tied to a user or a key. No counter is read, and nothing is written.
#[utoipa::path(post, path = "/api/v1/explain", tag = "Usage", operation_id = "explain_draft", request_body = ExplainDraftBody,
    responses((status = 200, body = ExplainedDraftView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn explain_draft(
    principal: Principal,
    body: Body<ExplainDraftBody>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let (draft, item) = body.read_as(ExplainDraftBody::check).await?.value;
    let event = item.event.to_string();
    let groups = readers.run(Reader::Page, principal, async move |principal| {
        let traced = principal.gateway.explain_draft(&principal.tenant, &draft, &item).await?;
        Ok(traced.iter().map(|traced| ExplainedGroupView::traced(&event, traced)).collect())
    });
    Ok(HttpResponse::Ok().json(ExplainedDraftView { groups: groups.await? }))
}
