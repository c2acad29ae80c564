//! `lua/change_user.lua`

use crate::domain::access::audit::AuditEntry;
use crate::domain::accounts::subscription::Subscription;
use crate::domain::configuration::limit_group::OnPlanChange;
use crate::domain::time::window::{TimeMs, Window};
use crate::domain::values::amount::Amount;
use crate::domain::values::ids::{GroupId, UserId};
use crate::store::client::library::WhenFull;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::metering::account::{BLOCK, LIMITS, SUBSCRIPTION, window_text};
use crate::store::metering::admission::{Facts, Stale, read_stale, subscription_text};
use crate::store::metering::operation::Operation;
use crate::store::metering::record::Record;
use crate::store::reply::Fields;
use crate::store::{Arguments, Store};

/// What to write for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserChange<'a> {
    Nothing,
    Subscription(&'a Subscription),
    Blocked(bool),
    /// Display name and tags as JSON; empty: none.
    Profile(&'a str),
}

/// Which windows to reset to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset<'a> {
    Nothing,
    All,
    Group(&'a GroupId),
}

/// A group of the plan that the user moves to, with the effect on its counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedGroup {
    pub id: GroupId,
    pub window: Window,
    pub action: OnPlanChange,
    /// Groups without a quota cannot be blocked.
    pub quota: Option<Amount>,
    /// How much is rolled over at most.
    pub rollover: Option<Amount>,
}

#[derive(Clone, Copy, Debug)]
pub struct ChangeUserArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    pub user: &'a UserId,
    pub when_full: WhenFull,
    pub change: UserChange<'a>,
    pub reset: Reset<'a>,
    pub moved: &'a [MovedGroup],
    pub audit_entry: Option<&'a AuditEntry>,
    /// The event for the outbox, as JSON.
    pub event: Option<&'a str>,
    /// The answer to store for the idempotency key.
    pub answer: &'a str,
}

/// The result.
#[derive(Debug)]
pub enum ChangeUserReply {
    Reused,
    Stale(Stale, TimeMs),
    Changed {
        now_ms: TimeMs,
        version: String,
    },
    /// The first answer of the same operation.
    Before(String),
}

impl UserChange<'_> {
    /// Fields to set and fields to delete.
    fn fields(&self) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
        match self {
            Self::Nothing | Self::Profile(_) => (Vec::new(), Vec::new()),
            Self::Blocked(true) => (vec![(BLOCK, "1".to_owned())], Vec::new()),
            Self::Blocked(false) => (Vec::new(), vec![BLOCK]),
            Self::Subscription(subscription) => {
                let mut set = vec![(SUBSCRIPTION, subscription_text(subscription))];
                match &subscription.custom_limits {
                    Some(limits) => set.push((LIMITS, limits.as_str().to_owned())),
                    None => return (set, vec![LIMITS]),
                }
                (set, Vec::new())
            }
        }
    }
}

impl MovedGroup {
    fn write(&self, arguments: &mut Arguments) {
        let (action, quota) = match (self.action, self.quota) {
            (OnPlanChange::Carry, _) | (OnPlanChange::Block, None) => ("carry", Amount::ZERO),
            (OnPlanChange::Reset, _) => ("reset", Amount::ZERO),
            (OnPlanChange::Block, Some(quota)) => ("block", quota),
        };
        arguments
            .text(self.id.as_str())
            .text(window_text(&self.window, self.quota, &[]))
            .text(action)
            .int(quota.steps())
            .int(self.rollover.unwrap_or_default().steps());
    }
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn change_user(&self, args: ChangeUserArgs<'_>) -> Result<ChangeUserReply, StoreError> {
        let bucket = args.bucket;
        let owner = bucket.user(args.user);
        let (holds, past) = (owner.holds(), owner.past());
        let keys = [
            bucket.stamp(),
            bucket.operation(&args.operation.name),
            bucket.clock(),
            owner.account,
            holds,
            past,
            bucket.users(),
            bucket.leaving(),
            bucket.audit(),
            bucket.outbox(),
            bucket.ledger(),
            bucket.profiles(),
        ];
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        args.facts.write(self.ledger_entries, &mut arguments);
        arguments.text(args.user.as_str());
        let (set, gone) = args.change.fields();
        arguments.int(set.len());
        for (name, value) in set {
            arguments.text(name).text(value);
        }
        arguments.int(gone.len());
        for name in gone {
            arguments.text(name);
        }
        arguments.text(match args.reset {
            Reset::Nothing => "-",
            Reset::All => "*",
            Reset::Group(group) => group.as_str(),
        });
        arguments.int(args.moved.len());
        args.moved.iter().for_each(|group| group.write(&mut arguments));
        AuditEntry::write(args.audit_entry, &mut arguments);
        arguments.text(args.event.unwrap_or_default()).text(args.answer);
        arguments.text(if let UserChange::Profile(text) = args.change { text } else { "-" });
        let reply = read(self.call_when_full(&self.library.change_user, args.when_full, &keys, &arguments).await?)?;
        if matches!(reply, ChangeUserReply::Before(_)) {
            args.operation.is_replayed();
        }
        Ok(reply)
    }

    /// The first answer of the same operation, if there was one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn user_changed_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<ChangeUserReply>, StoreError> {
        let Some((fingerprint, text)) = self.kept_answer(&bucket.operation(&operation.name)).await? else {
            return Ok(None);
        };
        if fingerprint != operation.fingerprint() {
            return Ok(Some(ChangeUserReply::Reused));
        }
        operation.is_replayed();
        read_kept(&text).map(Some)
    }
}

pub(in crate::store) fn read(mut fields: Fields) -> Result<ChangeUserReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => ChangeUserReply::Reused,
            Record::Answer(text) => read_kept(&text)?,
        },
        "reused" => ChangeUserReply::Reused,
        "changed" => ChangeUserReply::Changed { now_ms: fields.time()?, version: fields.text()? },
        stale => read_stale(stale, &mut fields).map(|(stale, now)| ChangeUserReply::Stale(stale, now))?,
    })
}

fn read_kept(text: &str) -> Result<ChangeUserReply, StoreError> {
    let mut kept = Fields::stored("change_user", text);
    if kept.text()? != "changed" {
        return Ok(ChangeUserReply::Reused);
    }
    let (_now, _version) = (kept.time()?, kept.text()?);
    kept.text().map(ChangeUserReply::Before)
}
