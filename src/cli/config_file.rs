//! Parses a configuration file, YAML or JSON (which is also YAML): as JSON, with the line of every field for error
//! messages.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number, Value};

/// The maximum number of values after aliases are expanded.
const MOST_VALUES: usize = 100_000;
/// The maximum nesting of lists and maps.
const MOST_DEPTH: usize = 64;

/// A parsed file.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigFile {
    pub document: Value,
    /// By the path of a field, such as `plans[0].groups[2].quota`.
    lines: BTreeMap<String, usize>,
}

/// Why a file cannot be parsed; lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FileError {
    pub line: usize,
    pub message: String,
}

impl From<ScanError> for FileError {
    fn from(error: ScanError) -> Self {
        Self { line: error.marker().line(), message: error.info().to_owned() }
    }
}

impl ConfigFile {
    /// # Errors
    /// Invalid YAML, more than one document, a duplicate key, or too large after expansion.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut reader =
            Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), lines: BTreeMap::new(), values: 0 };
        let mut document = None;
        loop {
            let (event, span) = reader.next()?;
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if document.is_some() => return Err(fault(&span, "must be a single document")),
                event => document = Some(reader.value("", 0, event, &span)?),
            }
        }
        Ok(Self { document: document.unwrap_or(Value::Null), lines: reader.lines })
    }

    /// The line of a field, or of the nearest value that contains it.
    pub fn line_of(&self, field: &str) -> Option<usize> {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

fn fault(span: &Span, message: impl Into<String>) -> FileError {
    FileError { line: span.start.line(), message: message.into() }
}

struct Reader<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    lines: BTreeMap<String, usize>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), FileError> {
        match self.events.next() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn count(&mut self, values: usize, span: &Span) -> Result<(), FileError> {
        self.values += values;
        if self.values > MOST_VALUES { Err(fault(span, "the file is too large")) } else { Ok(()) }
    }

    fn value(&mut self, path: &str, depth: usize, event: Event<'a>, span: &Span) -> Result<Value, FileError> {
        self.count(1, span)?;
        if depth > MOST_DEPTH {
            return Err(fault(span, "is nested too deeply"));
        }
        self.lines.entry(path.to_owned()).or_insert(span.start.line());
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(&text, style)),
            Event::SequenceStart(anchor, _) => (anchor, self.list(path, depth)?),
            Event::MappingStart(anchor, _) => (anchor, self.map(path, depth)?),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| fault(span, "the anchor of this alias is not defined"))?;
                self.count(size(&value), span)?;
                return Ok(value);
            }
            _ => return Err(fault(span, "a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Value, FileError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let item = self.value(&format!("{path}[{}]", items.len()), depth + 1, event, &span)?;
            items.push(item);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Value, FileError> {
        let mut fields = Map::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Object(fields)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(fault(&span, "a key must be plain text")),
            };
            if fields.contains_key(&name) {
                return Err(fault(&span, format!("the key `{name}` occurs twice")));
            }
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.lines.insert(inner.clone(), span.start.line());
            let (event, span) = self.next()?;
            let value = self.value(&inner, depth + 1, event, &span)?;
            fields.insert(name, value);
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// Plain scalars follow the core schema of YAML 1.2; numbers keep their digits, so that prices stay exact.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => Number::from_str(text).map_or_else(|_| Value::from(text), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = "# prices
app:
  defaultPlanId: free
plans:
  - id: free
    groups:
      - &images
        id: images
        quota: 20
        matches: [{event: 'image.*'}]
  - id: pro
    groups:
      - *images
      - id: spend
        quota: ~
        per: {prompt_tokens: 0.00025, n: \"0.1\"}
        start: 2027-01-01
";

    #[test]
    fn yaml_becomes_json_with_exact_numbers_and_the_lines_of_its_fields() {
        let file = ConfigFile::parse(FILE).unwrap();
        let images = json!({"id": "images", "quota": 20, "matches": [{"event": "image.*"}]});
        assert_eq!(file.document["plans"][1]["groups"][0], images);
        let spend = &file.document["plans"][1]["groups"][1];
        assert_eq!(
            spend.to_string(),
            r#"{"id":"spend","per":{"n":"0.1","prompt_tokens":0.00025},"quota":null,"start":"2027-01-01"}"#
        );
        for (field, line) in [
            ("app.defaultPlanId", Some(3)),
            ("plans", Some(4)),
            ("plans[1].groups[1].quota", Some(15)),
            ("plans[0].groups[0].quota", Some(9)),
            ("plans[0].groups[0].unit", Some(7)),
            ("plans[1].groups[0].quota", Some(13)),
            ("policies", Some(2)),
        ] {
            assert_eq!(file.line_of(field).or(file.lines.get("").copied()), line, "{field}");
        }
    }

    #[test]
    fn json_is_read_the_same_way() {
        let text = "{\n  \"plans\": [\n    {\"id\": \"free\", \"x\": 1e2}\n  ]\n}";
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.document["plans"][0]["id"], "free");
        assert_eq!(file.line_of("plans[0].x"), Some(3));
    }

    #[test]
    fn what_is_no_document_names_its_line() {
        let bomb = format!(
            "a: &a [{}]\n{}",
            "1,".repeat(9_999) + "1",
            (0..20).map(|n| format!("b{n}: *a\n")).collect::<String>()
        );
        for (text, line) in [
            ("a: 1\nb: [1, 2\n", 3),
            ("a: 1\na: 2\n", 2),
            ("a: 1\n---\nb: 2\n", 3),
            ("a: 1\n? [x]\n: 2\n", 2),
            ("a: *x\n", 1),
            (&*format!("a: {}{}", "[".repeat(70), "]".repeat(70)), 1),
            (&*bomb, 10),
        ] {
            let error = ConfigFile::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}: {}", &text[..text.len().min(60)]);
        }
    }
}
