//! Parses JSON documents from outside. Every fault names its field, and as many faults as possible are returned at once.

mod wording;

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use serde_path_to_error::Segment;

use super::field_error::FieldError;
pub use wording::{either, not_one_of, suggestion};

const UNKNOWN_PARAMETER: &str = "is not a parameter of this call";

/// The maximum number of faults that are returned for one document or query.
pub const MOST_FAULTS: usize = 20;
/// How often a faulty document is parsed to find further faults.
const MOST_READINGS: usize = 60;

/// # Errors
/// The faults of the document, each with the path of its field.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Vec<FieldError>> {
    read_checked(bytes, |_| Vec::new())
}

/// Like [`read`]. If fields have the wrong form, `check` may find further faults in the others; it is not called for a
/// document that can be parsed.
///
/// # Errors
/// The faults of the document, each with the path of its field.
pub fn read_checked<T: DeserializeOwned>(
    bytes: &[u8],
    check: impl FnOnce(&T) -> Vec<FieldError>,
) -> Result<T, Vec<FieldError>> {
    // serde accepts an array for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err(vec![FieldError::new("body", "must be a JSON object")]);
    }
    // Nearly all bodies are correct and do not need the position of a fault. In a text that was checked as a whole, no
    // string is checked again.
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        // serde_json reports some wrong values as a syntax error too, such as numbers out of range.
        if (inner.is_syntax() || inner.is_eof()) && serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
            return vec![not_json(inner)];
        }
        let mut faults = vec![fault(&error)];
        let (further, rest) = Search::of(serde_json::from_slice(bytes).unwrap_or_default()).run::<T>();
        add(&mut faults, further);
        if let Some(rest) = rest {
            add_further(&mut faults, check(&rest));
        }
        faults.truncate(MOST_FAULTS);
        faults
    })?;
    deserializer.end().map_err(|error| vec![not_json(&error)])?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> FieldError {
    FieldError::new(
        "body",
        format!("must be JSON; the syntax is wrong at line {}, column {}", error.line(), error.column()),
    )
}

fn add(faults: &mut Vec<FieldError>, more: Vec<FieldError>) {
    for fault in more {
        if !faults.iter().any(|known| known.field == fault.field) {
            faults.push(fault);
        }
    }
}

/// Adds the faults of the fields that can be parsed, without those that may vanish with a fault of another field.
pub fn add_further(faults: &mut Vec<FieldError>, further: Vec<FieldError>) {
    let known = faults.clone();
    let is_known = |fault: &FieldError| {
        known.iter().any(|known| concerns(&known.field, &fault.field) || depends(fault, &known.field))
    };
    faults.extend(further.into_iter().filter(|fault| !is_known(fault)));
}

/// Whether one of the fields contains the other.
fn concerns(one: &str, other: &str) -> bool {
    let contains = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    contains(one, other) || contains(other, one)
}

/// Whether the message names a faulty field of the same object, or of one that contains it. Without that field's own
/// fault there may be none, as in "provide `event` or `items`" if `items` cannot be parsed.
fn depends(fault: &FieldError, faulty: &str) -> bool {
    let (parent, name) = faulty.rsplit_once('.').unwrap_or(("", faulty));
    // The names that a suggestion has are no conditions.
    if fault.message.starts_with(UNKNOWN_PARAMETER) {
        return false;
    }
    let is_beside = parent.is_empty() || fault.field.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'));
    is_beside && fault.message.split('`').skip(1).step_by(2).any(|named| named == name)
}

/// The message of an error without its position.
fn message_of(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let message = message_of(error);
    FieldError::new(field(&error.path().to_string(), &message), wording::plain(&message))
}

/// Parses a value that is the field `parent` of its document.
///
/// # Errors
/// The faults of the value, each with the path of its field.
pub fn read_within<T: DeserializeOwned>(parent: &str, value: &Value) -> Result<T, Vec<FieldError>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut faults = vec![fault(&error)];
        add(&mut faults, Search::of(value.clone()).run::<T>().0);
        faults.truncate(MOST_FAULTS);
        let placed = |fault: FieldError| match fault.field.as_str() {
            "body" => FieldError::new(parent, fault.message),
            _ => fault.within(parent),
        };
        faults.into_iter().map(placed).collect()
    })
}

