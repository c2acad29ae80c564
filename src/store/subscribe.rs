//! `lua/subscribe.lua`

use super::admission::{Facts, Stale, read_stale};
use super::error::StoreError;
use super::keys::Bucket;
use super::operation::Operation;
use super::record::Record;
use super::reply::Fields;
use super::{Arguments, Store};
use crate::domain::ids::UserId;
use crate::domain::subscription::Subscription;
use crate::domain::window::{TimeMs, rfc3339};

/// A subscription to write, or (without `write`) to confirm.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeArgs<'a> {
    pub bucket: &'a Bucket,
    pub operation: &'a Operation,
    pub facts: Facts<'a>,
    pub user: &'a UserId,
    pub write: bool,
    pub subscription: &'a Subscription,
    /// Every window starts anew at 0.
    pub reset: bool,
    /// What to tell again for the idempotency key.
    pub answer: &'a str,
}

/// What became of it.
#[derive(Debug)]
pub enum SubscribeReply {
    Reused,
    Stale(Stale, TimeMs),
    Subscribed {
        now_ms: TimeMs,
        version: String,
    },
    /// The first answer to the same operation.
    Before(String),
}

impl Store {
    /// # Errors
    /// [`StoreError`]
    pub async fn subscribe(&self, args: SubscribeArgs<'_>) -> Result<SubscribeReply, StoreError> {
        let bucket = args.bucket;
        let owner = bucket.user(args.user);
        let keys = [
            bucket.stamp(),
            bucket.operation(&args.operation.name),
            bucket.clock(),
            owner.counters,
            owner.holds,
            owner.past,
            bucket.users(),
        ];
        let mut arguments = Arguments::default();
        args.operation.write(&mut arguments);
        args.facts.write(&mut arguments);
        let subscription = args.subscription;
        arguments.text(args.user.as_str()).flag(args.write).text(subscription.plan.as_str());
        arguments.text(rfc3339(subscription.started_at_ms));
        arguments.text(subscription.cycle_start_ms.map(rfc3339).unwrap_or_default());
        arguments.text(subscription.ends_at_ms.map(rfc3339).unwrap_or_default());
        arguments.flag(args.reset).text(args.answer);
        read(self.call(&self.scripts.subscribe, &keys, arguments).await?)
    }
}

fn read(mut fields: Fields) -> Result<SubscribeReply, StoreError> {
    let status = fields.text()?;
    Ok(match status.as_str() {
        "replayed" => match Record::read(&mut fields)? {
            Record::Reservation(_) => SubscribeReply::Reused,
            Record::Answer(text) => read_kept(&text)?,
        },
        "reused" => SubscribeReply::Reused,
        "subscribed" => SubscribeReply::Subscribed { now_ms: fields.time()?, version: fields.text()? },
        stale => read_stale(stale, &mut fields).map(|(stale, now)| SubscribeReply::Stale(stale, now))?,
    })
}

fn read_kept(text: &str) -> Result<SubscribeReply, StoreError> {
    let mut kept = Fields::stored("subscribe", text);
    if kept.text()? != "subscribed" {
        return Ok(SubscribeReply::Reused);
    }
    let (_now, _version) = (kept.time()?, kept.text()?);
    kept.text().map(SubscribeReply::Before)
}

impl Store {
    /// The first answer to the same operation, if it was done before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn subscribed_before(
        &self,
        bucket: &Bucket,
        operation: &Operation,
    ) -> Result<Option<SubscribeReply>, StoreError> {
        let Some((fingerprint, text)) = self.kept_answer(&bucket.operation(&operation.name)).await? else {
            return Ok(None);
        };
        if fingerprint != operation.fingerprint() {
            return Ok(Some(SubscribeReply::Reused));
        }
        read_kept(&text).map(Some)
    }
}
