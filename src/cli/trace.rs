//! Reads a trace: one row per LLM call, in the format of the Azure public data set. `quotagate whatif --trace` and
//! `quotagate-replay` (`crates/replay`) use it.

use std::path::Path;

use chrono::NaiveDateTime;
use csv::StringRecord;

/// The event of each call.
pub const EVENT: &str = "llm.chat";

const TIMESTAMP: &str = "TIMESTAMP";
const CONTEXT_TOKENS: &str = "ContextTokens";
const GENERATED_TOKENS: &str = "GeneratedTokens";

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Line number in the file, for messages.
    pub line: u64,
    /// When the call was made; the data set has no time zone, and only differences are used.
    pub at: NaiveDateTime,
    /// Tokens of the prompt.
    pub context_tokens: u32,
    /// Generated tokens.
    pub generated_tokens: u32,
}

/// Why a trace cannot be read, in one line with the location.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("cannot read the trace {path}: {why}")]
    Unreadable { path: String, why: String },
    #[error("{path} line {line}: {why}")]
    BadRow { path: String, line: u64, why: String },
    #[error(
        "{path}: the header has no column {column} \
         (a trace has {TIMESTAMP},{CONTEXT_TOKENS},{GENERATED_TOKENS})"
    )]
    NoColumn { path: String, column: &'static str },
    #[error("{path} has no rows")]
    Empty { path: String },
}

/// Reads the whole trace, so that an invalid row is found before the first call.
pub fn read(path: &Path) -> Result<Vec<Row>, TraceError> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(text) => parse(&name, &text),
        Err(error) => Err(TraceError::Unreadable { path: name, why: error.to_string() }),
    }
}

/// Parses the text of a trace; `path` is only used in messages.
fn parse(path: &str, text: &[u8]) -> Result<Vec<Row>, TraceError> {
    let mut reader = csv::Reader::from_reader(text);
    let columns = Columns::find(path, &mut reader)?;
    let mut lines = LineCounter::new(text);
    let mut rows = Vec::new();
    for record in reader.records() {
        let line = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        }
        .map_or(0, |at| lines.line_at(at.byte()));
        let row = record.map_err(|error| plain(&error)).and_then(|record| columns.row(line, &record));
        rows.push(row.map_err(|why| TraceError::BadRow { path: path.to_owned(), line, why })?);
    }
    if rows.is_empty() {
        return Err(TraceError::Empty { path: path.to_owned() });
    }
    Ok(rows)
}

/// The csv reader's error without its position, which is counted differently.
fn plain(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields where the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// The positions of the columns; there may be others.
struct Columns {
    timestamp: usize,
    context_tokens: usize,
    generated_tokens: usize,
}

impl Columns {
    fn find(path: &str, reader: &mut csv::Reader<&[u8]>) -> Result<Self, TraceError> {
        let header =
            reader.headers().map_err(|error| TraceError::Unreadable { path: path.to_owned(), why: plain(&error) })?;
        let find = |column: &'static str| {
            header
                .iter()
                .position(|name| name.trim() == column)
                .ok_or_else(|| TraceError::NoColumn { path: path.to_owned(), column })
        };
        Ok(Self {
            timestamp: find(TIMESTAMP)?,
            context_tokens: find(CONTEXT_TOKENS)?,
            generated_tokens: find(GENERATED_TOKENS)?,
        })
    }

    fn row(&self, line: u64, record: &StringRecord) -> Result<Row, String> {
        let field = |column: usize| record.get(column).unwrap_or_default().trim();
        Ok(Row {
            line,
            at: timestamp(field(self.timestamp))?,
            context_tokens: tokens(CONTEXT_TOKENS, field(self.context_tokens))?,
            generated_tokens: tokens(GENERATED_TOKENS, field(self.generated_tokens))?,
        })
    }
}

fn timestamp(text: &str) -> Result<NaiveDateTime, String> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .map_err(|_| format!("{TIMESTAMP} {text:?} is not a time like 2023-11-16 18:15:46.6805900"))
}

fn tokens(column: &str, text: &str) -> Result<u32, String> {
    let max = u32::MAX;
    text.parse().map_err(|_| format!("{column} {text:?} is not a whole number from 0 to {max}"))
}

