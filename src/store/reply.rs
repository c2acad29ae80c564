//! Parses the replies of scripts: a status word, then texts in documented order, as a list or as the lines of one
//! text.

use std::collections::HashMap;

use redis::Value;

use super::error::StoreError;
use crate::domain::time::window::TimeMs;

/// A script's reply, read from front to back.
#[derive(Debug)]
pub struct Fields {
    script: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    List(std::vec::IntoIter<Value>),
    /// Lines; `at` is the start of the next one, None after the last.
    Lines {
        text: String,
        at: Option<usize>,
    },
}

impl Iterator for Values {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        match self {
            Self::List(values) => values.next(),
            Self::Lines { .. } => self.line().map(|line| Value::BulkString(line.as_bytes().to_vec())),
        }
    }
}

impl Values {
    /// The next line; None after the last, and for a list.
    fn line(&mut self) -> Option<&str> {
        let Self::Lines { text, at } = self else { return None };
        let rest = text.get((*at)?..)?;
        let end = rest.find('\n');
        *at = end.map(|end| text.len() - rest.len() + end + 1);
        Some(&rest[..end.unwrap_or(rest.len())])
    }
}

impl Fields {
    pub fn new(script: &'static str, value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self { script, values: Values::List(values.into_iter()) }),
            Value::BulkString(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Self::lines(script, text)),
                Err(_) => Err(StoreError::Unexpected(format!("{script}: text is not UTF-8"))),
            },
            other => Err(StoreError::Unexpected(format!("{script}: {other:?}"))),
        }
    }

    fn lines(script: &'static str, text: String) -> Self {
        Self { script, values: Values::Lines { text, at: Some(0) } }
    }

    /// The stored reply of an earlier call.
    pub fn stored(script: &'static str, text: &str) -> Self {
        Self::lines(script, text.to_owned())
    }

    /// Whether this is the status word.
    pub fn begins_with(&self, status: &str) -> bool {
        match &self.values {
            Values::List(values) => {
                matches!(values.as_slice().first(), Some(Value::BulkString(word)) if word == status.as_bytes())
            }
            Values::Lines { text, .. } => {
                text.strip_prefix(status).is_some_and(|rest| rest.is_empty() || rest.starts_with('\n'))
            }
        }
    }

    fn line(&mut self) -> Option<&str> {
        self.values.line()
    }

    /// How many fields are left.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::List(values) => values.len(),
            Values::Lines { text, at } => at.and_then(|at| text.get(at..)).map_or(0, |rest| rest.split('\n').count()),
        }
    }

    pub fn unexpected(&self, what: &str) -> StoreError {
        StoreError::Unexpected(format!("{}: {what}", self.script))
    }

    /// Parses the status word of a script that has only one.
    pub fn only_status(&mut self, word: &str) -> Result<(), StoreError> {
        let status = self.text()?;
        if status == word { Ok(()) } else { Err(self.unexpected(&format!("status {status}"))) }
    }

    pub fn text(&mut self) -> Result<String, StoreError> {
        if let Some(line) = self.line() {
            return Ok(line.to_owned());
        }
        match self.values.next() {
            Some(Value::BulkString(bytes)) => {
                String::from_utf8(bytes).map_err(|_| self.unexpected("text is not UTF-8"))
            }
            Some(Value::SimpleString(text)) => Ok(text),
            other => Err(self.unexpected(&format!("{other:?} instead of text"))),
        }
    }

    /// Text with invalid UTF-8 replaced, from which no figure or name can be parsed.
    pub fn lossy_text(&mut self) -> Result<String, StoreError> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Some(Value::SimpleString(text)) => Ok(text),
            other => Err(self.unexpected(&format!("{other:?} instead of text"))),
        }
    }

    pub fn int(&mut self) -> Result<i64, StoreError> {
        if let Some(line) = self.line() {
            let number = line.parse().ok();
            return number.ok_or_else(|| self.unexpected("text instead of an integer"));
        }
        match self.values.next() {
            Some(Value::Int(number)) => Ok(number),
            Some(Value::BulkString(bytes)) => {
                let text = std::str::from_utf8(&bytes).ok();
                text.and_then(|text| text.parse().ok()).ok_or_else(|| self.unexpected("text instead of an integer"))
            }
            other => Err(self.unexpected(&format!("{other:?} instead of an integer"))),
        }
    }

    pub fn time(&mut self) -> Result<TimeMs, StoreError> {
        self.int()
    }

    pub fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? == 1)
    }
}

/// A text, or nothing.
pub(super) fn optional_text(value: Value) -> Result<Option<String>, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string()))
}

/// A hash.
pub(super) fn text_map(value: Value) -> Result<HashMap<String, String>, StoreError> {
    redis::from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<Vec<u8>>().prop_map(Value::BulkString),
            "-?[0-9]{1,22}".prop_map(|text| Value::BulkString(text.into_bytes())),
            any::<i64>().prop_map(Value::Int),
            any::<String>().prop_map(Value::SimpleString),
            Just(Value::Nil),
            Just(Value::Array(Vec::new())),
        ]
    }

    proptest! {
        #[test]
        fn every_reply_of_a_script_is_read_or_an_error(list in prop::collection::vec(values(), 0..8), kinds in any::<[u8; 8]>()) {
            let count = list.len();
            let mut fields = Fields::new("test", Value::Array(list)).unwrap();
            for kind in kinds {
                let read = match kind % 3 {
                    0 => fields.text().map(drop),
                    1 => fields.int().map(drop),
                    _ => fields.flag().map(drop),
                };
                prop_assert!(read.is_ok() || matches!(read, Err(StoreError::Unexpected(_))));
            }
            prop_assert_eq!(fields.len(), count.saturating_sub(kinds.len()));
            prop_assert!(Fields::new("test", Value::Nil).is_err());
        }

        #[test]
        fn lines_are_read_as_a_list_is(list in prop::collection::vec("[a-z0-9]{0,3}", 1..6)) {
            let mut fields = Fields::new("test", Value::BulkString(list.join("\n").into_bytes())).unwrap();
            prop_assert!(fields.begins_with(&list[0]));
            for (place, text) in list.iter().enumerate() {
                prop_assert_eq!(fields.len(), list.len() - place);
                prop_assert_eq!(&fields.text().unwrap(), text);
            }
            prop_assert_eq!(fields.len(), 0);
            prop_assert!(fields.text().is_err());
        }
    }
}
