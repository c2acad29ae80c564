//! `lua/enqueue.lua`, `lua/claim.lua` and `lua/attempted.lua`: deliveries to webhooks.

use std::collections::HashMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::domain::time::day::DAY_MS;
use crate::domain::time::window::TimeMs;
use crate::domain::values::ids::WebhookId;
use crate::store::error::StoreError;
use crate::store::keys::Bucket;
use crate::store::reply::text_map;
use crate::store::{Arguments, Store};

/// Stored deliveries per webhook; beyond this number the oldest are dropped.
const MOST: usize = 10_000;
/// How long a delivery is stored.
const TTL_MS: TimeMs = 30 * 24 * 60 * 60 * 1000;

fn unexpected(error: &impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

/// A stored delivery.
#[derive(Clone, Debug)]
pub struct StoredDelivery {
    pub message: String,
    pub event: String,
    /// `pending`, `delivered` or `dead`.
    pub status: String,
    pub created_at_ms: TimeMs,
    pub attempts: u64,
    pub attempted_at_ms: Option<TimeMs>,
    pub next_at_ms: Option<TimeMs>,
    pub code: Option<u16>,
    pub fault: Option<String>,
    pub body: String,
}

impl StoredDelivery {
    fn read(message: &str, mut fields: HashMap<String, String>) -> Option<Self> {
        let time = |text: Option<String>| text.and_then(|text| text.parse().ok()).filter(|time: &TimeMs| *time > 0);
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            message: message.to_owned(),
            event: fields.remove("event")?,
            status: fields.remove("status")?,
            created_at_ms: fields.remove("created_at")?.parse().ok()?,
            attempts: fields.remove("attempts").and_then(|text| text.parse().ok()).unwrap_or(0),
            attempted_at_ms: time(fields.remove("attempted_at")),
            next_at_ms: time(fields.remove("next_at")),
            code: given(fields.remove("code")).and_then(|text| text.parse().ok()),
            fault: given(fields.remove("fault")),
            body: fields.remove("body")?,
        })
    }
}

/// The last attempt of a delivery.
#[derive(Clone, Debug)]
pub struct MadeAttempt {
    pub at_ms: TimeMs,
    pub code: Option<u16>,
    /// None: it was delivered.
    pub fault: Option<String>,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptResult<'a> {
    pub delivered: bool,
    pub code: Option<u16>,
    pub fault: Option<&'a str>,
    /// Time until the next attempt.
    pub wait_ms: TimeMs,
    /// Time since the creation of the delivery after which it is given up.
    pub give_up_ms: TimeMs,
}

/// A message for one webhook.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery<'a> {
    /// ID of the message.
    pub message: &'a str,
    pub event: &'a str,
    pub body: &'a str,
}

