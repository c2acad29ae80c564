//! Users from the operators' point of view: searched, read in full, blocked, reset, moved.

use std::ops::ControlFlow;

use futures::stream::{self, TryStreamExt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::Grant;
use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::profile::Profile;
use crate::domain::accounts::subscription::{Subscribed, Subscription};
use crate::domain::configuration::limit_group::LimitKind;
use crate::domain::metering::admission::{Caller, Validity};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::ReservationId;
use crate::domain::time::window::TimeMs;
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{EventName, GroupId, KeyId, Mode, PlanId, UserId};
use crate::domain::values::metadata::Metadata;
use crate::service::error::{ServiceError, json};
use crate::service::gateway::Gateway;
use crate::service::metering::call::CounterContext;
use crate::service::metering::facts::Attempt;
use crate::service::metering::usage::Usage;
use crate::service::reporting::history::PastWindow;
use crate::service::tenant::{Author, Tenant};
use crate::store::accounts::change_user::{ChangeUserArgs, ChangeUserReply, Reset, UserChange};
use crate::store::accounts::users::OpenHold;
use crate::store::client::library::WhenFull;
use crate::store::metering::operation::Operation;

/// Names read at a time when all users are iterated.
const PAGE: usize = 1_000;
/// Names that one page of a search checks for a text inside them.
const MOST_LOOKED_AT: usize = 50_000;
/// Users moved concurrently.
const MOVED_AT_ONCE: usize = 32;
/// Open reservations shown per user: those that expire first.
const OPEN_SHOWN: usize = 100;

/// A user in a list.
#[derive(Clone, Debug)]
pub struct ListedUser {
    pub user: UserId,
    pub subscribed: Subscribed,
    pub profile: Profile,
    /// By the clock of the user's bucket.
    pub now_ms: TimeMs,
}

/// Which users to list.
#[derive(Clone, Copy, Debug)]
pub enum UserSearch<'a> {
    /// Their names begin with the text.
    Prefix(&'a str),
    /// Their IDs, display names or tags contain the text, ignoring case.
    Contains(&'a str),
}

/// The names that a search found.
struct FoundNames {
    names: Vec<UserId>,
    /// The last name that was checked. None if all were checked.
    looked_until: Option<String>,
}

/// One page of users, sorted by name.
#[derive(Clone, Debug)]
pub struct UserPage {
    pub users: Vec<ListedUser>,
    /// The name after which the next page begins; None on the last page.
    pub next: Option<String>,
}

/// A pending reservation.
pub struct OpenReservation {
    pub id: ReservationId,
    /// The event of its first item.
    pub event: Option<EventName>,
    pub expires_at_ms: TimeMs,
    /// Held now, per group; a group may appear once per window.
    pub amounts: Vec<(GroupId, Amount)>,
}

/// Everything about one user.
pub struct UserDetail {
    pub profile: Profile,
    pub subscribed: Subscribed,
    pub usage: Usage,
    pub open: Vec<OpenReservation>,
    pub grants: Vec<Grant>,
    /// Closed windows of the user's own counters, newest first.
    pub history: Vec<PastWindow>,
}

/// The result of blocking or resetting.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserChanged {
    pub user_id: String,
    pub blocked: bool,
    /// False if nothing changed.
    pub changed: bool,
}

/// A change of a user by an operator.
pub(super) struct UserEdit<'a> {
    pub change: UserChange<'a>,
    pub reset: Reset<'a>,
    pub audit_entry: AuditEntry,
}

