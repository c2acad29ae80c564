//! `GET usage` and its stream.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Access, Principal};
use super::body::Query;
use super::limits::Limits;
use super::problem::{ApiError, Problem};
use super::views::{CounterView, PeriodView};
use crate::domain::admission::Caller;
use crate::domain::glob;
use crate::domain::ids::{EventName, KeyId, NameError, UserId};
use crate::domain::limit_group::LimitGroup;
use crate::domain::metadata::Metadata;
use crate::service::error::ServiceError;
use crate::service::keys::KeyKind;
use crate::service::reserve::Asker;
use crate::service::usage::Usage;

/// How often a stream looks for changes: also expiries and new windows, which no call announces.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageQuery {
    user_id: String,
    /// A name or a glob: only the groups that can count such events.
    event: Option<String>,
    /// `key` and `metadata.<name>`: for counters with these names in their scope.
    #[serde(flatten)]
    scope: BTreeMap<String, String>,
}

/// The values of names that a counter's scope may have: `key` and `metadata.<name>`.
///
/// # Errors
/// invalid_request naming the parameter
pub(super) fn scope_values(scope: BTreeMap<String, String>) -> Result<(Option<KeyId>, Metadata), ApiError> {
    let mut key = None;
    let mut metadata = BTreeMap::new();
    for (name, value) in scope {
        match name.strip_prefix("metadata.") {
            Some(field) => {
                metadata.insert(field.to_owned(), serde_json::Value::String(value));
            }
            None if name == "key" => {
                key = Some(KeyId::parse(&value).map_err(|error| ApiError::invalid("key", error.to_string()))?);
            }
            None => return Err(ApiError::invalid(name, "is not a parameter of this call")),
        }
    }
    let metadata = Metadata::try_from(metadata).map_err(|message| ApiError::invalid("metadata", message))?;
    Ok((key, metadata))
}

/// What is asked for, checked.
struct Asked {
    user: UserId,
    event: Option<EventName>,
    key: Option<KeyId>,
    metadata: Metadata,
}

impl UsageQuery {
    fn check(self) -> Result<Asked, ApiError> {
        let bad = |field: &str, error: NameError| ApiError::invalid(field, error.to_string());
        let user = UserId::parse(&self.user_id).map_err(|error| bad("userId", error))?;
        let event = self.event.as_deref().map(EventName::parse).transpose().map_err(|error| bad("event", error))?;
        let (key, metadata) = scope_values(self.scope)?;
        Ok(Asked { user, event, key, metadata })
    }
}

/// A user's counters now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    user_id: String,
    /// Null without a subscription.
    plan_id: Option<String>,
    /// The window of the plan's own period.
    period: Option<PeriodView>,
    counters: Vec<CounterView>,
}

fn wanted(group: &LimitGroup, event: Option<&str>) -> bool {
    event.is_none_or(|event| group.matches.iter().any(|rule| glob::overlap(&rule.event, event)))
}

fn view(user: &UserId, usage: &Usage) -> UsageView {
    UsageView {
        user_id: user.to_string(),
        plan_id: usage.plan.as_ref().map(ToString::to_string),
        period: usage.period.map(PeriodView::of),
        counters: CounterView::all(&usage.counters),
    }
}

async fn read(principal: &Principal, asked: &Asked) -> Result<UsageView, ApiError> {
    let event = asked.event.as_ref().map(EventName::as_str);
    let tenant = &principal.tenant;
    let caller = Caller { user: &asked.user, app: &tenant.app, key: asked.key.as_ref() };
    let asker = Asker { caller, metadata: &asked.metadata };
    // What others use too is not for the eyes of one end user.
    let shared = principal.key.kind != KeyKind::Publishable;
    let mine = |group: &LimitGroup| shared || group.scope.contains_user();
    let usage = principal.gateway.usage(tenant, asker, |group| wanted(group, event) && mine(group)).await?;
    Ok(view(&asked.user, &usage))
}

/// Read a user's counters
#[utoipa::path(get, path = "/api/v1/usage", tag = "Usage",
    params(("userId" = String, Query), ("event" = Option<String>, Query, description = "a name or a glob"),
        ("key" = Option<String>, Query, description = "id of a key: for counters of keys"),
        ("metadata.{name}" = Option<String>, Query, description = "for counters with that name in their scope"),
        ("X-User-Token" = Option<String>, Header)),
    responses((status = 200, body = UsageView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn get_usage(
    principal: Principal,
    request: HttpRequest,
    query: Query<UsageQuery>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsage)?;
    let asked = query.read()?.check()?;
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
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem)))]
pub async fn stream_usage(
    principal: Principal,
    request: HttpRequest,
    query: Query<UsageQuery>,
    draining: web::Data<Draining>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsage)?;
    let asked = query.read()?.check()?;
    principal.require_user_token(&request, &asked.user)?;
    let first = line(&read(&principal, &asked).await?)?;
    let silence = request.app_data::<Limits>().copied().unwrap_or_default().silence;
    let state = Follow { principal, asked, told: String::new(), silence, draining: draining.0.clone() };
    let events = futures::stream::unfold((state, Some(first)), |(mut state, first)| async move {
        let text = match first {
            Some(first) => {
                state.told.clone_from(&first);
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
    asked: Asked,
    told: String,
    /// How long nothing may go out.
    silence: Duration,
    draining: tokio::sync::watch::Receiver<bool>,
}

impl Follow {
    /// Waits for the next change; a comment if there is none for long; None when the node drains or the key is revoked.
    async fn next(&mut self) -> Option<String> {
        let deadline = tokio::time::Instant::now() + self.silence;
        while tokio::time::Instant::now() < deadline {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = self.draining.changed() => return None,
            }
            if !self.principal.gateway.still_valid(&self.principal.key) {
                return None;
            }
            // A store that is away for a moment is no change.
            if let Ok(view) = read(&self.principal, &self.asked).await
                && let Ok(text) = line(&view)
                && text != self.told
            {
                self.told.clone_from(&text);
                return Some(text);
            }
        }
        Some(": still here\n\n".to_owned())
    }
}

fn line(view: &UsageView) -> Result<String, ApiError> {
    let json = serde_json::to_string(view).map_err(|error| ServiceError::Internal(error.to_string()))?;
    Ok(format!("event: usage\ndata: {json}\n\n"))
}
