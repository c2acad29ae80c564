//! Sends the calls: each row of the trace is one reserve and, if allowed, one commit.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use quotagate::cli::trace::{EVENT, Row};
use serde::{Deserialize, Serialize};

use super::error::ReplayError;
use super::exact::Exact;
use super::gateway::{Answer, Gateway};
use super::tally::{Denial, Outcome, TraceSums};

/// The lifetime of a hold: longer than a reserve and a commit with all their retries, so that a commit is never late,
/// since a late one may exceed a quota.
pub const HOLD_SECONDS: u32 = 300;
/// A denial with this reason must be justified by its figures.
pub const NO_ROOM: &str = "limit_reached";

/// The parameters of all calls of one run.
pub struct Drive<'a> {
    pub gateway: &'a Gateway,
    pub users: &'a [String],
    pub model: &'a str,
    /// The number of generated tokens that a reserve requests.
    pub max_output: u32,
    pub concurrency: usize,
    /// Trace seconds per second; None sends as fast as possible.
    pub speed: Option<f64>,
    /// Makes this run's idempotency keys unique.
    pub run: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    model: &'a str,
    prompt_tokens: u32,
    completion_tokens: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reserve<'a> {
    user_id: &'a str,
    event: &'a str,
    quantity: u64,
    metadata: Metadata<'a>,
    ttl_seconds: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reserved {
    allowed: bool,
    reservation_id: Option<String>,
    #[serde(default)]
    reasons: Vec<String>,
    #[serde(default)]
    denied_by: Vec<DeniedBy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeniedBy {
    group_id: String,
    requested: Option<Exact>,
    remaining: Option<Exact>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Commit<'a> {
    reservation_id: &'a str,
    quantity: u64,
    metadata: Metadata<'a>,
}

/// An answer whose status alone matters.
#[derive(Deserialize)]
struct Accepted {}

impl Drive<'_> {
    /// Subscribes every user to the plan.
    pub async fn subscribe(&self, plan_id: &str) -> Result<(), ReplayError> {
        // By index instead of reference, so that the future stays `Send`.
        stream::iter(0..self.users.len())
            .map(|number| async move {
                let user = &self.users[number];
                let body = serde_json::json!({ "userId": user, "planId": plan_id });
                let key = format!("replay-{}-{number}-subscribe", self.run);
                self.gateway
                    .post::<Accepted>("subscriptions", &body, &key)
                    .await
                    .map_err(|source| ReplayError::call(format!("subscribing {user}"), source))
            })
            .buffer_unordered(self.concurrency)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// Makes all calls. The first call without an answer ends the run.
    pub async fn calls(&self, rows: &[Row], tally: TraceSums) -> Result<TraceSums, ReplayError> {
        let bar = progress_bar(rows.len());
        let began = Instant::now();
        let first_at = rows.first().map(|row| row.at).unwrap_or_default();
        let tally = stream::iter(0..rows.len())
            .map(|index| async move {
                if let Some(due) = self.due(began, rows[index].at - first_at) {
                    tokio::time::sleep_until(due.into()).await;
                }
                let outcome = self.call(index, &rows[index]).await?;
                Ok::<_, ReplayError>((index, outcome))
            })
            .buffer_unordered(self.concurrency)
            .try_fold(tally, |mut tally, (index, outcome)| {
                tally.add(&rows[index], outcome);
                bar.inc(1);
                std::future::ready(Ok(tally))
            })
            .await;
        bar.finish_and_clear();
        let mut tally = tally?;
        tally.elapsed = began.elapsed();
        Ok(tally)
    }

    /// One row: reserves the upper bound, then commits the actual figures.
    async fn call(&self, index: usize, row: &Row) -> Result<Outcome, ReplayError> {
        let user = &self.users[index % self.users.len()];
        let failed =
            |call: &str, source| ReplayError::call(format!("trace line {} ({user}), {call}", row.line), source);

        let bound = self.max_output.max(row.generated_tokens);
        let reserve = Reserve {
            user_id: user,
            event: EVENT,
            quantity: u64::from(row.context_tokens) + u64::from(bound),
            metadata: self.metadata(row.context_tokens, bound),
            ttl_seconds: HOLD_SECONDS,
        };
        let key = format!("replay-{}-{index}-reserve", self.run);
        let began = Instant::now();
        let answer: Answer<Reserved> =
            self.gateway.post("reserve", &reserve, &key).await.map_err(|source| failed("reserve", source))?;
        let reserve_took = began.elapsed();
        if !answer.body.allowed {
            return Ok(Outcome::Denied { reserve: reserve_took, denial: denial(answer) });
        }
        let Some(reservation_id) = answer.body.reservation_id else {
            return Ok(Outcome::Unmetered { reserve: reserve_took });
        };

        let commit = Commit {
            reservation_id: &reservation_id,
            quantity: u64::from(row.context_tokens) + u64::from(row.generated_tokens),
            metadata: self.metadata(row.context_tokens, row.generated_tokens),
        };
        let key = format!("replay-{}-{index}-commit", self.run);
        let began = Instant::now();
        self.gateway.post::<Accepted>("commit", &commit, &key).await.map_err(|source| failed("commit", source))?;
        Ok(Outcome::Committed { reserve: reserve_took, commit: began.elapsed() })
    }

    /// When to send the row that is this far after the first one. `None` means at once, also for a row that is earlier
    /// than the first.
    fn due(&self, began: Instant, offset: TimeDelta) -> Option<Instant> {
        let seconds = offset.to_std().ok()?.as_secs_f64() / self.speed?;
        began.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
    }

    fn metadata(&self, prompt_tokens: u32, completion_tokens: u32) -> Metadata<'_> {
        Metadata { model: self.model, prompt_tokens, completion_tokens }
    }
}

