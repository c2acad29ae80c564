//! `GET users`, one user in detail, and operators' actions on a user.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::accounts::profile::Profile;
use crate::domain::time::window::rfc3339;
use crate::domain::values::amount::{Amount, Unit};
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{GroupId, UserId};
use crate::domain::values::number::Number;
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::reporting::history::WindowView;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, Query, only_note};
use crate::http::wire::cursor;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::{CounterView, ListView, PeriodView, number};
use crate::service::accounts::grants::Grant;
use crate::service::accounts::subscriptions::{SubscriptionView, view_of};
use crate::service::accounts::users::{ListedUser, OpenReservation, UserChanged, UserDetail, UserSearch};
use crate::service::configuration::app_config::AppConfig;
use crate::service::tenant::Author;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// A prefix of the user's ID. User IDs are case-sensitive.
    search: Option<String>,
    /// A text anywhere in the user's ID, display name or tags, in upper or lower case. One page searches about 50,000
    /// users, so it may have few users or none and still have a `nextCursor`.
    contains: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// 1 to 200, default 50.
    limit: Option<usize>,
}

/// A user in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    user_id: String,
    #[serde(flatten)]
    profile: Profile,
    blocked: bool,
    /// Null without a running subscription.
    subscription: Option<SubscriptionView>,
}

fn listed(found: &ListedUser) -> UserView {
    let subscription = found.subscribed.at(found.now_ms).0;
    UserView {
        user_id: found.user.to_string(),
        profile: found.profile.clone(),
        blocked: found.subscribed.blocked,
        subscription: subscription.map(|subscription| view_of(&found.user, subscription, None)),
    }
}