impl Gateway {
    /// Users that match a search, sorted by the bytes of their names, after `after`.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn users(
        &self,
        tenant: &Tenant,
        search: UserSearch<'_>,
        after: Option<&str>,
        count: usize,
    ) -> Result<UserPage, ServiceError> {
        let FoundNames { mut names, looked_until } = match search {
            UserSearch::Prefix(prefix) => self.names_with_prefix(tenant, prefix, after, count).await?,
            UserSearch::Contains(text) => self.names_containing(tenant, text, after, count).await?,
        };
        names.sort();
        let more = names.len() > count;
        names.truncate(count);
        let next = if more { names.last().map(ToString::to_string) } else { looked_until };
        let mut users = Vec::new();
        for bucket in tenant.buckets() {
            let own: Vec<UserId> = names.iter().filter(|name| tenant.bucket_of(name) == bucket).cloned().collect();
            if own.is_empty() {
                continue;
            }
            let now_ms = self.now(&bucket).await?;
            let found = self.store.read_users(&bucket, &own).await?;
            let profiles = self.store.profiles(&bucket, &own).await?;
            // A name without stored data will soon be removed from the index.
            let known =
                own.into_iter().zip(found.into_iter().zip(profiles)).filter_map(|(user, (subscribed, profile))| {
                    subscribed.map(|subscribed| ListedUser { user, subscribed, profile, now_ms })
                });
            users.extend(known);
        }
        users.sort_by(|one: &ListedUser, other| one.user.cmp(&other.user));
        Ok(UserPage { users, next })
    }

    async fn names_with_prefix(
        &self,
        tenant: &Tenant,
        prefix: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<FoundNames, ServiceError> {
        let mut names = Vec::new();
        for bucket in tenant.buckets() {
            names.extend(self.store.user_names(&bucket, prefix, after, count + 1).await?);
        }
        Ok(FoundNames { names, looked_until: None })
    }

    /// Iterates over names until more than `count` contain the text, or enough names were checked.
    async fn names_containing(
        &self,
        tenant: &Tenant,
        text: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<FoundNames, ServiceError> {
        let text = text.to_lowercase();
        let mut looked_until = after.map(str::to_owned);
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let mut named = Vec::new();
        for bucket in tenant.buckets() {
            named.push(self.store.has_profiles(&bucket).await?);
        }
        loop {
            let mut names = Vec::new();
            // After the first page that ends, names of other buckets would be missing.
            let mut complete_until: Option<UserId> = None;
            for (bucket, has_profiles) in tenant.buckets().into_iter().zip(&named) {
                let page = self.store.user_names(&bucket, "", looked_until.as_deref(), PAGE).await?;
                let profiles = match has_profiles {
                    true => self.store.profiles(&bucket, &page).await?,
                    false => vec![Profile::default(); page.len()],
                };
                if let Some(last) = page.last().filter(|_| page.len() == PAGE) {
                    let first_end = complete_until.as_ref().is_none_or(|end| last < end);
                    complete_until = if first_end { Some(last.clone()) } else { complete_until };
                }
                names.extend(page.into_iter().zip(profiles));
            }
            names.retain(|(name, _)| complete_until.as_ref().is_none_or(|end| name <= end));
            looked_at += names.len();
            let has = |(name, profile): &(UserId, Profile)| {
                name.as_str().to_lowercase().contains(&text) || profile.contains(&text)
            };
            found.extend(names.into_iter().filter(has).map(|(name, _)| name));
            looked_until = complete_until.map(|end| end.to_string());
            if looked_until.is_none() || found.len() > count || looked_at >= MOST_LOOKED_AT {
                return Ok(FoundNames { names: found, looked_until });
            }
        }
    }

    /// # Errors
    /// [`ServiceError`]; not found if nothing is stored about the user.
    pub async fn user(&self, tenant: &Tenant, user: &UserId) -> Result<UserDetail, ServiceError> {
        let bucket = tenant.bucket_of(user);
        let found = self.store.read_users(&bucket, std::slice::from_ref(user)).await?.into_iter().next().flatten();
        let subscribed = found.ok_or_else(|| ServiceError::NotFound(format!("User `{user}` not found.")))?;
        let metadata = Metadata::default();
        let context = CounterContext { caller: Caller { user, app: &tenant.app, key: None }, metadata: &metadata };
        let usage = self.usage(tenant, context, |_| true).await?;
        let mut history = self.history(tenant, context, |_, kind| kind.scope.is_user()).await?;
        history.retain(|window| window.is_over);
        let open = self.store.open_holds(&bucket, user, usage.now_ms, OPEN_SHOWN).await?;
        let public = |hold: OpenHold| OpenReservation {
            id: ReservationId {
                name: hold.operation,
                created_at_ms: hold.reservation.created_at_ms,
                bucket: bucket.number(),
            },
            event: hold.reservation.snapshot.event().cloned(),
            expires_at_ms: hold.reservation.expires_at_ms,
            amounts: hold.amounts,
        };
        Ok(UserDetail {
            subscribed,
            open: open.into_iter().map(public).collect(),
            grants: self.grants_of(tenant, user).await?,
            profile: self.profile(tenant, user).await?,
            history,
            usage,
        })
    }

    /// Blocks or unblocks a user.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn block(
        &self,
        tenant: &Tenant,
        user: &UserId,
        blocked: bool,
        note: Option<&str>,
        author: Author<'_>,
    ) -> Result<UserChanged, ServiceError> {
        let audit_entry = AuditEntry {
            action: if blocked { "user.block" } else { "user.unblock" }.to_owned(),
            before: Some((!blocked).to_string()),
            after: Some(blocked.to_string()),
            ..AuditEntry::of_user(user, note, author.key)
        };
        let edit = UserEdit { change: UserChange::Blocked(blocked), reset: Reset::Nothing, audit_entry };
        self.change_user(tenant, user, edit, author.idempotency).await
    }

    /// Resets a user's windows to 0, for one group or all. Open reservations settle in the window in which they were
    /// made.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub async fn reset_user(
        &self,
        tenant: &Tenant,
        user: &UserId,
        group: Option<&GroupId>,
        note: Option<&str>,
        author: Author<'_>,
    ) -> Result<UserChanged, ServiceError> {
        let config = self.load_config(&tenant.app).await?;
        if let Some(group) = group.filter(|group| !config.groups.contains_key(*group)) {
            return Err(ServiceError::invalid(
                "groupId",
                format!("must be an existing group; there is no group `{group}`"),
            ));
        }
        if group.and_then(|group| config.groups.get(group)).is_some_and(|kind| kind.limit == LimitKind::Balance) {
            return Err(ServiceError::invalid(
                "groupId",
                "must be a group with a quota; void credits of a balance instead",
            ));
        }
        let audit_entry = AuditEntry {
            action: "user.reset".to_owned(),
            after: Some(group.map_or_else(|| "*".to_owned(), ToString::to_string)),
            ..AuditEntry::of_user(user, note, author.key)
        };
        let edit = UserEdit { change: UserChange::Nothing, reset: group.map_or(Reset::All, Reset::Group), audit_entry };
        self.change_user(tenant, user, edit, author.idempotency).await
    }

    pub(super) async fn change_user(
        &self,
        tenant: &Tenant,
        user: &UserId,
        edit: UserEdit<'_>,
        idempotency: Option<&Idempotency>,
    ) -> Result<UserChanged, ServiceError> {
        let UserEdit { change, reset, audit_entry } = edit;
        let operation = Operation::new(user.as_str(), idempotency, reset != Reset::Nothing);
        self.with_facts(tenant, user, async |facts| {
            let present = facts.subscribed.blocked;
            let (blocked, change) = match change {
                UserChange::Blocked(wanted) if wanted == present => (present, UserChange::Nothing),
                UserChange::Blocked(wanted) => (wanted, change),
                UserChange::Nothing | UserChange::Subscription(_) | UserChange::Profile(_) => (present, change),
            };
            let changed = change != UserChange::Nothing || reset != Reset::Nothing;
            let answer = UserChanged { user_id: user.to_string(), blocked, changed };
            let text = json(&answer)?;
            let args = ChangeUserArgs {
                bucket: &facts.bucket,
                operation: &operation,
                facts: facts.for_script(Validity::ALWAYS),
                user,
                when_full: WhenFull::Done,
                change,
                reset,
                moved: &[],
                audit_entry: changed.then_some(&audit_entry),
                event: None,
                answer: &text,
            };
            Ok(match self.store.change_user(args).await? {
                ChangeUserReply::Reused => return Err(ServiceError::IdempotencyKeyReused),
                ChangeUserReply::Stale(stale, now_ms) => Attempt::Stale(stale, now_ms),
                ChangeUserReply::Changed { now_ms, version } => {
                    self.clocks.observe_time(&facts.bucket, now_ms);
                    let subscription = facts.subscribed.subscription.clone();
                    self.remember(facts, user, Subscribed { version, subscription, blocked });
                    Attempt::Done(answer)
                }
                ChangeUserReply::Before(first) => {
                    Attempt::Done(serde_json::from_str(&first).map_err(|_| ServiceError::IdempotencyKeyReused)?)
                }
            })
        })
        .await
    }

    /// Users with a running subscription to the plan, over all modes.
    pub(crate) async fn subscribers(&self, tenant: &Tenant, plan: &PlanId) -> Result<u64, ServiceError> {
        let mut count = 0;
        self.walk_subscribers(tenant, plan, async |_, users| {
            count += users.len() as u64;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        Ok(count)
    }

    /// Moves every user of a plan to another one, in all modes.
    pub(crate) async fn move_subscribers(
        &self,
        tenant: &Tenant,
        from: &PlanId,
        to: &PlanId,
        by: &KeyId,
    ) -> Result<(), ServiceError> {
        self.walk_subscribers(tenant, from, async |tenant, users| {
            stream::iter(users.into_iter().map(Ok))
                .try_for_each_concurrent(MOVED_AT_ONCE, async |(user, _)| {
                    self.move_user(&tenant, &user, from, to, by).await
                })
                .await?;
            Ok(ControlFlow::Continue(()))
        })
        .await
    }

    /// The app in each of its modes.
    pub(crate) async fn modes(&self, tenant: &Tenant) -> Result<Vec<Tenant>, ServiceError> {
        let config = self.config(&tenant.app).await?;
        let modes = std::iter::once(Mode::Live).chain(config.sandboxes.iter().cloned().map(Mode::Test));
        Ok(modes.map(|mode| Tenant { mode, ..tenant.clone() }).collect())
    }

    /// Calls `each` with pages of users with a running subscription to the plan, in all modes, until it stops the
    /// iteration.
    pub(crate) async fn walk_subscribers(
        &self,
        tenant: &Tenant,
        plan: &PlanId,
        mut each: impl AsyncFnMut(Tenant, Vec<(UserId, Subscription)>) -> Result<ControlFlow<()>, ServiceError>,
    ) -> Result<(), ServiceError> {
        for tenant in self.modes(tenant).await? {
            for bucket in tenant.buckets() {
                let mut after: Option<String> = None;
                loop {
                    let names = self.store.user_names(&bucket, "", after.as_deref(), PAGE).await?;
                    let Some(last) = names.last() else { break };
                    after = Some(last.to_string());
                    let now = self.now(&bucket).await?;
                    let found = self.store.read_users(&bucket, &names).await?;
                    let users = names.into_iter().zip(found).filter_map(|(user, found)| {
                        let found = found?;
                        let running = found.at(now).0.filter(|running| running.plan == *plan)?;
                        Some((user, running.clone()))
                    });
                    if each(tenant.clone(), users.collect()).await?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
