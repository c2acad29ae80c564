//! Reads users: the index of their names, and their stored state.

use std::collections::{HashMap, HashSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use redis::Value;

use crate::domain::accounts::subscription::Subscribed;
use crate::domain::configuration::scope::OwnerName;
use crate::domain::metering::reservation::OperationName;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::account::{
    ACCOUNT, Account, BLOCK, CounterText, EXTENDED, LIMITS, ReadWindow, SUBSCRIPTION, entry_group, read_window,
};
use crate::store::metering::admission::read_subscribed;
use crate::store::metering::record::StoredReservation;
use crate::store::reply::{Fields, optional_text, text_map};

/// Concurrent reads; they share the node's connections.
const PARALLEL: usize = 128;
/// The maximum number of an owner's holds that are searched for one answer.
const MOST_HOLDS: usize = 1_000;

/// A user's state apart from its counters, in the order of `lua/lib/facts.lua`.
const FACTS: [&str; 4] = [ACCOUNT, SUBSCRIPTION, LIMITS, BLOCK];

/// A live hold of a user.
#[derive(Clone, Debug)]
pub struct OpenHold {
    pub operation: OperationName,
    pub reservation: StoredReservation,
    /// Held amounts per group; a group may occur once per window.
    pub amounts: Vec<(GroupId, Amount)>,
}

/// A closed window.
#[derive(Clone, Debug)]
pub struct ClosedWindow {
    pub group: GroupId,
    /// The window's sequence number among those of its counter.
    pub window_seq: String,
    pub window: Window,
    pub used: Amount,
    /// The quota at the last call in the window; None counted without limit.
    pub quota: Option<Amount>,
    /// Extra quota that was unused in the window before.
    pub rolled: Amount,
    /// Extra quota by grants when it ended.
    pub granted: Amount,
    /// After this time nothing can be charged to it or refunded any more.
    pub keep_until_ms: TimeMs,
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

impl Store {
    /// Names of users that begin with `prefix`, sorted by their bytes, after `after`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn user_names(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let from = match after {
            Some(after) if after >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        // UTF-8 texts never contain the byte 0xff, so this comes after every name with the prefix.
        let to = if prefix.is_empty() { b"+".to_vec() } else { [b"(", prefix.as_bytes(), b"\xff"].concat() };
        let mut command = redis::cmd("ZRANGE");
        command.arg(bucket.users()).arg(from).arg(to).arg("BYLEX").arg("LIMIT").arg(0).arg(count);
        let names: Vec<String> = redis::from_redis_value(self.page(&command).await?).map_err(unexpected)?;
        names.iter().map(|name| UserId::parse(name).map_err(unexpected)).collect()
    }

    /// The state of users, in the same order; None if nothing is stored about a user.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_users(&self, bucket: &Bucket, users: &[UserId]) -> Result<Vec<Option<Subscribed>>, StoreError> {
        stream::iter(users).map(|user| self.read_user(bucket, user)).buffered(PARALLEL).try_collect().await
    }

    async fn read_user(&self, bucket: &Bucket, user: &UserId) -> Result<Option<Subscribed>, StoreError> {
        let key = bucket.account(user);
        let mut command = redis::cmd("HMGET");
        command.arg(&key).arg(&FACTS);
        let Value::Array(values) = self.command(&command).await? else {
            return Err(unexpected("a user"));
        };
        let present = values.iter().any(|value| *value != Value::Nil);
        let texts = values.into_iter().map(|value| Ok(optional_text(value)?.unwrap_or_default()));
        let subscribed = subscribed_of(texts.collect::<Result<_, StoreError>>()?)?;
        if present {
            return Ok(Some(subscribed));
        }
        // A user on the default plan may have counters only.
        let mut exists = redis::cmd("EXISTS");
        exists.arg(key);
        Ok((self.command(&exists).await? == Value::Int(1)).then_some(subscribed))
    }

    /// Everything stored about users, in one read each.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stored_users(&self, bucket: &Bucket, users: &[UserId]) -> Result<Vec<StoredOwner>, StoreError> {
        let read = async |user: &UserId| StoredOwner::read(self.counters_hash(&bucket.account(user)).await?);
        stream::iter(users).map(read).buffered(PARALLEL).try_collect().await
    }

    /// The same for any owner.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn stored_owner(&self, bucket: &Bucket, owner: &OwnerName) -> Result<StoredOwner, StoreError> {
        StoredOwner::read(self.counters_hash(&bucket.owner(owner).account).await?)
    }

    /// Closed windows of an owner, unordered.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn closed_windows(&self, bucket: &Bucket, owner: &OwnerName) -> Result<Vec<ClosedWindow>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(bucket.owner(owner).past());
        let fields: HashMap<String, String> = text_map(self.command(&command).await?)?;
        Ok(fields.iter().filter_map(|(name, value)| read_closed(name, value)).collect())
    }

    /// The counters, by group and sequence number, with holds of reservations that end after `after`; None if there
    /// are more than a thousand such reservations.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn held_after(
        &self,
        bucket: &Bucket,
        owner: &OwnerName,
        after: TimeMs,
    ) -> Result<Option<HashSet<(GroupId, String)>>, StoreError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(bucket.owner(owner).holds()).arg(format!("({after}")).arg("+inf");
        command.arg("LIMIT").arg(0).arg(MOST_HOLDS + 1);
        let members: Vec<String> = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        let entries = members.iter().filter_map(|member| member.split(' ').nth(1)).flat_map(|list| list.split(','));
        let held = entries.filter_map(|entry| {
            let mut parts = entry.split(':');
            Some((entry_group(parts.next()?)?, parts.next()?.to_owned()))
        });
        Ok((members.len() <= MOST_HOLDS).then(|| held.collect()))
    }

    /// At most `count` live holds of a user, those that expire first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open_holds(
        &self,
        bucket: &Bucket,
        user: &UserId,
        now: TimeMs,
        count: usize,
    ) -> Result<Vec<OpenHold>, StoreError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(bucket.user(user).holds()).arg(format!("({now}")).arg("+inf").arg("LIMIT").arg(0).arg(count);
        let members: Vec<String> = redis::from_redis_value(self.command(&command).await?).map_err(unexpected)?;
        let mut open = Vec::new();
        for member in members {
            let mut words = member.split(' ');
            let (Some(name), Some(entries)) = (words.next().and_then(OperationName::parse), words.next()) else {
                return Err(unexpected("a hold"));
            };
            // If its record no longer exists, it was settled meanwhile.
            if let Some(reservation) = self.reservation(bucket, &name).await? {
                let amounts = entries.split(',').filter_map(read_entry).collect();
                open.push(OpenHold { operation: name, reservation, amounts });
            }
        }
        Ok(open)
    }
}

