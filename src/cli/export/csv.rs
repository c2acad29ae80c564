//! CSV: one row per event and charge, and one row for an event without charges, so that the sum of `amount` equals
//! `used`.

use serde::Serialize;

use super::format::{Format, Line, Origin};
use super::sink::SinkError;
use crate::service::reporting::events::id::EventId;
use crate::service::reporting::events::view::{EventCharge, EventView};

/// The columns, documented in `docs/reference/events.md`. `row` of `rows`: an event has as many rows as charges, at least one.
pub const HEADER: &str = "id,row,rows,type,timestamp,recorded_at,user,event,key,reservation_id,event_id,created_at,late,\
degraded,call,quantity,outcome,reason,observed,error_code,plan_id,plan_version,metadata,items,fitted,denied,held,group,scope,unit,amount,balance,window,rolled,from_group,app,mode\n";

pub struct Csv;

/// A cell that a spreadsheet could interpret as a formula gets a leading apostrophe. So does one that begins with an
/// apostrophe, so that removing one restores the text.
fn free_text(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

fn optional_text(text: Option<&String>) -> String {
    text.map(|text| free_text(text)).unwrap_or_default()
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, SinkError> {
    serde_json::to_string(value).map_err(|error| SinkError::Event(error.to_string()))
}

/// A list as JSON; an empty one is an empty cell.
fn list<T: Serialize>(values: &[T]) -> Result<String, SinkError> {
    if values.is_empty() { Ok(String::new()) } else { json(values) }
}

/// The name of an enumeration's value: its JSON without quotes.
fn word<T: Serialize>(value: Option<T>) -> Result<String, SinkError> {
    let text = value.map(|value| json(&value)).transpose()?;
    Ok(text.map(|text| text.trim_matches('"').to_owned()).unwrap_or_default())
}

/// The columns between `rows` and those of the charge, which are the same in every row of the event.
fn event_cells(event: &EventView) -> Result<Vec<String>, SinkError> {
    let plain = |text: Option<&String>| text.cloned().unwrap_or_default();
    Ok(vec![
        event.kind.as_str().to_owned(),
        event.timestamp.clone(),
        event.recorded_at.clone(),
        optional_text(event.user_id.as_ref()),
        optional_text(event.event.as_ref()),
        plain(event.key_id.as_ref()),
        plain(event.reservation_id.as_ref()),
        plain(event.event_id.as_ref()),
        plain(event.created_at.as_ref()),
        event.late.to_string(),
        event.degraded.to_string(),
        word(event.call)?,
        event.quantity.map(|quantity| quantity.0.to_string()).unwrap_or_default(),
        word(event.outcome)?,
        optional_text(event.reason.as_ref()),
        event.observed.to_string(),
        optional_text(event.error_code.as_ref()),
        plain(event.plan_id.as_ref()),
        event.plan_version.map(|version| version.to_string()).unwrap_or_default(),
        event.metadata.as_ref().map(json).transpose()?.unwrap_or_default(),
        list(&event.items)?,
        if event.fitted.is_empty() { String::new() } else { json(&event.fitted)? },
        list(&event.denied)?,
        list(&event.held)?,
    ])
}

fn charge_cells(charge: Option<&EventCharge>) -> Result<[String; 8], SinkError> {
    let Some(charge) = charge else { return Ok(Default::default()) };
    Ok([
        charge.group_id.clone(),
        json(&charge.scope)?,
        charge.unit.to_string(),
        charge.amount.0.to_string(),
        charge.balance.0.to_string(),
        charge.window.clone(),
        charge.rolled.as_ref().map(|rolled| rolled.0.to_string()).unwrap_or_default(),
        charge.from.clone().unwrap_or_default(),
    ])
}

impl Format for Csv {
    const NAME: &'static str = "CSV";

    fn start(&self) -> &str {
        HEADER
    }

    fn lines(&self, event: &EventView, origin: &Origin) -> Result<String, SinkError> {
        let fault = |error: &dyn std::fmt::Display| SinkError::Event(error.to_string());
        let rows = event.charges.len().max(1);
        let cells = event_cells(event)?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in 0..rows {
            let place = [event.id.clone(), (row + 1).to_string(), rows.to_string()];
            let charge = charge_cells(event.charges.get(row))?;
            let record = place.iter().chain(&cells).chain(&charge).chain([&origin.app, &origin.mode]);
            writer.write_record(record.map(String::as_bytes)).map_err(|error| fault(&error))?;
        }
        let bytes = writer.into_inner().map_err(|error| fault(&error))?;
        String::from_utf8(bytes).map_err(|error| fault(&error))
    }

    fn read(&self, line: &str) -> Option<Line> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next()?.ok()?;
        let columns = HEADER.split(',').count();
        let event = EventId::parse(record.get(0)?)?;
        let cell = |place: usize| record.get(place).map(str::to_owned);
        let origin = Origin { app: cell(columns - 2)?, mode: cell(columns - 1)? };
        (record.len() == columns).then_some(Line { event, is_last: record.get(1)? == record.get(2)?, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_spreadsheet_would_calculate_gets_an_apostrophe() {
        for (text, cell) in [
            ("u_42", "u_42"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("'=1", "''=1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(free_text(text), cell);
        }
    }

    #[test]
    fn a_line_contains_its_event_and_whether_it_is_complete() {
        let cells = "x,".repeat(HEADER.split(',').count() - 5) + "default,live";
        for (start, expected) in [
            ("led_00_5-0,1,2,", Some(("led_00_5-0", false))),
            ("led_00_5-0,2,2,", Some(("led_00_5-0", true))),
            ("id,row,rows,", None),
            ("led_00_5-0,1,", None),
        ] {
            let read = Csv.read(&format!("{start}{cells}"));
            let live = Origin { app: "default".to_owned(), mode: "live".to_owned() };
            assert!(read.as_ref().is_none_or(|line| line.origin == live), "{read:?}");
            let read = read.map(|line| (line.event.to_string(), line.is_last));
            assert_eq!(read, expected.map(|(id, last)| (id.to_owned(), last)), "{start}");
        }
    }
}
