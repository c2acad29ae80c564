//! `POST batch`: many metering operations in one request. Each operation runs the same code as its own route. This
//! module parses them, keeps the order of one user's operations, and collects the results.

mod operation_body;

use std::collections::{HashMap, HashSet};

use actix_web::HttpResponse;
use futures::future::{FutureExt as _, join_all};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use operation_body::OperationBody;

use super::call::{ReserveBody, call_faults};
use super::can_use::{self, CanUseView};
use super::commit::{self, CommitBody, commit_faults};
use super::extend::{self, ExtendBody};
use super::release::{self, ReleaseBody};
use super::reserve;
use super::settlement::SettlementView;
use super::track::{self, TrackBody, TrackedView, track_faults};
use crate::domain::metering::idempotency::Idempotency;
use crate::domain::metering::reservation::ReservationId;
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{IdempotencyKey, UserId};
use crate::http::middleware::limits::Reader;
use crate::http::middleware::readers::SharedReaders;
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Body, ParsedBody, repeatable};
use crate::http::wire::header::Header;
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::DecisionView;
use crate::service::error::ServiceError;
use crate::service::metering::decision::Decision;
use crate::service::metering::settle::Settlement;

/// The maximum number of operations in one batch.
const MOST_OPERATIONS: usize = 100;
/// How many events are decided at a time. A batch of 100 usual operations has 100 events, and its commands reach Redis
/// together. A batch with many items in each operation would otherwise block the thread for other calls.
const MOST_EVENTS_AT_ONCE: usize = 100;

/// Several operations. A fault in one of them is reported in its own result and does not affect the others.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// 1 to 100.
    #[schema(value_type = Vec<OperationBody>, min_items = 1, max_items = 100)]
    operations: Vec<Box<RawValue>>,
}

/// The call that an operation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Reserve,
    Commit,
    Release,
    Extend,
    Track,
    CanUse,
}

impl Op {
    pub const ALL: [Self; 6] = [Self::Reserve, Self::Commit, Self::Release, Self::Extend, Self::Track, Self::CanUse];

    /// The name in `op` and in the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Commit => "commit",
            Self::Release => "release",
            Self::Extend => "extend",
            Self::Track => "track",
            Self::CanUse => "can-use",
        }
    }

    fn parse(text: Option<&str>) -> Result<Self, FieldError> {
        let names = Self::ALL.map(Self::as_str);
        let Some(text) = text else {
            return Err(FieldError::new("op", format!("is required: {}", document::either(&names))));
        };
        let found = Self::ALL.into_iter().find(|op| op.as_str() == text);
        found.ok_or_else(|| FieldError::new("op", document::not_one_of(text, &names)))
    }
}

/// The fields of a JSON object in their original order, including duplicates.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Fields<'_> {
    /// Removes a text field, which must occur at most once.
    fn take_text(&mut self, name: &str) -> Result<Option<String>, FieldError> {
        let (found, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0).into_iter().partition(|(it, _)| it == name);
        self.0 = rest;
        match found.as_slice() {
            [] => Ok(None),
            [(_, value)] => match serde_json::from_str(value.get()) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(FieldError::new(name, "must be a string")),
            },
            _ => Err(FieldError::new(name, "must occur only once")),
        }
    }

    /// The remaining fields as the JSON body of a call.
    fn to_json(&self) -> Result<Vec<u8>, ApiError> {
        let internal = |error: serde_json::Error| ServiceError::Internal(error.to_string());
        let mut json = Vec::with_capacity(self.0.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum());
        json.push(b'{');
        for (place, (name, value)) in self.0.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, name).map_err(internal)?;
            json.push(b':');
            json.extend_from_slice(value.get().as_bytes());
        }
        json.push(b'}');
        Ok(json)
    }
}

/// The parsed body of an operation.
enum Call {
    Reserve(ReserveBody),
    Commit(CommitBody),
    Release(ReleaseBody),
    Extend(ExtendBody),
    Track(TrackBody),
    CanUse(ReserveBody),
}

impl Call {
    /// # Errors
    /// invalid_request, as for the single call.
    fn read(op: Op, json: &[u8], principal: &Principal) -> Result<Self, Vec<FieldError>> {
        let calls = |body: &ReserveBody| call_faults(principal, body);
        let commits = |body: &CommitBody| commit_faults(principal, body);
        let tracks = |body: &TrackBody| track_faults(principal, body);
        Ok(match op {
            Op::Reserve => Self::Reserve(document::read_checked(json, calls)?),
            Op::Commit => Self::Commit(document::read_checked(json, commits)?),
            Op::Release => Self::Release(document::read_checked(json, ReleaseBody::faults)?),
            Op::Extend => Self::Extend(document::read_checked(json, ExtendBody::faults)?),
            Op::Track => Self::Track(document::read_checked(json, tracks)?),
            Op::CanUse => Self::CanUse(document::read_checked(json, calls)?),
        })
    }

