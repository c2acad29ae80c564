//! `GET usage` and its stream.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::metering::admission::Caller;
use crate::domain::metering::counter::Counter;
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::glob;
use crate::domain::values::ids::{EventName, KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::http::middleware::limits::{Limits, Reader};
use crate::http::middleware::readers::{Permit, SharedReaders};
use crate::http::middleware::watchers::{Changes, LOOK, Watched, Watchers};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{CounterView, PeriodView};
use crate::service::access::key_record::KeyKind;
use crate::service::error::ServiceError;
use crate::service::metering::call::CounterContext;
use crate::service::metering::usage::Usage;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageQuery {
    user_id: String,
    /// A name or a glob: only groups that can count such events, and the balances that they overflow onto.
    event: Option<String>,
    /// `key` and `metadata.<name>`: counters with these names in their scope.
    #[serde(flatten)]
    scope: BTreeMap<String, String>,
}

/// The values of `key` and `metadata.<name>`, for counters with these names in their scope. `known` are the other
/// parameters of the call.
pub(in crate::http) fn scope_values(
    scope: BTreeMap<String, String>,
    known: &[&str],
    faults: &mut Faults,
) -> (Option<KeyId>, Metadata) {
    let mut key = None;
    let mut metadata = serde_json::Map::new();
    for (name, value) in scope {
        match name.strip_prefix("metadata.") {
            Some(field) => {
                metadata.insert(field.to_owned(), serde_json::Value::String(value));
            }
            None if name == "key" => key = faults.check("key", KeyId::parse(&value)),
            None => faults.0.push(unknown_scope(&name, known)),
        }
    }
    (key, faults.check("metadata", Metadata::deserialize(serde_json::Value::Object(metadata))).unwrap_or_default())
}

/// The fault of a name that is neither one of `known` nor of a counter's scope.
pub(in crate::http) fn unknown_scope(name: &str, known: &[&str]) -> FieldError {
    document::unknown_parameter(name, &[known, &["key", "metadata.<name>"]].concat())
}

/// The checked query.
struct UsageRequest {
    user: UserId,
    event: Option<EventName>,
    key: Option<KeyId>,
    metadata: Metadata,
}

impl UsageQuery {
    fn check(self) -> Result<UsageRequest, Vec<FieldError>> {
        let mut faults = Faults::default();
        let user = faults.check("userId", UserId::parse(&self.user_id));
        let event = faults.check("event", self.event.as_deref().map(EventName::parse).transpose()).flatten();
        let (key, metadata) = scope_values(self.scope, &["userId", "event"], &mut faults);
        faults.or(user.map(|user| UsageRequest { user, event, key, metadata }))
    }
}

/// A user's counters now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    user_id: String,
    /// Null without a subscription.
    plan_id: Option<String>,
    /// The window of the plan's default period.
    period: Option<PeriodView>,
    counters: Vec<CounterView>,
}

fn wanted(group: &LimitGroup, event: Option<&str>) -> bool {
    event.is_none_or(|event| group.matches.iter().any(|rule| glob::overlap(&rule.event, event)))
}

fn view(user: &UserId, usage: &Usage, counters: &[Counter]) -> UsageView {
    UsageView {
        user_id: user.to_string(),
        plan_id: usage.plan.as_ref().map(ToString::to_string),
        period: usage.period.map(PeriodView::of),
        counters: CounterView::all(counters),
    }
}

async fn read(principal: &Principal, asked: &UsageRequest) -> Result<UsageView, ApiError> {
    let tenant = &principal.tenant;
    let caller = Caller { user: &asked.user, app: &tenant.app, key: asked.key.as_ref() };
    let context = CounterContext { caller, metadata: &asked.metadata };
    let wanted = |group: &LimitGroup| group.is_balance() || shows(principal, asked, group);
    let usage = principal.gateway.usage(tenant, context, wanted).await?;
    Ok(view(&asked.user, &usage, &shown(principal, asked, &usage)))
}

/// The counters to show, with the balances onto which their groups overflow.
fn shown(principal: &Principal, asked: &UsageRequest, usage: &Usage) -> Vec<Counter> {
    let shows = |counter: &Counter| shows(principal, asked, &counter.group);
    let takes_over = |balance: &Counter| {
        let is_onto = |group: &LimitGroup| group.overflow.as_ref().is_some_and(|onto| onto.id == balance.group.id);
        usage.counters.iter().any(|counter| is_onto(&counter.group) && counter.owner == balance.owner && shows(counter))
    };
    usage.counters.iter().filter(|counter| shows(counter) || takes_over(counter)).cloned().collect()
}

