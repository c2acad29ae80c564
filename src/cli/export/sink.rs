//! The destinations of exported events.

use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

/// Why a destination does not accept events, in one line.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot write {place}: {error}")]
    Write { place: String, error: std::io::Error },
    #[error("{0} is being written by another export")]
    Busy(String),
    #[error("{0} is not a {1} export of this release of quotagate; it was not changed: choose another file")]
    NotOurs(String, &'static str),
    #[error("{0} has events of {1}; export those of {2} to another file")]
    OtherOrigin(String, String, String),
    #[error("cannot format an event: {0}")]
    Event(String),
}

/// A destination for events, oldest first.
///
/// Files and standard output are destinations ([`super::file`], in the formats [`super::ndjson`] and [`super::csv`]).
/// A database would be another one, in a file next to those: it uses the IDs of events as its key, so that an event
/// that is written twice exists once; `last` returns the largest ID, and `write` fills a transaction that `finish`
/// commits.
pub trait Sink {
    /// The last complete event, after which the export continues. Parts of a later one are removed.
    ///
    /// # Errors
    /// [`SinkError`]; then nothing was changed.
    fn last(&mut self) -> Result<Option<EventId>, SinkError>;

    /// # Errors
    /// [`SinkError`]
    fn write(&mut self, event: &EventView) -> Result<(), SinkError>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// [`SinkError`]
    fn finish(&mut self) -> Result<(), SinkError>;
}