impl Store {
    /// Creates a delivery unless it exists.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn enqueue(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        new: NewDelivery<'_>,
        now_ms: TimeMs,
    ) -> Result<(), StoreError> {
        let NewDelivery { message, event, body } = new;
        let since = now_ms.to_string();
        let fields = [("event", event), ("status", "pending"), ("body", body), ("since", &since), ("attempts", "0")];
        self.enqueue_fields(bucket, webhook, message, false, &fields).await.map(|_| ())
    }

    /// Attempts a delivery again now. False if it is no longer stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn enqueue_again(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        message: &str,
        now_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        let since = now_ms.to_string();
        self.enqueue_fields(bucket, webhook, message, true, &[("status", "pending"), ("since", &since)]).await
    }

    async fn enqueue_fields(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        message: &str,
        again: bool,
        fields: &[(&str, &str)],
    ) -> Result<bool, StoreError> {
        let keys = [
            bucket.delivery(webhook, message),
            bucket.deliveries(webhook),
            bucket.dead_deliveries(webhook),
            bucket.due_deliveries(webhook),
        ];
        let mut arguments = Arguments::default();
        arguments.text(message).flag(again).int(MOST).int(TTL_MS).int(fields.len());
        for (name, value) in fields {
            arguments.text(*name).text(*value);
        }
        let mut reply = self.call(&self.library.enqueue, &keys, &arguments).await?;
        let status = reply.text()?;
        match status.as_str() {
            "missing" => Ok(false),
            "known" => Ok(true),
            "enqueued" => {
                while reply.len() > 0 {
                    let mut command = redis::cmd("DEL");
                    command.arg(bucket.delivery(webhook, &reply.text()?));
                    self.command(&command).await?;
                }
                Ok(true)
            }
            other => Err(reply.unexpected(&format!("status {other}"))),
        }
    }

    /// Claims due deliveries; after `lease_ms` they are due again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn claim_deliveries(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        count: usize,
        lease_ms: TimeMs,
    ) -> Result<Vec<String>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.int(count).int(lease_ms);
        let mut reply = self.call(&self.library.claim, &[bucket.due_deliveries(webhook)], &arguments).await?;
        reply.only_status("claimed")?;
        let mut claimed = Vec::new();
        while reply.len() > 0 {
            claimed.push(reply.text()?);
        }
        Ok(claimed)
    }

    /// Records the result of an attempt. Returns the delivery's status; None if it is no longer stored.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn attempted(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        message: &str,
        attempt: &AttemptResult<'_>,
    ) -> Result<Option<String>, StoreError> {
        let keys = [bucket.delivery(webhook, message), bucket.dead_deliveries(webhook), bucket.due_deliveries(webhook)];
        let mut arguments = Arguments::default();
        arguments.text(message).text(if attempt.delivered { "delivered" } else { "failed" });
        arguments.text(attempt.code.map_or_else(String::new, |code| code.to_string()));
        arguments.text(attempt.fault.unwrap_or_default()).int(attempt.wait_ms).int(attempt.give_up_ms);
        let mut reply = self.call(&self.library.attempted, &keys, &arguments).await?;
        let status = reply.text()?;
        match status.as_str() {
            "missing" => Ok(None),
            "kept" => Ok(Some(reply.text()?)),
            other => Err(reply.unexpected(&format!("status {other}"))),
        }
    }

    /// # Errors
    /// [`StoreError`]
    pub async fn delivery(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        message: &str,
    ) -> Result<Option<StoredDelivery>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(bucket.delivery(webhook, message));
        Ok(StoredDelivery::read(message, text_map(self.command(&command).await?)?))
    }

    /// Messages of a webhook, newest first, from `offset` on; with `dead` only those that were given up.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn messages(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        dead: bool,
        offset: usize,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(if dead { bucket.dead_deliveries(webhook) } else { bucket.deliveries(webhook) });
        command.arg(offset).arg(offset + count - 1);
        redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(&error))
    }

    /// The last attempt of each of the newest `count` deliveries that was attempted.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn last_attempts(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        count: usize,
    ) -> Result<Vec<MadeAttempt>, StoreError> {
        let messages = self.messages(bucket, webhook, false, 0, count).await?;
        let read = async |message: &String| {
            let mut command = redis::cmd("HMGET");
            command.arg(bucket.delivery(webhook, message)).arg(&["attempted_at", "code", "fault"]);
            let fields: [Option<String>; 3] =
                redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(&error))?;
            let [at, code, fault] = fields.map(Option::unwrap_or_default);
            let made = at.parse().ok().map(|at_ms| MadeAttempt {
                at_ms,
                code: code.parse().ok(),
                fault: (!fault.is_empty()).then_some(fault),
            });
            Ok::<_, StoreError>(made)
        };
        let made: Vec<Option<MadeAttempt>> = stream::iter(&messages).map(read).buffered(count).try_collect().await?;
        Ok(made.into_iter().flatten().collect())
    }

    /// How many deliveries wait for an attempt, and how many were given up and are still kept.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open_deliveries(
        &self,
        bucket: &Bucket,
        webhook: &WebhookId,
        now_ms: TimeMs,
    ) -> Result<(u64, u64), StoreError> {
        let mut command = redis::cmd("ZCARD");
        command.arg(bucket.due_deliveries(webhook));
        let pending = redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(&error))?;
        // The record of one that was given up earlier may have expired.
        let mut command = redis::cmd("ZCOUNT");
        command.arg(bucket.dead_deliveries(webhook)).arg(now_ms - TTL_MS + DAY_MS).arg("+inf");
        let dead = redis::from_redis_value(self.command(&command).await?).map_err(|error| unexpected(&error))?;
        Ok((pending, dead))
    }

    /// Drops all deliveries of a webhook.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn drop_deliveries(&self, bucket: &Bucket, webhook: &WebhookId) -> Result<(), StoreError> {
        let messages = self.messages(bucket, webhook, false, 0, MOST + 1000).await?;
        let mut command = redis::cmd("UNLINK");
        command.arg(bucket.due_deliveries(webhook)).arg(bucket.dead_deliveries(webhook));
        command.arg(bucket.deliveries(webhook));
        for message in messages {
            command.arg(bucket.delivery(webhook, &message));
        }
        self.command(&command).await.map(|_| ())
    }
}
