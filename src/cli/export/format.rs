//! The formats of exported events.

use std::fmt;

use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;
use crate::service::tenant::Tenant;

/// Whose events they are. A file has those of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub app: String,
    /// `live` or `test/<sandbox>`.
    pub mode: String,
}

impl Origin {
    pub fn of(tenant: &Tenant) -> Self {
        Self { app: tenant.app.to_string(), mode: tenant.mode.to_string() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app {}, mode {}", self.app, self.mode)
    }
}

/// A line of an export: its event, and whether it is the event's last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub event: EventId,
    pub is_last: bool,
    pub origin: Origin,
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
    fn lines(&self, event: &EventView, origin: &Origin) -> Result<String, SinkError>;

    /// Parses a line without its line end; None if it is not in this format.
    fn read(&self, line: &str) -> Option<Line>;
}
