//! `POST` and `DELETE subscriptions`.

use std::sync::Arc;

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::accounts::custom_limits::CustomLimits;
use crate::domain::accounts::subscription::Upsert;
use crate::domain::time::window::TimeMs;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{PlanId, UserId};
use crate::domain::values::number::explicit_null;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, DryRun, ParsedBody, Query, check_note, time};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::CounterView;
use crate::service::accounts::subscription_preview::{Effect, SubscriptionPreview};
use crate::service::accounts::subscriptions::{GroupRegistration, SubscriptionView, SubscriptionWrite};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscribeBody {
    #[schema(value_type = String)]
    user_id: UserId,
    #[schema(value_type = String)]
    plan_id: PlanId,
    /// RFC 3339, not in the future. Default: now, or unchanged on the same plan.
    started_at: Option<String>,
    /// RFC 3339; the time from which windows are counted instead. Null clears it.
    #[serde(default, deserialize_with = "explicit_null")]
    #[schema(value_type = Option<String>)]
    cycle_start: Option<Option<String>>,
    /// RFC 3339; the subscription ends then. Null clears it.
    #[serde(default, deserialize_with = "explicit_null")]
    #[schema(value_type = Option<String>)]
    ends_at: Option<Option<String>>,
    /// `{groupId: {quota}}`, or a whole plan body that replaces the plan's limits. Null clears them. They are dropped
    /// when the user moves to another plan.
    #[serde(default, deserialize_with = "explicit_null")]
    #[schema(value_type = Option<Object>)]
    custom_limits: Option<Option<serde_json::Value>>,
    /// With another anchor or plan: start at 0.
    #[serde(default)]
    reset_usage: bool,
    /// The reason; recorded in the audit log if something changes. At most 1,024 bytes.
    note: Option<String>,
}

fn clearable(field: &str, text: Option<Option<&str>>, faults: &mut Faults) -> Option<Option<TimeMs>> {
    text.map(|text| time(field, text, faults))
}

/// A checked body.
struct Subscribe {
    user: UserId,
    upsert: Upsert,
    note: Option<String>,
}

impl SubscribeBody {
    fn check(&self) -> Result<Subscribe, Vec<FieldError>> {
        let mut faults = Faults::default();
        let started_at_ms = time("startedAt", self.started_at.as_deref(), &mut faults);
        let cycle_start_ms = clearable("cycleStart", self.cycle_start.as_ref().map(Option::as_deref), &mut faults);
        let ends_at_ms = clearable("endsAt", self.ends_at.as_ref().map(Option::as_deref), &mut faults);
        let limits = self.custom_limits.as_ref().map(|value| value.as_ref().map(CustomLimits::parse).transpose());
        let limits = limits.transpose().unwrap_or_else(|more| {
            faults.0.extend(more);
            None
        });
        check_note("note", self.note.as_deref(), &mut faults);
        let upsert = Upsert {
            plan: self.plan_id.clone(),
            custom_limits: limits.map(|limits| limits.map(Arc::new)),
            started_at_ms,
            cycle_start_ms,
            ends_at_ms,
            reset_usage: self.reset_usage,
        };
        faults.or(Some(Subscribe { user: self.user_id.clone(), upsert, note: self.note.clone() }))
    }
}

/// The subscription; with `dryRun`, the effect on the counters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PutSubscription {
    Subscription(Box<SubscriptionView>),
    Preview(SubscriptionPreviewView),
}

/// How a subscription would change the user's counters. Nothing was written.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionPreviewView {
    subscription: SubscriptionView,
    /// Counters of the plan's groups that count per user.
    counters: Vec<MovedCounterView>,
    /// Groups, without balances, that only the present plan has. They end, unless a policy has the same group.
    ended_group_ids: Vec<String>,
}

/// A counter as it would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovedCounterView {
    effect: Effect,
    #[serde(flatten)]
    counter: CounterView,
}

impl From<SubscriptionPreview> for SubscriptionPreviewView {
    fn from(preview: SubscriptionPreview) -> Self {
        let counters = preview.counters.iter();
        let counters =
            counters.map(|(effect, counter)| MovedCounterView { effect: *effect, counter: CounterView::new(counter) });
        Self {
            counters: counters.collect(),
            ended_group_ids: preview.ended.iter().map(ToString::to_string).collect(),
            subscription: preview.subscription,
        }
    }
}

/// Subscribe a user to a plan; repeating the same call changes nothing
///
/// With `dryRun=true` nothing is written, and the answer says how each counter would change.
#[utoipa::path(post, path = "/api/v1/subscriptions", tag = "Subscriptions", request_body = SubscribeBody,
    params(DryRun, ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = PutSubscription), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn subscribe(
    principal: Principal,
    query: Query<DryRun>,
    body: Body<SubscribeBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let dry_run = query.read()?.dry_run;
    let ParsedBody { value: Subscribe { user, upsert, note }, idempotency } =
        body.read_as(SubscribeBody::check).await?;
    if dry_run {
        let preview = principal.gateway.preview_subscription(&principal.tenant, &user, &upsert).await?;
        return Ok(HttpResponse::Ok().json(PutSubscription::Preview(preview.into())));
    }
    let note = note.as_deref();
    let written = SubscriptionWrite { user: &user, by: &principal.key.id, note, rules: GroupRegistration::New };
    let subscribed = principal.gateway.subscribe(&principal.tenant, written, &upsert, idempotency.as_ref()).await?;
    Ok(HttpResponse::Ok().json(PutSubscription::Subscription(Box::new(subscribed))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelBody {
    #[schema(value_type = String)]
    user_id: UserId,
    /// RFC 3339; default now.
    ends_at: Option<String>,
    /// The reason; recorded in the audit log. At most 1,024 bytes.
    note: Option<String>,
}

impl CancelBody {
    fn check(&self) -> Result<Cancel, Vec<FieldError>> {
        let mut faults = Faults::default();
        let ends_at_ms = time("endsAt", self.ends_at.as_deref(), &mut faults);
        check_note("note", self.note.as_deref(), &mut faults);
        faults.or(Some(Cancel { user: self.user_id.clone(), ends_at_ms, note: self.note.clone() }))
    }
}

/// A checked body.
struct Cancel {
    user: UserId,
    ends_at_ms: Option<TimeMs>,
    note: Option<String>,
}

/// End a subscription now or later
#[utoipa::path(delete, path = "/api/v1/subscriptions", tag = "Subscriptions", request_body = CancelBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = SubscriptionView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn cancel(principal: Principal, body: Body<CancelBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let ParsedBody { value: Cancel { user, ends_at_ms, note }, idempotency } = body.read_as(CancelBody::check).await?;
    let note = note.as_deref();
    let written = SubscriptionWrite { user: &user, by: &principal.key.id, note, rules: GroupRegistration::Checked };
    let canceled = principal.gateway.cancel(&principal.tenant, written, ends_at_ms, idempotency.as_ref()).await?;
    Ok(HttpResponse::Ok().json(canceled))
}
