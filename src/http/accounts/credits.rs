//! `POST` and `GET credits`, `POST credits/{id}/void`.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::configuration::limit_group::LimitGroup;
use crate::domain::configuration::scope::{OwnerName, Subject};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, KeyId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::domain::values::number::{Number, NumberOrText};
use crate::http::metering::usage::scope_values;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, check_note, time};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::accounts::credits::{Credit, NewCredit, NewVoid};
use crate::service::error::ServiceError;
use crate::service::tenant::Author;

/// The maximum length of a `sourceId` in bytes.
const MOST_SOURCE_BYTES: usize = 256;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditBody {
    /// A group of the kind `balance`.
    #[schema(value_type = String)]
    group_id: GroupId,
    /// Whose credit it is, such as `{"user": "u_42"}`: a value for each name in the group's scope.
    scope: BTreeMap<String, String>,
    /// In the group's unit.
    #[schema(value_type = NumberOrText)]
    amount: Number,
    /// RFC 3339. What remains at this time lapses.
    expires_at: Option<String>,
    /// What paid for it, such as the ID of a payment, of 1 to 256 bytes. It adds at most one credit to the owner in this
    /// group: a repetition returns that credit with status 200.
    source_id: Option<String>,
    note: Option<String>,
}

/// What to remove of a credit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidBody {
    /// In the group's unit, at most what remains. Without it, all that remains is removed, and what open reservations
    /// return later is voided too.
    #[schema(value_type = Option<NumberOrText>)]
    amount: Option<Number>,
    note: Option<String>,
}

impl CreditBody {
    fn check(&self) -> Result<NewCredit, Vec<FieldError>> {
        let mut faults = Faults::default();
        let owner = faults.check("scope", OwnerName::from_map(&self.scope));
        if self.amount.0.is_zero() {
            faults.add("amount", "must be greater than 0");
        }
        let expires_at_ms = time("expiresAt", self.expires_at.as_deref(), &mut faults);
        let is_good =
            |text: &String| (1..=MOST_SOURCE_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        if self.source_id.as_ref().is_some_and(|text| !is_good(text)) {
            faults.add("sourceId", format!("must have 1 to {MOST_SOURCE_BYTES} bytes without control characters"));
        }
        check_note("note", self.note.as_deref(), &mut faults);
        faults.or(owner.map(|owner| NewCredit {
            owner,
            group: self.group_id.clone(),
            amount: self.amount,
            expires_at_ms,
            source: self.source_id.clone(),
            note: self.note.clone(),
        }))
    }
}

impl VoidBody {
    fn check(&self) -> Result<NewVoid, Vec<FieldError>> {
        let mut faults = Faults::default();
        if self.amount.is_some_and(|amount| amount.0.is_zero()) {
            faults.add("amount", "must be greater than 0");
        }
        check_note("note", self.note.as_deref(), &mut faults);
        faults.or(Some(NewVoid { amount: self.amount, note: self.note.clone() }))
    }
}

/// Add a prepaid amount to the balance of a user or another owner
#[utoipa::path(post, path = "/api/v1/credits", tag = "Credits", request_body = CreditBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Credit), (status = 200, body = Credit, description = "A credit with this `sourceId` exists already."),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn create(principal: Principal, body: Body<CreditBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let ParsedBody { value: new, idempotency } = body.read_as(CreditBody::check).await?;
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    let added = principal.gateway.create_credit(&principal.tenant, &new, author).await?;
    let mut response = if added.is_known { HttpResponse::Ok() } else { HttpResponse::Created() };
    Ok(response.json(added.credit))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreditQuery {
    group_id: String,
    user_id: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
    /// `key` and `metadata.<name>`: the values of the group's scope.
    #[serde(flatten)]
    scope: BTreeMap<String, String>,
}

/// The checked query.
struct CreditPage {
    group: GroupId,
    user: Option<UserId>,
    key: Option<KeyId>,
    metadata: Metadata,
    from: Option<u64>,
    count: usize,
}

impl CreditQuery {
    fn check(self) -> Result<CreditPage, Vec<FieldError>> {
        let mut faults = Faults::default();
        let group = faults.check("groupId", GroupId::parse(&self.group_id));
        let user = faults.check("userId", self.user_id.as_deref().map(UserId::parse).transpose()).flatten();
        let (key, metadata) = scope_values(self.scope, &["groupId", "userId", "cursor", "limit"], &mut faults);
        let limit = self.limit.map(|limit| limit.parse::<usize>().unwrap_or(0));
        let (from, count) = cursor::page(self.cursor.as_deref(), limit, cursor::offset, &mut faults);
        let from = from.map(|from| from as u64);
        faults.or(group.map(|group| CreditPage { group, user, key, metadata, from, count }))
    }
}

/// The owner of a group's balance among these values.
fn owner_of(group: &LimitGroup, subject: Subject<'_>) -> Result<OwnerName, ServiceError> {
    group.scope.owner(subject).ok_or_else(|| {
        let missing = group.scope.missing(subject).into_iter().next().unwrap_or_default();
        let field = if missing == "user" { "userId".to_owned() } else { missing };
        ServiceError::invalid(field, format!("is required, since it is in the scope of group `{}`", group.id))
    })
}

/// List the credits of one owner, live and ended ones, the newest first
#[utoipa::path(get, path = "/api/v1/credits", tag = "Credits",
    params(("groupId" = String, Query), ("userId" = Option<String>, Query),
        ("key" = Option<String>, Query, description = "ID of a key, for a group with `key` in its scope"),
        ("metadata.{name}" = Option<String>, Query, description = "for a group with this name in its scope"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 200, default 50")),
    responses((status = 200, body = ListView<Credit>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<CreditQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    // Reading users or adding credits is permission enough.
    if principal.require(Access::ReadUsers).is_err() {
        principal.require(Access::Subscriptions)?;
    }
    let CreditPage { group, user, key, metadata, from, count } = query.read_as(CreditQuery::check)?;
    let (data, next) = readers
        .run(Reader::Page, principal, async move |principal| {
            let app = &principal.tenant.app;
            let subject = Subject { user: user.as_ref(), app, key: key.as_ref(), metadata: &metadata };
            let owner = |group: &LimitGroup| owner_of(group, subject);
            Ok(principal.gateway.credits(&principal.tenant, &group, owner, from, count).await?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: next.map(|next| next.to_string()) }))
}

/// Remove what remains of a credit, for a refund or a chargeback
#[utoipa::path(post, path = "/api/v1/credits/{id}/void", tag = "Credits", request_body = VoidBody,
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Credit), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn void(principal: Principal, id: web::Path<String>, body: Body<VoidBody>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let ParsedBody { value: new, idempotency } = body.read_as(VoidBody::check).await?;
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    Ok(HttpResponse::Ok().json(principal.gateway.void_credit(&principal.tenant, &id, &new, author).await?))
}
