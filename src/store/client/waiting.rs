//! Waits for replicas: a writing call is only answered when enough replicas have acknowledged it.
//!
//! `WAIT` covers what was written on its own connection, which cannot be used for anything else meanwhile. So a call,
//! a mark after it (`lua/mark.lua`) and `WAIT` are sent together on a connection that serves one call at a time. With
//! two connections, or after a reconnect in between, a newly promoted master could acknowledge a call that it never
//! received.

use std::time::Duration;

use redis::{Cmd, Pipeline, RedisResult, Value};

use super::exclusive::Exclusive;
use super::library::Function;
use crate::store::error::StoreError;
use crate::store::keys;

/// Calls per node that can wait at once; further ones queue, within the time limit of a round trip.
const CONNECTIONS: usize = 32;

/// The connections of waiting calls.
pub struct Waiting {
    replicas: u8,
    /// `WAIT` gives up before the caller does, so that the error can state the reason.
    patience_ms: u64,
    connections: Exclusive,
}

impl Waiting {
    /// None if no replica must acknowledge calls.
    ///
    /// # Errors
    /// An invalid URL.
    pub fn open(url: &str, timeout: Duration, replicas: u8) -> RedisResult<Option<Self>> {
        if replicas == 0 {
            return Ok(None);
        }
        let patience_ms = u64::try_from(timeout.as_millis() / 2).unwrap_or(u64::MAX).max(1);
        Ok(Some(Self { replicas, patience_ms, connections: Exclusive::open(url, timeout, CONNECTIONS)? }))
    }

    /// How many replicas must acknowledge a call.
    pub fn replicas(&self) -> u8 {
        self.replicas
    }

    /// Runs a call on the keys of one slot, which includes `key`. Returns how many replicas have acknowledged it.
    pub async fn run(&self, key: &str, call: &Cmd, mark: &Function) -> RedisResult<(Value, u64)> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(call.clone());
        pipeline.cmd("FCALL").arg(&mark.registered).arg(1).arg(keys::mark(key));
        pipeline.cmd("WAIT").arg(self.replicas).arg(self.patience_ms);
        let answers = self.connections.run_all(key, &pipeline).await?;
        let answers = answers.into_iter().map(Value::extract_error).collect::<RedisResult<Vec<Value>>>()?;
        let [answer, marked, acknowledged] = <[Value; 3]>::try_from(answers)
            .map_err(|answers| (redis::ErrorKind::UnexpectedReturnType, "WAIT", format!("{answers:?}")))?;
        let marked: Vec<String> = redis::from_redis_value(marked)?;
        if marked != ["marked"] {
            return Err((redis::ErrorKind::UnexpectedReturnType, "mark", format!("{marked:?}")).into());
        }
        Ok((answer, redis::from_redis_value(acknowledged)?))
    }

    /// # Errors
    /// Too few replicas have acknowledged the call: it may count, and a repetition finds it.
    pub fn check(&self, script: &'static str, acknowledged: u64) -> Result<(), StoreError> {
        if acknowledged >= u64::from(self.replicas) {
            return Ok(());
        }
        metrics::counter!("quotagate_unreplicated_calls_total", "script" => script).increment(1);
        Err(StoreError::Unavailable(format!(
            "{acknowledged} of {} replicas have acknowledged the call within {} ms",
            self.replicas, self.patience_ms
        )))
    }
}
