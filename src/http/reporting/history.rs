//! `GET usage/history`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::metering::admission::Caller;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::Number;
use crate::http::metering::usage::scope_values;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Query, time};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{ListView, PeriodView, number};
use crate::service::access::key_record::KeyKind;
use crate::service::configuration::app_config::GroupKind;
use crate::service::metering::call::CounterContext;
use crate::service::reporting::history::PastWindow;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryQuery {
    user_id: String,
    group_id: Option<String>,
    /// Windows that end after this time.
    from: Option<String>,
    /// Windows that begin before this time.
    to: Option<String>,
    /// `key` and `metadata.<name>`: counters with these names in their scope.
    #[serde(flatten)]
    scope: BTreeMap<String, String>,
}

/// The checked query.
struct HistoryRequest {
    user: UserId,
    group: Option<GroupId>,
    from: Option<TimeMs>,
    to: Option<TimeMs>,
    key: Option<KeyId>,
    metadata: Metadata,
}

impl HistoryQuery {
    fn check(self) -> Result<HistoryRequest, Vec<FieldError>> {
        let mut faults = Faults::default();
        let user = faults.check("userId", UserId::parse(&self.user_id));
        let group = faults.check("groupId", self.group_id.as_deref().map(GroupId::parse).transpose()).flatten();
        let from = time("from", self.from.as_deref(), &mut faults);
        let to = time("to", self.to.as_deref(), &mut faults);
        let (key, metadata) = scope_values(self.scope, &["userId", "groupId", "from", "to"], &mut faults);
        faults.or(user.map(|user| HistoryRequest { user, group, from, to, key, metadata }))
    }
}

/// One window of one counter. Amounts are in the unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    group_id: String,
    label: String,
    unit: Unit,
    scope: BTreeMap<String, String>,
    /// Sequence number of the window, as in events.
    window: String,
    period: PeriodView,
    #[schema(value_type = f64)]
    used: Number,
    /// The quota at the last call in the window, or the present quota if the window is running. Null counts without
    /// limit.
    #[schema(value_type = Option<f64>)]
    quota: Option<Number>,
    /// Extra quota by grants when the window ended, or now.
    #[schema(value_type = f64)]
    granted: Number,
    /// Extra quota that was unused in the window before, if there was any.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled: Option<Number>,
    /// `max(0, used - quota - granted - rolled)`
    #[schema(value_type = f64)]
    overage: Number,
    /// The window is over, and nothing can be charged to it or refunded any more.
    #[serde(rename = "final")]
    is_final: bool,
}

impl WindowView {
    pub fn new(window: &PastWindow) -> Self {
        let unit = window.unit;
        Self {
            group_id: window.group.to_string(),
            label: window.label.clone(),
            unit,
            scope: window.owner.to_map(),
            window: window.window_seq.clone(),
            period: PeriodView::of(window.window),
            used: number(window.used, unit),
            quota: window.quota.map(|quota| number(quota, unit)),
            granted: number(window.granted, unit),
            rolled: Some(window.rolled).filter(|rolled| *rolled > Amount::ZERO).map(|rolled| number(rolled, unit)),
            overage: number(window.overage(), unit),
            is_final: window.is_final,
        }
    }
}

/// List the windows of a user's counters, newest first: the last twelve closed windows and the current one
#[utoipa::path(get, path = "/api/v1/usage/history", tag = "Usage",
    params(("userId" = String, Query), ("groupId" = Option<String>, Query),
        ("from" = Option<String>, Query, description = "RFC 3339: windows that end after this time"),
        ("to" = Option<String>, Query, description = "RFC 3339: windows that begin before this time"),
        ("key" = Option<String>, Query, description = "ID of a key, for counters with `key` in their scope"),
        ("metadata.{name}" = Option<String>, Query, description = "for counters with this name in their scope"),
        ("X-User-Token" = Option<String>, Header)),
    responses((status = 200, body = ListView<WindowView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn history(
    principal: Principal,
    request: HttpRequest,
    query: Query<HistoryQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsage)?;
    let HistoryRequest { user, group, from, to, key, metadata } = query.read_as(HistoryQuery::check)?;
    principal.require_user_token(&request, &user)?;
    // An end user may not see counters that others share.
    let shared = principal.key.kind != KeyKind::Publishable;
    let windows = readers.run(Reader::Page, principal, async move |principal| {
        let caller = Caller { user: &user, app: &principal.tenant.app, key: key.as_ref() };
        let context = CounterContext { caller, metadata: &metadata };
        let wanted = |id: &GroupId, kind: &GroupKind| {
            group.as_ref().is_none_or(|group| group == id) && (shared || kind.scope.contains_user())
        };
        Ok(principal.gateway.history(&principal.tenant, context, wanted).await?)
    });
    let within = |window: &Window| {
        from.is_none_or(|from| window.end_ms.is_none_or(|end| end > from)) && to.is_none_or(|to| window.start_ms < to)
    };
    let windows = windows.await?;
    let data = windows.iter().filter(|found| within(&found.window)).map(WindowView::new).collect();
    Ok(HttpResponse::Ok().json(ListView::whole(data)))
}
