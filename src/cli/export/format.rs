//! How events are written as lines.

use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

/// A line of an export: of which event it is, and whether it is the event's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub event: EventId,
    pub is_last: bool,
}

/// A text format in which every event is one or more whole lines.
pub trait Format {
    const NAME: &'static str;

    /// What every export begins with; a header ends with a line end.
    fn start(&self) -> &str;

    /// The event's lines, each with its end.
    ///
    /// # Errors
    /// [`SinkError::Event`]
    fn lines(&self, event: &EventView) -> Result<String, SinkError>;

    /// Reads a line without its end; None if it is none of this format.
    fn read(&self, line: &str) -> Option<Line>;
}
