//! One JSON object per line and event, in the same form as in `GET events`, with its app and mode.

use serde::{Deserialize, Serialize};

use super::format::{Format, Line, Origin};
use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

pub struct Ndjson;

#[derive(Serialize)]
struct WrittenLine<'a> {
    #[serde(flatten)]
    event: &'a EventView,
    app: &'a str,
    mode: &'a str,
}

#[derive(Deserialize)]
struct ReadLine {
    id: String,
    app: String,
    mode: String,
}

impl Format for Ndjson {
    const NAME: &'static str = "NDJSON";

    fn start(&self) -> &str {
        // The id is the first field of an event.
        "{\"id\":\""
    }

    fn lines(&self, event: &EventView, origin: &Origin) -> Result<String, SinkError> {
        let written = WrittenLine { event, app: &origin.app, mode: &origin.mode };
        let json = serde_json::to_string(&written).map_err(|error| SinkError::Event(error.to_string()))?;
        Ok(json + "\n")
    }

    fn read(&self, line: &str) -> Option<Line> {
        let ReadLine { id, app, mode } = serde_json::from_str(line).ok()?;
        Some(Line { event: EventId::parse(&id)?, is_last: true, origin: Origin { app, mode } })
    }
}