/// A fault in a query string. Its message has no path.
pub fn fault_of_query(message: &str) -> FieldError {
    let plain = wording::plain(message);
    let text = match plain.strip_prefix(wording::UNKNOWN_FIELD) {
        Some(hint) => format!("{UNKNOWN_PARAMETER}{hint}"),
        None => plain,
    };
    FieldError::new(field(".", message), text)
}

/// The fault of a parameter that a call does not have. `known` are those that it has.
pub fn unknown_parameter(name: &str, known: &[&str]) -> FieldError {
    FieldError::new(name, format!("{UNKNOWN_PARAMETER}{}", wording::hint(name, known)))
}

/// Finds the faults that follow the first one. Parsing ends at a fault, so the field is removed, or replaced by another
/// value if it is required, and the document is parsed again.
struct Search {
    document: Value,
    faults: Vec<FieldError>,
    /// Fields with a fault, and how many replacements they have had.
    replaced: BTreeMap<String, usize>,
}

impl Search {
    fn of(document: Value) -> Self {
        Self { document, faults: Vec::new(), replaced: BTreeMap::new() }
    }

    /// The faults, and the rest of the document if it can be parsed.
    fn run<T: DeserializeOwned>(mut self) -> (Vec<FieldError>, Option<T>) {
        for _ in 0..MOST_READINGS {
            match serde_path_to_error::deserialize::<_, T>(&self.document) {
                Ok(rest) => return (self.faults, Some(rest)),
                Err(error) => {
                    if self.faults.len() >= MOST_FAULTS || self.put_aside(&error).is_none() {
                        break;
                    }
                }
            }
        }
        (self.faults, None)
    }

    /// Notes a fault, and changes the document so that the next reading gets further. None if that is not possible.
    fn put_aside(&mut self, error: &serde_path_to_error::Error<serde_json::Error>) -> Option<()> {
        let fault = fault(error);
        let message = message_of(error);
        let path: Vec<Segment> =
            error.path().iter().filter(|segment| !matches!(segment, Segment::Unknown)).cloned().collect();
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let (parents, name) = match missing {
            Some(name) => (path.as_slice(), name.to_owned()),
            None => {
                // Items of a list must keep their positions, so only a field can be removed.
                let last = path.iter().rposition(|segment| matches!(segment, Segment::Map { .. }))?;
                let Segment::Map { key } = &path[last] else { return None };
                (&path[..last], key.clone())
            }
        };
        let fields = object_at(&mut self.document, parents)?;
        let tried = self.replaced.get(&fault.field).copied();
        if tried.is_none() && missing.is_none() {
            fields.remove(&name)?;
            self.replaced.insert(fault.field.clone(), 0);
            self.faults.push(fault);
            return Some(());
        }
        let tried = tried.unwrap_or(0);
        let value = match wording::accepted(&message).first() {
            Some(accepted) => json!(accepted),
            None => replacement(tried)?,
        };
        fields.insert(name, value);
        let is_new = self.replaced.insert(fault.field.clone(), tried + 1).is_none();
        if is_new {
            self.faults.push(fault);
        }
        Some(())
    }
}

/// Values of every kind, for a required field whose own value cannot be parsed.
fn replacement(place: usize) -> Option<Value> {
    let values = [json!("1"), json!(1), json!([]), json!({}), json!(true), json!("2000-01-01T00:00:00Z")];
    values.into_iter().nth(place)
}

/// The object at a path through maps and lists.
fn object_at<'a>(document: &'a mut Value, path: &[Segment]) -> Option<&'a mut serde_json::Map<String, Value>> {
    let mut place = document;
    for segment in path {
        place = match segment {
            Segment::Map { key } => place.get_mut(key)?,
            Segment::Seq { index } => place.get_mut(index)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
    }
    place.as_object_mut()
}

