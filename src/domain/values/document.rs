//! Reading a JSON document from outside: every fault names its field, and as many as can be found are told at once.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_path_to_error::Segment;

use super::field_error::FieldError;

/// Faults told of one document.
const MOST_FAULTS: usize = 20;

/// # Errors
/// Every fault that can be told, each by the path of its field.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Vec<FieldError>> {
    // serde would take an array for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first != b'{') {
        return Err(vec![FieldError::new("body", "must be a JSON object")]);
    }
    // Nearly every body is right, and then nobody needs to know where in it the reader was.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let inner = error.inner();
        // A number beyond every range is told as a fault of syntax too: it is only one if the text is not JSON at all.
        if (inner.is_syntax() || inner.is_eof()) && serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
            return vec![FieldError::new("body", format!("is not JSON: {inner}"))];
        }
        let first = fault(&error);
        let further = further_faults::<T>(bytes).into_iter().filter(|further| *further != first);
        std::iter::once(first.clone()).chain(further).collect()
    })?;
    deserializer.end().map_err(|error| vec![FieldError::new("body", format!("is not JSON: {error}"))])?;
    Ok(value)
}

fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let text = error.inner().to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    FieldError::new(field(&error.path().to_string(), message), message)
}

/// Reading ends at the first fault. So each field that has one is taken out, and what is left is read again.
fn further_faults<T: DeserializeOwned>(bytes: &[u8]) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let Ok(mut document) = serde_json::from_slice::<Value>(bytes) else {
        return faults;
    };
    while faults.len() < MOST_FAULTS {
        let Err(error) = serde_path_to_error::deserialize::<_, T>(&document) else { break };
        let path: Vec<Segment> = error.path().iter().cloned().collect();
        faults.push(fault(&error));
        if !take_out(&mut document, &path) {
            break;
        }
    }
    faults
}

/// Takes out the last field of a path that leads through maps and lists. False if nothing could be.
fn take_out(document: &mut Value, path: &[Segment]) -> bool {
    // Of an item of a list only a field can go: the others must keep their places.
    let Some(last) = path.iter().rposition(|segment| matches!(segment, Segment::Map { .. })) else {
        return false;
    };
    let mut place = document;
    for segment in &path[..last] {
        let next = match segment {
            Segment::Map { key } => place.get_mut(key),
            Segment::Seq { index } => place.get_mut(index),
            Segment::Enum { .. } | Segment::Unknown => return false,
        };
        match next {
            Some(next) => place = next,
            None => return false,
        }
    }
    match (&path[last], place) {
        (Segment::Map { key }, Value::Object(fields)) => fields.remove(key).is_some(),
        _ => false,
    }
}

/// The path of a fault; a missing or unknown field is named itself, not the object that it is missing from.
pub fn field(path: &str, message: &str) -> String {
    // `?`: the fault lies in a name itself.
    let parent = if matches!(path, "." | "?") { "" } else { path.strip_suffix(".?").unwrap_or(path) };
    let named = ["missing field `", "unknown field `", "duplicate field `"].iter().find_map(|start| {
        let name = message.strip_prefix(start)?.split('`').next()?;
        // The path of an unknown field ends with its name already.
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

    #[test]
    fn all_faults_of_a_document_are_told_at_once() {
        let body = r#"{"userId": 1, "x": 2, "inner": [{"count": -1}, {"count": 1, "y": 2, "z": 3}, {"count": "n"}]}"#;
        let fields: Vec<String> = read::<Outer>(body.as_bytes()).unwrap_err().into_iter().map(|it| it.field).collect();
        // A field that is taken out is missing, if it is needed: that is told once, and ends it.
        assert_eq!(fields[0], "userId");
        let body = r#"{"userId": "a", "x": 2, "inner": [{"count": 1, "y": 2, "z": 3}, {"count": 1, "w": "n"}]}"#;
        let fields: Vec<String> = read::<Outer>(body.as_bytes()).unwrap_err().into_iter().map(|it| it.field).collect();
        assert_eq!(fields, ["x", "inner[0].y", "inner[0].z", "inner[1].w"]);
    }
}
