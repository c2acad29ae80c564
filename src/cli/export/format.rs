//! The formats of exported events.

use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

/// A line of an export: its event, and whether it is the event's last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub event: EventId,
    pub is_last: bool,
}

/// A text format in which every event consists of one or more complete lines.
pub trait Format {
    const NAME: &'static str;

    /// The beginning of every export; a header ends with a line end.
    fn start(&self) -> &str;

    /// The event's lines, each with its end.
    ///
    /// # Errors
    /// [`SinkError::Event`]
    fn lines(&self, event: &EventView) -> Result<String, SinkError>;

    /// Parses a line without its line end; None if it is not in this format.
    fn read(&self, line: &str) -> Option<Line>;
}