/// The path of a faulty field. A missing or unknown field is named itself instead of the object that contains it.
fn field(path: &str, message: &str) -> String {
    // `?` means that the name itself is wrong.
    let parent = if matches!(path, "." | "?") { "" } else { path.strip_suffix(".?").unwrap_or(path) };
    let named = ["missing field `", "unknown field `", "duplicate field `"].iter().find_map(|start| {
        let name = message.strip_prefix(start)?.split('`').next()?;
        // The path of an unknown field already ends with its name.
        let known = parent == name || parent.ends_with(&format!(".{name}"));
        (!known).then_some(name)
    });
    match (parent, named) {
        ("", None) => "body".to_owned(),
        ("", Some(name)) => name.to_owned(),
        (parent, None) => parent.to_owned(),
        (parent, Some(name)) => format!("{parent}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        user_id: String,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        count: u32,
    }

    #[test]
    fn faults_name_their_field() {
        for (body, expected) in [
            ("{", "body"),
            ("[]", "body"),
            ("{} x", "userId"),
            (r#"{"userId":"a"} x"#, "body"),
            ("{}", "userId"),
            (r#"{"userId":1}"#, "userId"),
            (r#"{"userId":"a","x":1}"#, "x"),
            (r#"{"userId":"a","userId":"b"}"#, "userId"),
            (r#"{"userId":"a","inner":[{}]}"#, "inner[0].count"),
            (r#"{"userId":"a","inner":[{"count":1,"y":2}]}"#, "inner[0].y"),
            (r#"{"userId":"a","inner":[{"count":-1}]}"#, "inner[0].count"),
        ] {
            assert_eq!(read::<Outer>(body.as_bytes()).unwrap_err()[0].field, expected, "{body}");
        }
    }

    fn fields<T: std::fmt::Debug + DeserializeOwned>(body: &str) -> Vec<String> {
        read::<T>(body.as_bytes()).unwrap_err().into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn all_faults_of_a_document_are_returned_at_once() {
        let body = r#"{"userId": 1, "x": 2, "inner": [{"count": -1}, {"count": 1, "y": 2, "z": 3}, {"count": "n"}]}"#;
        let expected = ["userId", "inner[0].count", "inner[1].y", "inner[1].z", "inner[2].count", "x"];
        assert_eq!(fields::<Outer>(body), expected);

        assert_eq!(
            fields::<Outer>(r#"{"inner": [{}, {}], "x": 1}"#),
            ["inner[0].count", "inner[1].count", "x", "userId"]
        );
    }

    #[test]
    fn other_fields_are_checked_although_one_cannot_be_parsed() {
        let check = |outer: &Outer| {
            let short = (outer.user_id.len() < 3).then(|| FieldError::new("userId", "is short"));
            short.into_iter().chain([FieldError::new("inner[0].count", "is low")]).collect()
        };
        let found = read_checked::<Outer>(br#"{"userId": "a", "inner": [{"count": -1}]}"#, check).unwrap_err();
        assert_eq!(
            found,
            [
                FieldError::new("inner[0].count", "must be a whole number that is not negative"),
                FieldError::new("userId", "is short"),
            ]
        );

        let found = read_checked::<Outer>(br#"{"userId": 1, "inner": [{"count": 1}]}"#, check).unwrap_err();
        assert_eq!(found.len(), 2, "the replaced value of `userId` has no fault: {found:?}");
    }

    #[test]
    fn a_fault_that_names_a_faulty_field_may_vanish_with_it() {
        let fault = |field: &str| FieldError::new(field, "must be at most `count`");
        for (field, faulty, expected) in [
            ("userId", "count", true),
            ("inner[0].least", "count", true),
            ("inner[0].least", "inner[0].count", true),
            ("inner[0].more.least", "inner[0].count", true),
            ("inner[1].least", "inner[0].count", false),
            ("inner[0].least", "inner[0].counts", false),
            ("inner[0].least", "inner[0].more.count", false),
        ] {
            assert_eq!(depends(&fault(field), faulty), expected, "{field} {faulty}");
        }
    }

    #[test]
    fn all_faults_of_a_field_are_returned_at_once() {
        let value = json!({"userId": 1, "inner": [{"count": -1}], "x": 2});
        let fields = |value: &Value| -> Vec<String> {
            read_within::<Outer>("outer", value).unwrap_err().into_iter().map(|fault| fault.field).collect()
        };
        let mut found = fields(&value);
        found.sort();
        assert_eq!(found, ["outer.inner[0].count", "outer.userId", "outer.x"]);
        assert_eq!(fields(&json!(7)), ["outer"]);
        assert_eq!(read_within::<Inner>("inner", &json!({"count": 7})).unwrap().count, 7);
    }
}
