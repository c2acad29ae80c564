//! One JSON object per line and event, as `GET events` tells it.

use serde::Deserialize;

use super::format::{Format, Line};
use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::EventView;

pub struct Ndjson;

#[derive(Deserialize)]
struct Identified {
    id: String,
}

impl Format for Ndjson {
    const NAME: &'static str = "NDJSON";

    fn start(&self) -> &str {
        // The id is the first field of an event.
        "{\"id\":\""
    }

    fn lines(&self, event: &EventView) -> Result<String, SinkError> {
        let json = serde_json::to_string(event).map_err(|error| SinkError::Event(error.to_string()))?;
        Ok(json + "\n")
    }

    fn read(&self, line: &str) -> Option<Line> {
        let found: Identified = serde_json::from_str(line).ok()?;
        Some(Line { event: EventId::parse(&found.id)?, is_last: true })
    }
}
