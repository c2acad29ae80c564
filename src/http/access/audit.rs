//! `GET audit`: who changed what.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::time::window::{TimeMs, rfc3339};
use crate::domain::values::field_error::Faults;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::Query;
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::access::audit::{AuditFilter, ListedEntry, audited};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Id of the key that made the change.
    actor: Option<String>,
    /// An action such as `plan.put`, or a prefix that ends in a dot, such as `plan.`
    action: Option<String>,
    /// Such as `plan:plan_pro`, `user:u_42`, `key:key_…`
    target: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditView {
    id: String,
    /// RFC 3339, UTC, by Redis time.
    at: String,
    /// Id of the key that made the change.
    actor: String,
    action: String,
    target: String,
    /// Null if it did not exist before.
    #[schema(value_type = Option<Value>)]
    before: Option<Value>,
    /// Null if it was deleted.
    #[schema(value_type = Option<Value>)]
    after: Option<Value>,
    note: Option<String>,
}

fn view(listed: ListedEntry) -> AuditView {
    let ListedEntry { cursor, entry } = listed;
    let audit_entry = entry.audit_entry;
    AuditView {
        id: cursor::audit_text(cursor),
        at: rfc3339(TimeMs::try_from(entry.id.time_ms).unwrap_or(TimeMs::MAX)),
        actor: audit_entry.actor,
        action: audit_entry.action,
        before: audit_entry.before.as_deref().map(|text| audited(&audit_entry.target, text)),
        after: audit_entry.after.as_deref().map(|text| audited(&audit_entry.target, text)),
        target: audit_entry.target,
        note: audit_entry.note,
    }
}

/// List changes of configuration, keys, and users of this mode, newest first
#[utoipa::path(get, path = "/api/v1/audit", tag = "Configuration", params(AuditQuery),
    responses((status = 200, body = ListView<AuditView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<AuditQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadConfiguration)?;
    let (filter, after, count) = query.read_as(|AuditQuery { actor, action, target, cursor, limit }| {
        let mut faults = Faults::default();
        let (after, count) = cursor::page(cursor.as_deref(), limit, cursor::audit, &mut faults);
        faults.or(Some((AuditFilter { actor, action, target }, after, count)))
    })?;
    let page = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.audit(&principal.tenant, &filter, after, count).await?)
        })
        .await?;
    let data = page.entries.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: page.next.map(cursor::audit_text) }))
}