    fn faults(&self, principal: &Principal) -> Vec<FieldError> {
        match self {
            Self::Reserve(body) | Self::CanUse(body) => call_faults(principal, body),
            Self::Commit(body) => commit_faults(principal, body),
            Self::Release(body) => body.faults(),
            Self::Extend(body) => body.faults(),
            Self::Track(body) => track_faults(principal, body),
        }
    }

    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Reserve(body) | Self::CanUse(body) => Subject::User(&body.user_id),
            Self::Track(body) => Subject::User(&body.user_id),
            Self::Commit(body) => Subject::Reservation(&body.reservation_id),
            Self::Release(body) => Subject::Reservation(&body.reservation_id),
            Self::Extend(body) => Subject::Reservation(&body.reservation_id),
        }
    }

    /// The number of events that it decides.
    fn events(&self) -> usize {
        match self {
            Self::Reserve(body) | Self::CanUse(body) => body.events(),
            Self::Commit(_) | Self::Release(_) | Self::Extend(_) | Self::Track(_) => 1,
        }
    }

    async fn run(self, principal: &Principal, idempotency: Option<&Idempotency>) -> Result<ResultView, ApiError> {
        Ok(match self {
            Self::Reserve(body) => ResultView::decided(&reserve::decide_reserve(principal, body, idempotency).await?),
            Self::Extend(body) => ResultView::decided(&extend::decide_extend(principal, body, idempotency).await?),
            Self::CanUse(body) => {
                let decision = can_use::decide_can_use(principal, body).await?;
                ResultView::done(AnswerView::CanUse(CanUseView::new(&decision)), false)
            }
            Self::Commit(body) => ResultView::settled(&commit::settle_commit(principal, body, idempotency).await?),
            Self::Release(body) => ResultView::settled(&release::settle_release(principal, body, idempotency).await?),
            Self::Track(body) => {
                let tracked = track::count_event(principal, body, idempotency).await?;
                ResultView::done(AnswerView::Tracked(TrackedView::new(&tracked)), tracked.replayed)
            }
        })
    }
}

/// Which user an operation belongs to.
enum Subject<'a> {
    User(&'a UserId),
    /// The user who made that reservation.
    Reservation(&'a str),
}

/// One operation of a batch.
struct Operation {
    call: Call,
    idempotency: Option<Idempotency>,
}

impl Operation {
    /// `batch_key` is derived from the `Idempotency-Key` header, for operations without an `idempotencyKey`.
    fn read(sent: &RawValue, batch_key: Option<IdempotencyKey>, principal: &Principal) -> Result<Self, ApiError> {
        let mut fields: Fields<'_> = match serde_json::from_str(sent.get()) {
            Ok(fields) => fields,
            Err(_) => return Err(ApiError::invalid("body", "must be a JSON object")),
        };
        let mut faults = Faults::default();
        let op = faults.take(fields.take_text("op").and_then(|op| Op::parse(op.as_deref())));
        let own_key = faults.take(fields.take_text("idempotencyKey")).flatten();
        let own_key = own_key.and_then(|key| faults.check("idempotencyKey", IdempotencyKey::parse(&key)));
        // Without its operation, nothing is known about the other fields.
        let Some(op) = op else { return Err(faults.0.into()) };
        let json = fields.to_json()?;
        let call = match Call::read(op, &json, principal) {
            Ok(call) if faults.0.is_empty() => call,
            Ok(call) => {
                faults.0.extend(call.faults(principal));
                return Err(faults.0.into());
            }
            Err(more) => {
                faults.0.extend(more);
                return Err(faults.0.into());
            }
        };
        let idempotency =
            own_key.or(batch_key).map(|key| repeatable(key, &format!("POST /api/v1/{}", op.as_str()), &json));
        Ok(Self { call, idempotency })
    }

    /// The number of the bucket that has its user; None if no reservation has such an ID.
    fn bucket(&self, principal: &Principal) -> Option<u8> {
        match self.call.subject() {
            Subject::User(user) => Some(principal.tenant.bucket_of(user).number()),
            Subject::Reservation(id) => ReservationId::parse(id).map(|id| id.bucket),
        }
    }

    /// Whether it may be decided without Redis during an outage. Then it also runs after an operation whose outcome is
    /// unknown, as if sent alone.
    fn may_run_without_store(&self, principal: &Principal) -> bool {
        matches!(self.call, Call::Reserve(_)) && principal.gateway.app_allows_without_store(&principal.tenant.app)
    }

    async fn run(self, principal: &Principal) -> Result<ResultView, ApiError> {
        let Self { call, idempotency } = self;
        // Boxed because all operations of a batch wait at the same time, and most kinds need far less memory than the
        // largest.
        let result = call.run(principal, idempotency.as_ref()).boxed_local().await?;
        let is_replayed = idempotency.is_some_and(|idempotency| idempotency.replayed.is_set());
        Ok(ResultView { replayed: result.replayed || is_replayed, ..result })
    }
}