fn denial(answer: Answer<Reserved>) -> Denial {
    let Answer { body, replayed } = answer;
    let claims_no_room = body.reasons.iter().any(|reason| reason == NO_ROOM);
    let fits = |group: &DeniedBy| match (group.requested, group.remaining) {
        (Some(requested), Some(remaining)) => requested <= remaining,
        _ => false,
    };
    Denial {
        // A replayed denial has the present counters, not those of the decision.
        undue: claims_no_room && !replayed && body.denied_by.iter().any(fits),
        groups: body.denied_by.into_iter().map(|it| it.group_id).collect(),
        reasons: body.reasons,
    }
}

/// A progress bar on stderr; indicatif hides it if stderr is not a terminal.
fn progress_bar(rows: usize) -> ProgressBar {
    let bar = ProgressBar::new(rows as u64);
    let template = "{bar:40} {human_pos}/{human_len} calls  {per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(json: &str, replayed: bool) -> Denial {
        let body = serde_json::from_str(json).unwrap();
        denial(Answer { body, replayed })
    }

    const FITTING: &str = r#"{"allowed": false, "reasons": ["limit_reached"],
        "deniedBy": [{"groupId": "tokens", "requested": 10, "remaining": 10, "resetsAt": null}]}"#;

    #[test]
    fn a_denial_is_due_only_if_it_asked_for_more_than_remained() {
        assert!(denied(FITTING, false).undue);
        let lacking = FITTING.replace("\"remaining\": 10", "\"remaining\": 9.999999");
        assert!(!denied(&lacking, false).undue);
    }

    #[test]
    fn a_replayed_denial_is_not_judged_by_the_counters_of_now() {
        assert!(!denied(FITTING, true).undue);
    }

    #[test]
    fn a_denial_for_another_reason_needs_no_figures() {
        let denial = denied(r#"{"allowed": false, "reasons": ["no_subscription"]}"#, false);
        assert!(!denial.undue && denial.groups.is_empty());
        assert_eq!(denial.reasons, ["no_subscription"]);
    }
}