/// A counter in its stored window, which may be over.
#[derive(Clone, Debug)]
pub struct StoredCounter {
    pub group: GroupId,
    /// The window's sequence number among those of its counter.
    pub window_seq: String,
    pub window: Window,
    pub used: Amount,
    /// The quota at the last call in the window; None counts without limit.
    pub quota: Option<Amount>,
    /// Extra quota that was unused in the window before.
    pub rolled: Amount,
}

/// A grant as stored with the counters.
#[derive(Clone, Debug)]
struct StoredGrant {
    id: String,
    group: GroupId,
    amount: Amount,
    /// None if it applies to every window until its end.
    window_seq: Option<String>,
    ends_at_ms: Option<TimeMs>,
}

/// An active grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveGrant {
    pub id: String,
    pub amount: Amount,
    /// None if never.
    pub ends_at_ms: Option<TimeMs>,
}

/// A user's stored account.
#[derive(Clone, Debug)]
pub struct StoredOwner {
    pub subscribed: Subscribed,
    pub windows: Vec<StoredCounter>,
    /// The longest lifetime of any reservation that was not extended.
    pub longest_ttl_ms: TimeMs,
    /// The latest expiry of the extended ones.
    pub extended_until_ms: Option<TimeMs>,
    /// Amounts blocked by plan changes, in windows that are still current.
    pub blocked: Vec<(GroupId, Window, Amount)>,
    grants: Vec<StoredGrant>,
}

impl StoredOwner {
    pub(in crate::store) fn read(mut fields: HashMap<String, String>) -> Result<Self, StoreError> {
        let facts: Vec<String> = FACTS.iter().map(|name| fields.remove(*name).unwrap_or_default()).collect();
        let longest_ttl_ms =
            facts.first().and_then(|text| Account::parse(text)).map_or(0, |account| account.longest_ttl_ms);
        let subscribed = subscribed_of(facts)?;
        let mut windows = Vec::new();
        let mut grants = Vec::new();
        for (name, text) in &fields {
            if !name.contains('.') {
                windows.extend(read_counter(name, text));
            } else if let Some(group) = name.strip_suffix(".grants") {
                grants.extend(text.split(',').filter_map(|grant| read_grant(group, grant)));
            }
        }
        windows.sort_by(|one, other| one.group.cmp(&other.group));
        let blocked = windows.iter().filter_map(|counter: &StoredCounter| {
            let (window_seq, amount) = fields.get(&format!("{}.blocked", counter.group))?.split_once(' ')?;
            let amount = Amount::from_steps(amount.parse().ok()?).ok()?;
            (window_seq == counter.window_seq).then(|| (counter.group.clone(), counter.window, amount))
        });
        let blocked = blocked.collect();
        let extended_until_ms = fields.get(EXTENDED).and_then(|text| text.parse().ok());
        Ok(Self { subscribed, windows, blocked, longest_ttl_ms, extended_until_ms, grants })
    }

    /// The sum of active grants for a counter.
    pub fn granted(&self, counter: &StoredCounter, now: TimeMs) -> Amount {
        let grants = self.grants.iter().filter(|grant| {
            grant.group == counter.group
                && grant.ends_at_ms.is_none_or(|end| now < end)
                && grant.window_seq.as_ref().is_none_or(|window_seq| *window_seq == counter.window_seq)
        });
        grants.fold(Amount::ZERO, |sum, grant| sum.saturating_add(grant.amount))
    }