/// An end user may not see counters that others share.
fn shows(principal: &Principal, asked: &UsageRequest, group: &LimitGroup) -> bool {
    let shared = principal.key.kind != KeyKind::Publishable;
    wanted(group, asked.event.as_ref().map(EventName::as_str)) && (shared || group.scope.contains_user())
}

/// Read a user's counters
#[utoipa::path(get, path = "/api/v1/usage", tag = "Usage",
    params(("userId" = String, Query), ("event" = Option<String>, Query, description = "a name or a glob"),
        ("key" = Option<String>, Query, description = "ID of a key, for counters with `key` in their scope"),
        ("metadata.{name}" = Option<String>, Query, description = "for counters with this name in their scope"),
        ("X-User-Token" = Option<String>, Header)),
    responses((status = 200, body = UsageView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get_usage(
    principal: Principal,
    request: HttpRequest,
    query: Query<UsageQuery>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsage)?;
    let asked = query.read_as(UsageQuery::check)?;
    principal.require_user_token(&request, &asked.user)?;
    Ok(HttpResponse::Ok().json(read(&principal, &asked).await?))
}

/// Ends streams when the node drains.
#[derive(Clone)]
pub struct Draining(pub tokio::sync::watch::Receiver<bool>);

/// Follow a user's counters as server-sent events, one per change
#[utoipa::path(get, path = "/api/v1/usage/stream", tag = "Usage",
    params(("userId" = String, Query), ("event" = Option<String>, Query), ("X-User-Token" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn stream_usage(
    principal: Principal,
    request: HttpRequest,
    query: Query<UsageQuery>,
    draining: web::Data<Draining>,
    readers: SharedReaders,
    watchers: web::Data<Watchers>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsage)?;
    let asked = query.read_as(UsageQuery::check)?;
    principal.require_user_token(&request, &asked.user)?;
    let permit = readers.admit(Reader::UsageStream, &principal.key.id)?;
    let watched = Watched {
        tenant: principal.tenant.clone(),
        user: asked.user.clone(),
        key: asked.key.clone(),
        metadata: asked.metadata.clone(),
    };
    // Starts before the first state is read, so that no change in between is missed.
    let changes = watchers.follow(watched, &principal.gateway, &readers, &draining.0)?;
    let first = line(&read(&principal, &asked).await?)?;
    let silence = request.app_data::<Limits>().copied().unwrap_or_default().silence;
    let draining = draining.0.clone();
    let state = Follow { principal, asked, sent: String::new(), silence, draining, changes, _permit: permit };
    let events = futures::stream::unfold((state, Some(first)), |(mut state, first)| async move {
        let text = match first {
            Some(first) => {
                state.sent.clone_from(&first);
                first
            }
            None => state.next().await?,
        };
        Some((Ok::<_, actix_web::Error>(Bytes::from(text)), (state, None)))
    });
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(events))
}

struct Follow {
    principal: Principal,
    asked: UsageRequest,
    sent: String,
    /// The longest time without any output.
    silence: Duration,
    draining: tokio::sync::watch::Receiver<bool>,
    changes: Changes,
    /// Counts this stream while it is open.
    _permit: Permit,
}

impl Follow {
    /// Waits for the next change. Returns a comment if there is none for a long time, and None when the node drains,
    /// the key is revoked or the watch ends.
    async fn next(&mut self) -> Option<String> {
        let deadline = tokio::time::Instant::now() + self.silence;
        while tokio::time::Instant::now() < deadline {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(LOOK) => {}
                _ = self.draining.changed() => return None,
            }
            if !self.principal.gateway.still_valid(&self.principal.key) {
                return None;
            }
            let Some(usage) = self.changes.borrow().clone() else { continue };
            if let Ok(text) = self.line(&usage)
                && text != self.sent
            {
                self.sent.clone_from(&text);
                return Some(text);
            }
        }
        Some(": still here\n\n".to_owned())
    }

    fn line(&self, usage: &Usage) -> Result<String, ApiError> {
        line(&view(&self.asked.user, usage, &shown(&self.principal, &self.asked, usage)))
    }
}

fn line(view: &UsageView) -> Result<String, ApiError> {
    let json = serde_json::to_string(view).map_err(|error| ServiceError::Internal(error.to_string()))?;
    Ok(format!("event: usage\ndata: {json}\n\n"))
}