/// The answer to one operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AnswerView {
    Decision(Box<DecisionView>),
    CanUse(CanUseView),
    Settlement(SettlementView),
    Tracked(TrackedView),
    Problem(Box<Problem>),
}

/// The result of one operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultView {
    /// The HTTP status that the single call would return.
    status: u16,
    /// The body that the single call would return, or a problem.
    body: AnswerView,
    /// True if this is the stored answer of an earlier call with the same idempotency key, like the header
    /// `Idempotent-Replayed`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

impl ResultView {
    fn done(body: AnswerView, replayed: bool) -> Self {
        Self { status: 200, body, replayed }
    }

    fn decided(decision: &Decision) -> Self {
        Self::done(AnswerView::Decision(Box::new(DecisionView::new(decision))), decision.replayed)
    }

    fn settled(settlement: &Settlement) -> Self {
        Self::done(AnswerView::Settlement(SettlementView::new(settlement)), settlement.replayed)
    }

    fn failed(error: &ApiError) -> Self {
        let problem = error.problem();
        Self { status: problem.status, replayed: error.is_replayed(), body: AnswerView::Problem(Box::new(problem)) }
    }

    /// 503 for an operation that was not run because of the 503 of an earlier one. If this one ran now, and the caller
    /// repeated the earlier one, the two would be decided in the wrong order.
    fn not_run() -> Self {
        let why = "an earlier operation of the batch has to be repeated first".to_owned();
        Self::failed(&ServiceError::StoreUnavailable(why).into())
    }
}

/// The results of a batch, in the order of its operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    results: Vec<ResultView>,
}

/// Operations that run one after the other, with their positions in the batch.
type Chain = Vec<(usize, Operation)>;

/// Decide up to 100 operations in one request
///
/// Each operation is decided exactly as if it had been sent alone. Operations of one user keep their order. The body
/// may have 256 KiB. The `Idempotency-Key` header applies to each operation without an `idempotencyKey`.
#[utoipa::path(post, path = "/api/v1/batch", tag = "Metering", request_body = BatchBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BatchView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 429, body = Problem),
        (status = 503, body = Problem)))]
pub async fn batch(
    principal: Principal,
    readers: SharedReaders,
    body: Body<BatchBody>,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::Meter)?;
    // The place is taken before the body is read, since the body takes memory too.
    let _permit = readers.admit(Reader::Batch, &principal.key.id)?;
    let ParsedBody { value: BatchBody { operations: sent }, idempotency } = body.read().await?;
    if sent.is_empty() || sent.len() > MOST_OPERATIONS {
        return Err(ApiError::invalid("operations", format!("must have 1 to {MOST_OPERATIONS} entries")));
    }
    let mut results: Vec<Option<ResultView>> = sent.iter().map(|_| None).collect();
    let mut operations = Vec::with_capacity(sent.len());
    for (place, sent) in sent.iter().enumerate() {
        let batch_key = idempotency.as_ref().map(|batch| key_of_place(&batch.key, place)).transpose()?;
        match Operation::read(sent, batch_key, &principal) {
            Ok(operation) => operations.push((place, operation)),
            Err(error) => results[place] = Some(ResultView::failed(&error)),
        }
    }
    drop(sent);
    // Without tokio's limit on work per poll. With it, only some of the commands would be written in the first round.
    let done = tokio::task::unconstrained(run_all(&principal, operations)).await;
    for (place, result) in done {
        results[place] = Some(result);
    }
    let missing = || ServiceError::Internal("an operation of a batch has no result".to_owned());
    let results = results.into_iter().collect::<Option<Vec<_>>>().ok_or_else(missing)?;
    Ok(HttpResponse::Ok().json(BatchView { results }))
}