/// Find users by the beginning of their IDs, or by any part of ID, name or tags, in byte order
#[utoipa::path(get, path = "/api/v1/users", tag = "Users", params(UsersQuery),
    responses((status = 200, body = ListView<UserView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<UsersQuery>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let (search, contains, after, count) = query.read_as(|UsersQuery { search, contains, cursor, limit }| {
        let mut faults = Faults::default();
        if search.is_some() && contains.is_some() {
            faults.add("contains", "cannot be combined with `search`");
        }
        for (name, text) in [("search", &search), ("contains", &contains)] {
            if text.as_ref().is_some_and(|text| text.len() > 256) {
                faults.add(name, "must have at most 256 bytes");
            }
        }
        let (after, count) = cursor::page(cursor.as_deref(), limit, cursor::name, &mut faults);
        faults.or(Some((search, contains, after, count)))
    })?;
    // Searching inside IDs has to read all of them.
    let reader = if contains.is_some() { Reader::Scan } else { Reader::Page };
    let page = readers
        .run(reader, principal, async move |principal| {
            let search = match &contains {
                Some(text) => UserSearch::Contains(text),
                None => UserSearch::Prefix(search.as_deref().unwrap_or_default()),
            };
            Ok(principal.gateway.users(&principal.tenant, search, after.as_deref(), count).await?)
        })
        .await?;
    let data = page.users.iter().map(listed).collect();
    Ok(HttpResponse::Ok().json(ListView { data, next_cursor: page.next.map(cursor::name_text) }))
}

/// Everything about one user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserDetailView {
    user_id: String,
    #[serde(flatten)]
    profile: Profile,
    blocked: bool,
    /// Null without a running subscription.
    subscription: Option<SubscriptionView>,
    /// The plan in effect: the subscription's, or the app's default.
    plan_id: Option<String>,
    period: Option<PeriodView>,
    counters: Vec<CounterView>,
    /// At most 100, those that expire first.
    open_reservations: Vec<OpenReservationView>,
    grants: Vec<Grant>,
    /// Closed windows, newest first.
    history: Vec<WindowView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenReservationView {
    reservation_id: String,
    event: String,
    created_at: String,
    expires_at: String,
    held: Vec<HeldView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    group_id: String,
    unit: Unit,
    #[schema(value_type = f64)]
    amount: Number,
}

fn open(config: &AppConfig, open: &OpenReservation) -> OpenReservationView {
    let held = |(group, amount): &(GroupId, Amount)| {
        let unit = config.unit_of(group);
        HeldView { group_id: group.to_string(), unit, amount: number(*amount, unit) }
    };
    OpenReservationView {
        reservation_id: open.id.to_string(),
        event: open.event.as_ref().map_or_else(String::new, ToString::to_string),
        created_at: rfc3339(open.id.created_at_ms),
        expires_at: rfc3339(open.expires_at_ms),
        held: open.amounts.iter().map(held).collect(),
    }
}

fn detail(user: &UserId, config: &AppConfig, found: &UserDetail) -> UserDetailView {
    let usage = &found.usage;
    UserDetailView {
        user_id: user.to_string(),
        profile: found.profile.clone(),
        blocked: found.subscribed.blocked,
        subscription: usage.subscription.as_ref().map(|subscription| view_of(user, subscription, None)),
        plan_id: usage.plan.as_ref().map(ToString::to_string),
        period: usage.period.map(PeriodView::of),
        counters: CounterView::all(&usage.counters),
        open_reservations: found.open.iter().map(|hold| open(config, hold)).collect(),
        grants: found.grants.clone(),
        history: found.history.iter().map(WindowView::new).collect(),
    }
}

fn parse(id: &str) -> Result<UserId, ApiError> {
    UserId::parse(id).map_err(|error| ApiError::invalid("id", error.to_string()))
}

/// Read one user: subscription, counters, open reservations, grants, closed windows
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "Users", params(("id" = String, Path)),
    responses((status = 200, body = UserDetailView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn get(
    principal: Principal,
    id: web::Path<String>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadUsers)?;
    let user = parse(&id)?;
    let detail = readers.run(Reader::Page, principal, async move |principal| {
        let found = principal.gateway.user(&principal.tenant, &user).await?;
        let config = principal.gateway.config(&principal.tenant.app).await?;
        Ok(detail(&user, &config, &found))
    });
    Ok(HttpResponse::Ok().json(detail.await?))
}

/// A user's display name and tags.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileView {
    user_id: String,
    #[serde(flatten)]
    profile: Profile,
}

/// Replace a user's display name and tags
///
/// They are shown and searched in the dashboard; nothing is decided by them. A field that is left out is removed.
#[utoipa::path(put, path = "/api/v1/users/{id}", tag = "Users", request_body = Profile, params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = ProfileView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn put(principal: Principal, id: web::Path<String>, body: Body<Profile>) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Subscriptions)?;
    let user = parse(&id)?;
    let ParsedBody { value, idempotency } = body.read_checked(Profile::faults).await?;
    let (gateway, by) = (&principal.gateway, &principal.key.id);
    let author = Author { key: by, idempotency: idempotency.as_ref() };
    gateway.put_profile(&principal.tenant, &user, &value, author).await?;
    Ok(HttpResponse::Ok().json(ProfileView { user_id: user.to_string(), profile: value }))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteBody {
    /// The reason; recorded in the audit log.
    note: Option<String>,
}

async fn set_blocked(
    principal: &Principal,
    id: &str,
    blocked: bool,
    body: Body<NoteBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let user = parse(id)?;
    let ParsedBody { value: note, idempotency } = body.read_as(|body| only_note(body.note.as_ref())).await?;
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    let changed = principal.gateway.block(&principal.tenant, &user, blocked, note.as_deref(), author).await?;
    Ok(HttpResponse::Ok().json(changed))
}

/// Block a user: all further calls are denied; usage that has already happened can still be tracked
#[utoipa::path(post, path = "/api/v1/users/{id}/block", tag = "Users", request_body = NoteBody, params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = UserChanged), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn block(
    principal: Principal,
    id: web::Path<String>,
    body: Body<NoteBody>,
) -> Result<HttpResponse, ApiError> {
    set_blocked(&principal, &id, true, body).await
}

/// Unblock a user
#[utoipa::path(post, path = "/api/v1/users/{id}/unblock", tag = "Users", request_body = NoteBody, params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = UserChanged), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn unblock(
    principal: Principal,
    id: web::Path<String>,
    body: Body<NoteBody>,
) -> Result<HttpResponse, ApiError> {
    set_blocked(&principal, &id, false, body).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetBody {
    /// Without it, every group.
    #[schema(value_type = Option<String>)]
    group_id: Option<GroupId>,
    /// The reason; recorded in the audit log.
    note: Option<String>,
}

impl ResetBody {
    fn check(&self) -> Result<(Option<GroupId>, Option<String>), Vec<FieldError>> {
        Ok((self.group_id.clone(), only_note(self.note.as_ref())?))
    }
}

/// Reset a user's windows to 0; open reservations settle in the window in which they were made
#[utoipa::path(post, path = "/api/v1/users/{id}/reset", tag = "Users", request_body = ResetBody, params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = UserChanged), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn reset(
    principal: Principal,
    id: web::Path<String>,
    body: Body<ResetBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ManageUsers)?;
    let user = parse(&id)?;
    let ParsedBody { value: (group, note), idempotency } = body.read_as(ResetBody::check).await?;
    let author = Author { key: &principal.key.id, idempotency: idempotency.as_ref() };
    let (group, note) = (group.as_ref(), note.as_deref());
    let changed = principal.gateway.reset_user(&principal.tenant, &user, group, note, author).await?;
    Ok(HttpResponse::Ok().json(changed))
}
