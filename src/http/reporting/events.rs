//! `GET events` and its stream.

use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::metering::reservation::ReservationId;
use crate::domain::reporting::ledger::{EntryKind, Outcome};
use crate::domain::time::window::parse_rfc3339;
use crate::domain::values::ids::{EventName, GroupId, KeyId, UserId};
use crate::http::metering::usage::Draining;
use crate::http::middleware::limits::{Limits, Reader};
use crate::http::middleware::readers::{Permit, SharedReaders};
use crate::http::wire::auth::{Access, Principal};
use crate::http::wire::body::{Query, page_size};
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

/// The parsed query of a page.
#[derive(Default)]
struct EventsPage {
    query: EventQuery,
    limit: Option<usize>,
}

fn time_ms(name: &str, text: &str) -> Result<u64, ApiError> {
    let time = parse_rfc3339(text).ok_or_else(|| ApiError::invalid(name, "must be an RFC 3339 time"))?;
    // No event is older than 1970.
    Ok(u64::try_from(time).unwrap_or(0))
}

/// Reads a parameter of the filter. Returns false if the name is not one of the filter.
fn read_filter(filter: &mut EventFilter, name: &str, value: &str) -> Result<bool, ApiError> {
    let bad = |error: crate::domain::values::ids::NameError| ApiError::invalid(name, error.to_string());
    match name {
        "type" => {
            for word in value.split(',') {
                let kinds = EntryKind::ALL.map(EntryKind::as_str).join(", ");
                let kind = EntryKind::parse(word.trim());
                filter
                    .types
                    .insert(kind.ok_or_else(|| ApiError::invalid(name, format!("must be one or more of {kinds}")))?);
            }
        }
        "userId" => filter.user = Some(UserId::parse(value).map_err(bad)?),
        "event" => filter.event = Some(EventName::parse(value).map_err(bad)?.to_string()),
        "keyId" => filter.key = Some(KeyId::parse(value).map_err(bad)?),
        "groupId" => filter.group = Some(GroupId::parse(value).map_err(bad)?),
        "reservationId" => {
            let id = ReservationId::parse(value);
            filter.reservation = Some(id.ok_or_else(|| ApiError::invalid(name, "must be the ID of a reservation"))?);
        }
        "outcome" => {
            let known = [Outcome::Accepted, Outcome::Rejected].into_iter().find(|outcome| outcome.as_str() == value);
            filter.outcome = Some(known.ok_or_else(|| ApiError::invalid(name, "must be `accepted` or `rejected`"))?);
        }
        "late" => {
            filter.late = Some(value.parse().map_err(|_| ApiError::invalid(name, "must be true or false"))?);
        }
        "observed" => {
            filter.observed = Some(value.parse().map_err(|_| ApiError::invalid(name, "must be true or false"))?);
        }
        "reason" => filter.reason = Some(value.to_owned()),
        other => match other.strip_prefix("metadata.") {
            Some(field) => filter.metadata.push((field.to_owned(), value.to_owned())),
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn unknown(name: &str) -> ApiError {
    ApiError::invalid(name, "is not a parameter of this call")
}

fn read_page(parameters: Parameters) -> Result<EventsPage, ApiError> {
    let mut asked = EventsPage::default();
    for (name, value) in &parameters {
        let query = &mut asked.query;
        match name.as_str() {
            "from" => query.span.from_ms = Some(time_ms(name, value)?),
            "to" => query.span.to_ms = Some(time_ms(name, value)?),
            "order" => {
                query.order = match value.as_str() {
                    "desc" => Order::NewestFirst,
                    "asc" => Order::OldestFirst,
                    _ => return Err(ApiError::invalid(name, "must be `desc` or `asc`")),
                }
            }
            "limit" => {
                asked.limit = Some(value.parse().map_err(|_| ApiError::invalid(name, "must be between 1 and 200"))?);
            }
            "cursor" => {
                let cursor = EventId::parse(value);
                query.cursor =
                    Some(cursor.ok_or_else(|| ApiError::invalid(name, "must be `nextCursor` of an earlier page"))?);
            }
            _ if read_filter(&mut query.filter, name, value)? => {}
            _ => return Err(unknown(name)),
        }
    }
    Ok(asked)
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
    let EventsPage { query, limit } = read_page(query.read()?)?;
    let count = page_size(limit)?;
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
    let mut filter = EventFilter::default();
    for (name, value) in &query.read()? {
        if !read_filter(&mut filter, name, value)? {
            return Err(unknown(name));
        }
    }
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