/// The idempotency key of an operation without its own: derived from the header and the operation's position.
fn key_of_place(batch: &IdempotencyKey, place: usize) -> Result<IdempotencyKey, ApiError> {
    let key = IdempotencyKey::parse(&format!("{}:{place}", batch.as_str()));
    key.map_err(|_| Header::IdempotencyKey.invalid("must have at most 252 bytes for a batch"))
}

async fn run_all(principal: &Principal, operations: Vec<(usize, Operation)>) -> Vec<(usize, ResultView)> {
    let (chains, mut done) = chains(principal, operations).await;
    for wave in waves(chains) {
        let wave = wave.into_iter().map(|chain| run_chain(principal, chain));
        done.extend(join_all(wave).await.into_iter().flatten());
    }
    done
}

/// Runs one user's operations in order, until Redis does not answer one. A full Redis is no reason to stop, since it may
/// refuse one operation and accept the next; but no operation overtakes a refused one of its reservation.
async fn run_chain(principal: &Principal, chain: Chain) -> Vec<(usize, ResultView)> {
    let mut results = Vec::with_capacity(chain.len());
    let (mut is_undecided, mut refused) = (false, HashSet::new());
    for (place, operation) in chain {
        let reservation = match operation.call.subject() {
            Subject::User(_) => None,
            Subject::Reservation(id) => Some(id.to_owned()),
        };
        let is_after_refused = reservation.as_ref().is_some_and(|id| refused.contains(id));
        if is_after_refused || (is_undecided && !operation.may_run_without_store(principal)) {
            results.push((place, ResultView::not_run()));
            continue;
        }
        let result = operation.run(principal).await;
        match &result {
            Err(ApiError::Service(ServiceError::StoreUnavailable(_))) => is_undecided = true,
            Err(ApiError::Service(ServiceError::StoreRefused(_))) => refused.extend(reservation),
            _ => {}
        }
        results.push((place, result.unwrap_or_else(|error| ResultView::failed(&error))));
    }
    results
}

/// Groups operations by user, so that one user's operations run in order. Operations whose user could not be read are
/// not run, since running one beside the others could change the order; they are returned as results. Neither are later
/// ones in the same bucket, which may be of the same user.
async fn chains(principal: &Principal, operations: Vec<(usize, Operation)>) -> (Vec<Chain>, Vec<(usize, ResultView)>) {
    let alone = operations.len() == 1;
    let users = operations.iter().map(async |(_, operation)| match operation.call.subject() {
        Subject::User(user) => Ok(Some(user.clone())),
        Subject::Reservation(_) if alone => Ok(None),
        Subject::Reservation(id) => principal.gateway.user_of_reservation(&principal.tenant, id).await,
    });
    let users = join_all(users).await;
    let (mut chains, mut failed) = (Vec::<Chain>::new(), Vec::new());
    let mut chain_of_user = HashMap::new();
    let mut unread_buckets = HashSet::<u8>::new();
    for ((place, operation), user) in operations.into_iter().zip(users) {
        let is_after_unread = !unread_buckets.is_empty()
            && operation.bucket(principal).is_some_and(|bucket| unread_buckets.contains(&bucket))
            && !operation.may_run_without_store(principal);
        match user {
            _ if is_after_unread => failed.push((place, ResultView::not_run())),
            Ok(Some(user)) => {
                let chain = *chain_of_user.entry(user).or_insert(chains.len());
                match chains.get_mut(chain) {
                    Some(chain) => chain.push((place, operation)),
                    None => chains.push(vec![(place, operation)]),
                }
            }
            // There is no such reservation, so the operation changes no user and may run alone.
            Ok(None) => chains.push(vec![(place, operation)]),
            Err(error) => {
                // A damaged record fails again on each try, so other operations do not wait for it.
                if matches!(error, ServiceError::StoreUnavailable(_)) {
                    unread_buckets.extend(operation.bucket(principal));
                }
                failed.push((place, ResultView::failed(&error.into())));
            }
        }
    }
    (chains, failed)
}

/// Divides the chains into parts that each decide a bounded number of events.
fn waves(chains: Vec<Chain>) -> Vec<Vec<Chain>> {
    let mut waves: Vec<Vec<Chain>> = Vec::new();
    let mut events = usize::MAX;
    for chain in chains {
        let more = chain.iter().map(|(_, operation)| operation.call.events()).max().unwrap_or(0);
        events = events.saturating_add(more);
        match waves.last_mut() {
            Some(wave) if events <= MOST_EVENTS_AT_ONCE => wave.push(chain),
            _ => {
                events = more;
                waves.push(vec![chain]);
            }
        }
    }
    waves
}
