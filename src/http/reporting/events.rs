//! `GET events` and its stream.

use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::metering::reservation::ReservationId;
use crate::domain::reporting::ledger::{EntryKind, Outcome};
use crate::domain::values::document;
use crate::domain::values::field_error::{Faults, FieldError};
use crate::domain::values::ids::{EventName, GroupId, KeyId, UserId};
use crate::http::metering::usage::Draining;
use crate::http::middleware::limits::{Limits, Reader};
use crate::http::middleware::readers::{Permit, SharedReaders};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Query, time};
use crate::http::wire::cursor;
use crate::http::wire::header::{Header, single};
use crate::http::wire::problem::{ApiError, Problem};
use crate::http::wire::views::ListView;
use crate::service::error::ServiceError;
use crate::service::reporting::events::filter::EventFilter;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::merge::Order;
use crate::service::reporting::events::view::EventView;
use crate::service::reporting::events::{EventQuery, Followed};

/// How often a stream checks for new events.
const LOOK: Duration = Duration::from_millis(500);
/// The query parameters as names with values: some may be repeated, and some have names made from metadata.
type Parameters = Vec<(String, String)>;

/// The parameters of the filter.
const FILTERS: [&str; 11] = [
    "type",
    "userId",
    "event",
    "keyId",
    "groupId",
    "reservationId",
    "outcome",
    "late",
    "reason",
    "observed",
    "metadata.<name>",
];

/// No event is older than 1970.
fn time_ms(name: &str, text: &str, faults: &mut Faults) -> Option<u64> {
    time(name, Some(text), faults).map(|time| u64::try_from(time).unwrap_or(0))
}

fn flag(text: &str) -> Result<bool, &'static str> {
    text.parse().map_err(|_| "must be `true` or `false`")
}

/// Reads a parameter of the filter. Returns false if the name is not one of the filter.
fn read_filter(filter: &mut EventFilter, name: &str, value: &str, faults: &mut Faults) -> bool {
    match name {
        "type" => {
            let names = EntryKind::ALL.map(EntryKind::as_str);
            for word in value.split(',').map(str::trim) {
                let kind = EntryKind::parse(word).ok_or_else(|| document::not_one_of(word, &names));
                // One fault says what is accepted.
                let Some(kind) = faults.check(name, kind) else { break };
                filter.types.insert(kind);
            }
        }
        "userId" => filter.user = faults.check(name, UserId::parse(value)),
        "event" => filter.event = faults.check(name, EventName::parse(value)).map(|event| event.to_string()),
        "keyId" => filter.key = faults.check(name, KeyId::parse(value)),
        "groupId" => filter.group = faults.check(name, GroupId::parse(value)),
        "reservationId" => {
            let id = ReservationId::parse(value).ok_or("must be the ID of a reservation");
            filter.reservation = faults.check(name, id);
        }
        "outcome" => {
            let outcomes = [Outcome::Accepted, Outcome::Rejected];
            let outcome = outcomes.into_iter().find(|outcome| outcome.as_str() == value);
            let names = outcomes.map(Outcome::as_str);
            filter.outcome = faults.check(name, outcome.ok_or_else(|| document::not_one_of(value, &names)));
        }
        "late" => filter.late = faults.check(name, flag(value)),
        "observed" => filter.observed = faults.check(name, flag(value)),
        "reason" => filter.reason = Some(value.to_owned()),
        other => match other.strip_prefix("metadata.") {
            Some(field) => filter.metadata.push((field.to_owned(), value.to_owned())),
            None => return false,
        },
    }
    true
}

/// The filter of a stream.
fn read_stream(parameters: Parameters) -> Result<EventFilter, Vec<FieldError>> {
    let (mut filter, mut faults) = (EventFilter::default(), Faults::default());
    for (name, value) in &parameters {
        if !read_filter(&mut filter, name, value, &mut faults) {
            faults.0.push(document::unknown_parameter(name, &FILTERS));
        }
    }
    faults.or(Some(filter))
}

/// The query of a page, and how many events it holds.
fn read_page(parameters: Parameters) -> Result<(EventQuery, usize), Vec<FieldError>> {
    let (mut query, mut faults) = (EventQuery::default(), Faults::default());
    let (mut cursor, mut limit) = (None, None);
    for (name, value) in &parameters {
        match name.as_str() {
            "limit" if limit.is_some() => faults.add(name, "must occur only once"),
            "cursor" if cursor.is_some() => faults.add(name, "must occur only once"),
            "from" => query.span.from_ms = time_ms(name, value, &mut faults),
            "to" => query.span.to_ms = time_ms(name, value, &mut faults),
            "order" => match value.as_str() {
                "desc" => query.order = Order::NewestFirst,
                "asc" => query.order = Order::OldestFirst,
                other => faults.add(name, document::not_one_of(other, &["desc", "asc"])),
            },
            "limit" => limit = Some(value.parse::<usize>().unwrap_or(0)),
            "cursor" => cursor = Some(value.as_str()),
            _ if read_filter(&mut query.filter, name, value, &mut faults) => {}
            _ => {
                let known = [&FILTERS[..], &["from", "to", "order", "limit", "cursor"]].concat();
                faults.0.push(document::unknown_parameter(name, &known));
            }
        }
    }
    let (cursor, count) = cursor::page(cursor, limit, EventId::parse, &mut faults);
    query.cursor = cursor;
    faults.or(Some((query, count)))
}