    /// The sum of active grants for a group's counter in any window.
    pub fn granted_in_any_window(&self, group: &GroupId, now: TimeMs) -> Amount {
        let live = |grant: &&StoredGrant| grant.window_seq.is_none() && grant.ends_at_ms.is_none_or(|end| now < end);
        let grants = self.grants.iter().filter(|grant| grant.group == *group).filter(live);
        grants.fold(Amount::ZERO, |sum, grant| sum.saturating_add(grant.amount))
    }

    /// The present window of a counter, if it has this sequence number.
    pub fn window_of(&self, group: &GroupId, window_seq: &str) -> Option<Window> {
        let counter = self.windows.iter().find(|counter| counter.group == *group && counter.window_seq == window_seq);
        counter.map(|counter| counter.window)
    }

    /// The active grants for one counter.
    pub fn grants_to(&self, group: &GroupId, now: TimeMs) -> Vec<LiveGrant> {
        let live = self.live_grants(now);
        let ends_at_ms = |grant: &StoredGrant| live.iter().find(|(id, _)| *id == grant.id).map(|(_, end)| *end);
        let own = self.grants.iter().filter(|grant| grant.group == *group);
        let reported = own.filter_map(|grant| {
            Some(LiveGrant { id: grant.id.clone(), amount: grant.amount, ends_at_ms: ends_at_ms(grant)? })
        });
        reported.collect()
    }

    /// The grants that have not ended, with their ends.
    pub fn live_grants(&self, now: TimeMs) -> Vec<(&str, Option<TimeMs>)> {
        let ends_at_ms = |grant: &StoredGrant| match &grant.window_seq {
            None => Some(grant.ends_at_ms),
            Some(window_seq) => {
                let counter = self.windows.iter().find(|counter| counter.group == grant.group);
                counter.filter(|counter| counter.window_seq == *window_seq).map(|counter| counter.window.end_ms)
            }
        };
        let ends = self.grants.iter().filter_map(|grant| Some((grant.id.as_str(), ends_at_ms(grant)?)));
        ends.filter(|(_, end)| end.is_none_or(|end| now < end)).collect()
    }
}

/// `.account`, `.plan`, `.limits` and `.block`; missing ones are empty.
fn subscribed_of(mut facts: Vec<String>) -> Result<Subscribed, StoreError> {
    if let Some(account) = facts.first_mut() {
        *account = match account.as_str() {
            "" => "0".to_owned(),
            text => Account::parse(text).ok_or_else(|| unexpected(format!("the account {text:?}")))?.version,
        };
    }
    let facts = facts.into_iter().map(|text| Value::BulkString(text.into_bytes())).collect();
    read_subscribed(&mut Fields::new("user", Value::Array(facts))?)
}

fn read_counter(group: &str, text: &str) -> Option<StoredCounter> {
    let CounterText { used, quota, rolled, window, seq, .. } = CounterText::parse(text)?;
    Some(StoredCounter { group: GroupId::parse(group).ok()?, window_seq: seq.to_owned(), window, used, quota, rolled })
}

/// `<id>:<amount>:<window_seq|*>:<ends_at_ms|*>`
fn read_grant(group: &str, text: &str) -> Option<StoredGrant> {
    let mut parts = text.split(':');
    let (id, amount, window_seq, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(StoredGrant {
        id: id.to_owned(),
        group: GroupId::parse(group).ok()?,
        amount: Amount::from_steps(amount.parse().ok()?).ok()?,
        window_seq: (window_seq != "*").then(|| window_seq.to_owned()),
        ends_at_ms: end.parse().ok(),
    })
}

/// `<group>:<window_seq>:<amount>`
fn read_entry(entry: &str) -> Option<(GroupId, Amount)> {
    let mut parts = entry.split(':');
    let (group, _, amount) = (parts.next()?, parts.next()?, parts.next()?);
    Some((entry_group(group)?, Amount::from_steps(amount.parse().ok()?).ok()?))
}

/// `<group>.<sequence number>` = `<used> <quota> <window> <granted> <keep until>`
fn read_closed(name: &str, value: &str) -> Option<ClosedWindow> {
    let (group, window_seq) = name.rsplit_once('.')?;
    let (used, rest) = value.split_once(' ')?;
    let mut last = rest.rsplitn(3, ' ');
    let (keep_until_ms, granted) = (last.next()?.parse().ok()?, last.next()?.parse().ok()?);
    let ReadWindow { window, quota, rolled } = read_window(last.next()?)?;
    Some(ClosedWindow {
        group: GroupId::parse(group).ok()?,
        window_seq: window_seq.to_owned(),
        window,
        used: Amount::from_steps(used.parse().ok()?).ok()?,
        quota,
        rolled,
        granted: Amount::from_steps(granted).ok()?,
        keep_until_ms,
    })
}
