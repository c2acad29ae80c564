//! What the API answers, as tables for people or as JSON for programs.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::{List, RemoteError};
use crate::cli::print;

/// Stands for what there is none of.
const NONE: &str = "-";

/// A column: its heading, and where its value is in a row (a JSON pointer).
pub type Column = (&'static str, &'static str);

/// A value of a row as text.
pub fn text(row: &Value, pointer: &str) -> String {
    row.pointer(pointer).map_or_else(|| NONE.to_owned(), plain)
}

/// A value as people read it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => harmless(text),
        Value::Array(items) if items.is_empty() => NONE.to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => NONE.to_owned(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{}={}", harmless(name), plain(value)))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// A text that can neither move the cursor nor colour the terminal.
pub fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

/// Rows of JSON under their headings. Columns of numbers are aligned to the right.
pub fn table(rows: &[Value], columns: &[Column]) -> String {
    let cells = rows.iter().map(|row| columns.iter().map(|(_, pointer)| text(row, pointer)).collect()).collect();
    let is_number = |pointer: &str| rows.iter().any(|row| row.pointer(pointer).is_some_and(Value::is_number));
    let numbers: Vec<usize> = (0..columns.len()).filter(|place| is_number(columns[*place].1)).collect();
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    text_table(&headings, cells, &numbers)
}

/// Rows of text under their headings; `right` are the places of columns that are aligned to the right.
pub fn text_table(headings: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for place in 0..headings.len() {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, 2));
            if right.contains(&place) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Prints JSON, indented.
///
/// # Errors
/// [`RemoteError`]; none in practice.
pub fn print_json(value: &Value) -> Result<(), RemoteError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| RemoteError::input(error.to_string()))?;
    print::out(text + "\n");
    Ok(())
}

/// Prints a list: as `{"data": […], "more": …}`, or as a table, or what it says if it is empty.
///
/// # Errors
/// [`RemoteError`]; none in practice.
pub fn print_list(list: List, columns: &[Column], json: bool, empty: &str) -> Result<(), RemoteError> {
    if json {
        return print_json(&serde_json::json!({"data": list.data, "more": list.more}));
    }
    match list.data.is_empty() {
        true => print::out(format!("{empty}\n")),
        false => print::out(table(&list.data, columns)),
    }
    if list.more {
        print::err("There are more: --limit shows more of them.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_stand_under_their_headings_and_numbers_to_the_right() {
        let rows = [
            json!({"id": "a", "used": 5, "limits": {"quota": 20}, "scope": {"user": "u", "team": "red"}, "live": true}),
            json!({"id": "longer", "used": 1200, "limits": {"quota": null}, "scope": {}, "live": false}),
        ];
        let columns =
            [("id", "/id"), ("used", "/used"), ("quota", "/limits/quota"), ("scope", "/scope"), ("live", "/live")];
        assert_eq!(
            table(&rows, &columns),
            "ID      USED  QUOTA  SCOPE            LIVE\n\
             a          5     20  team=red user=u  yes\n\
             longer  1200      -  -                no\n"
        );
    }

    #[test]
    fn a_text_cannot_control_the_terminal() {
        assert_eq!(plain(&json!("a\u{1b}[31mb\nc\u{9b}")), "a\\u{1b}[31mb\\nc\\u{9b}");
        assert_eq!(plain(&json!({"\u{7}": ["ä", 1.5, null]})), "\\u{7}=ä, 1.5, -");
    }
}