/// List commits, expiries, denials and other events, newest first
#[utoipa::path(get, path = "/api/v1/events", tag = "Events",
    params(("type" = Option<String>, Query, description = "commit, draw, release, track, refund, reset, rollover, expire, outcome, credit, lapse, void, denial; several with commas, or repeated"),
        ("userId" = Option<String>, Query), ("event" = Option<String>, Query, description = "a name or a glob"),
        ("keyId" = Option<String>, Query), ("groupId" = Option<String>, Query, description = "events that charged, held in, or were denied by this group"),
        ("reservationId" = Option<String>, Query), ("outcome" = Option<String>, Query, description = "accepted or rejected"),
        ("late" = Option<bool>, Query), ("reason" = Option<String>, Query, description = "reason of a denial or a release"),
        ("observed" = Option<bool>, Query, description = "true: calls that groups with the enforcement `observe` would have denied"),
        ("metadata.{name}" = Option<String>, Query, description = "events with this metadata value"),
        ("from" = Option<String>, Query, description = "RFC 3339: events recorded at or after this time (real time, not the test clock)"),
        ("to" = Option<String>, Query, description = "RFC 3339: events recorded before this time"),
        ("order" = Option<String>, Query, description = "desc (default) or asc"),
        ("limit" = Option<usize>, Query, description = "1 to 200, default 50"),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before")),
    responses((status = 200, body = ListView<EventView>), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn list(
    principal: Principal,
    query: Query<Parameters>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadEvents)?;
    let (query, count) = query.read_as(read_page)?;
    let page = readers
        .run(Reader::Scan, principal, async move |principal| {
            Ok(principal.gateway.events(&principal.tenant, &query, count).await?)
        })
        .await?;
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(HttpResponse::Ok().json(ListView { data: page.events, next_cursor }))
}

/// Follow events as server-sent events; with Last-Event-ID, starting after that event
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "Events",
    params(("type" = Option<String>, Query), ("userId" = Option<String>, Query), ("event" = Option<String>, Query),
        ("keyId" = Option<String>, Query), ("groupId" = Option<String>, Query), ("reservationId" = Option<String>, Query),
        ("outcome" = Option<String>, Query), ("late" = Option<bool>, Query), ("reason" = Option<String>, Query),
        ("observed" = Option<bool>, Query),
        ("metadata.{name}" = Option<String>, Query), ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
pub async fn stream(
    principal: Principal,
    request: HttpRequest,
    query: Query<Parameters>,
    draining: web::Data<Draining>,
    readers: SharedReaders,
) -> Result<HttpResponse, ApiError> {
    principal.require(Access::ReadEvents)?;
    let filter = query.read_as(read_stream)?;
    let permit = readers.admit(Reader::EventStream, &principal.key.id)?;
    let position = match last_event(&request)? {
        Some(last) => last,
        None => EventId::end_of(principal.gateway.complete_until_ms(&principal.tenant).await?.saturating_sub(1)),
    };
    let silence = request.app_data::<Limits>().copied().unwrap_or_default().silence;
    let draining = draining.0.clone();
    let follow = Follow { principal, filter, position, silence, draining, readers, _permit: permit };
    // Sent at once, so that a client that never receives an event can resume here too.
    let first = (follow.position_line("following"), follow);
    let blocks = futures::stream::unfold((Some(first.0), first.1), |(first, mut follow)| async move {
        let text = match first {
            Some(first) => first,
            None => follow.next().await?,
        };
        Some((Ok::<_, actix_web::Error>(Bytes::from(text)), (None, follow)))
    });
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(blocks))
}

fn last_event(request: &HttpRequest) -> Result<Option<EventId>, ApiError> {
    let Some(text) = single(request, Header::LastEventId)? else { return Ok(None) };
    let invalid = || Header::LastEventId.invalid("must be the ID of an event of this stream");
    EventId::parse(text).map(Some).ok_or_else(invalid)
}

struct Follow {
    principal: Principal,
    filter: EventFilter,
    /// All events up to here were checked.
    position: EventId,
    /// The longest time without any output.
    silence: Duration,
    draining: tokio::sync::watch::Receiver<bool>,
    readers: SharedReaders,
    /// Counts this stream while it is open.
    _permit: Permit,
}

impl Follow {
    /// A comment without an event that carries the position from which the client can resume.
    fn position_line(&self, comment: &str) -> String {
        format!(": {comment}\nid: {}\n\n", self.position)
    }

    /// The events since the last check, and the new position.
    async fn look(&self) -> Result<(Followed, EventId), ApiError> {
        let (gateway, tenant) = (self.principal.gateway.clone(), self.principal.tenant.clone());
        let (filter, mut position) = (self.filter.clone(), self.position);
        let look = async move || {
            let found = gateway.follow_events(&tenant, &filter, &mut position).await;
            found.map(|found| (found, position))
        };
        Ok(self.readers.follow(look).await??)
    }

    /// Waits for the next events. Returns only the position if there are none for a long time, and None when the node
    /// drains or the key is revoked.
    async fn next(&mut self) -> Option<String> {
        let deadline = tokio::time::Instant::now() + self.silence;
        let mut wait = LOOK;
        while tokio::time::Instant::now() < deadline {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.draining.changed() => return None,
            }
            if !self.principal.gateway.still_valid(&self.principal.key) {
                return None;
            }
            // While Redis is unavailable, nothing new is sent.
            let Ok((found, position)) = self.look().await else { continue };
            self.position = position;
            wait = if found.more { Duration::ZERO } else { LOOK };
            if !found.events.is_empty() {
                let blocks: Result<Vec<String>, ApiError> =
                    found.events.iter().map(|(_, event)| block(event)).collect();
                return blocks.ok().map(|blocks| blocks.concat());
            }
        }
        Some(self.position_line("still here"))
    }
}

fn block(event: &EventView) -> Result<String, ApiError> {
    let json = serde_json::to_string(event).map_err(|error| ServiceError::Internal(error.to_string()))?;
    Ok(format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.kind.as_str()))
}