/// Turns ascending byte offsets into line numbers. The csv reader's own count is wrong if lines end in CRLF, as in the
/// data set, or if there are blank lines.
struct LineCounter<'a> {
    text: &'a [u8],
    offset: usize,
    line: u64,
}

impl<'a> LineCounter<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, offset: 0, line: 1 }
    }

    /// The line of the first byte at or after `byte` that is not a line end.
    fn line_at(&mut self, byte: u64) -> u64 {
        while let Some(next) = self.text.get(self.offset) {
            if self.offset as u64 >= byte && !matches!(next, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*next == b'\n');
            self.offset += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

    fn parse_rows(rows: &str) -> Result<Vec<Row>, String> {
        parse("t.csv", format!("{HEADER}\r\n{rows}").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_are_read_with_their_lines_and_fractions_of_a_second() {
        let rows = parse_rows("2023-11-16 18:15:46.6805900,374,44\r\n\r\n2023-11-16 18:15:50.9951690,396,109").unwrap();
        let figures: Vec<_> = rows.iter().map(|row| (row.line, row.context_tokens, row.generated_tokens)).collect();
        assert_eq!(figures, [(2, 374, 44), (4, 396, 109)]);
        assert_eq!((rows[1].at - rows[0].at).num_microseconds(), Some(4_314_579));
    }

    #[test]
    fn other_columns_and_another_order_are_fine() {
        let text = "GeneratedTokens,Region,ContextTokens,TIMESTAMP\n7,eu,5,2024-01-01 00:00:00\n";
        let rows = parse("t.csv", text.as_bytes()).unwrap();
        assert_eq!((rows[0].context_tokens, rows[0].generated_tokens), (5, 7));
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        let good = "2023-11-16 18:15:46.68,374,44\r\n";
        for (bad, expected) in [
            (
                "2023-11-16 18:15:46,x,44",
                "t.csv line 3: ContextTokens \"x\" is not a whole number from 0 to 4294967295",
            ),
            (
                "2023-11-16 18:15:46,374,-1",
                "t.csv line 3: GeneratedTokens \"-1\" is not a whole number from 0 to 4294967295",
            ),
            (
                "2023-11-16 18:15:46,4294967296,1",
                "t.csv line 3: ContextTokens \"4294967296\" is not a whole number from 0 to 4294967295",
            ),
            (
                "yesterday,374,44",
                "t.csv line 3: TIMESTAMP \"yesterday\" is not a time like 2023-11-16 18:15:46.6805900",
            ),
            ("2023-11-16 18:15:46,374", "t.csv line 3: has 2 fields where the header has 3"),
        ] {
            assert_eq!(parse_rows(&format!("{good}{bad}\r\n{good}")).unwrap_err(), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_their_line() {
        let mut text = format!("{HEADER}\n2023-11-16 18:15:46,1,2\n").into_bytes();
        text.extend(b"2023-11-16 18:15:46,\xff,2\n");
        assert_eq!(parse("t.csv", &text).unwrap_err().to_string(), "t.csv line 3: is not UTF-8");
    }

    #[test]
    fn a_file_without_columns_or_rows_is_refused() {
        assert_eq!(parse_rows("").unwrap_err(), "t.csv has no rows");
        let error = parse("t.csv", b"a,b\n1,2\n").unwrap_err().to_string();
        assert!(error.starts_with("t.csv: the header has no column TIMESTAMP"), "{error}");
        let error = parse("t.csv", b"").unwrap_err().to_string();
        assert!(error.starts_with("t.csv: the header has no column TIMESTAMP"), "{error}");
    }

    #[test]
    fn a_missing_file_is_one_line() {
        let error = read(Path::new("no/such.csv")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the trace no/such.csv: "), "{error}");
        assert!(!error.contains('\n'));
    }

    #[test]
    fn the_committed_excerpt_has_the_sums_that_its_readme_states() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/azure-llm-conv-2023-excerpt.csv");
        let rows = read(&path).unwrap();
        let context: u64 = rows.iter().map(|row| u64::from(row.context_tokens)).sum();
        let generated: u64 = rows.iter().map(|row| u64::from(row.generated_tokens)).sum();
        assert_eq!((rows.len(), context, generated), (300, 270_000, 76_870));
    }
}
