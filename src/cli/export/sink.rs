//! Where exported events go.

use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

/// Why a place takes no events; one line.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot write {place}: {error}")]
    Write { place: String, error: std::io::Error },
    #[error("{0} is being written by another export")]
    Busy(String),
    #[error("{0} is no {1} export of quotagate; nothing was changed in it")]
    NotOurs(String, &'static str),
    #[error("an event cannot be told: {0}")]
    Event(String),
}

/// A place that events are written to, oldest first.
///
/// Files and standard output are such places ([`super::file`], in the formats [`super::ndjson`] and [`super::csv`]). A
/// database would be another one, in a file beside those: it keeps the ids of events as its key, so that what is written
/// twice is there once; `last` asks it for the greatest id, and `write` fills a transaction that `finish` commits.
pub trait Sink {
    /// The last event that is there as a whole, after which the export goes on. What is there of a later one is removed.
    ///
    /// # Errors
    /// [`SinkError`]; then nothing was changed.
    fn last(&mut self) -> Result<Option<EventId>, SinkError>;

    /// # Errors
    /// [`SinkError`]
    fn write(&mut self, event: &EventView) -> Result<(), SinkError>;

    /// Everything written stays, whatever happens then.
    ///
    /// # Errors
    /// [`SinkError`]
    fn finish(&mut self) -> Result<(), SinkError>;
}
