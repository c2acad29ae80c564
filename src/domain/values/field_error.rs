//! A fault in one field of a request or document.

use serde::Serialize;
use utoipa::ToSchema;

/// Names the field (a path such as `groups[2].quota`). The message continues the sentence that the field begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// "`ttlSeconds` must be between 1 and 3600."
    pub fn sentence(&self) -> String {
        let end = if self.message.ends_with(['.', '?']) { "" } else { "." };
        format!("`{}` {}{end}", self.field, self.message)
    }

    /// The same fault, seen from the object that contains the field.
    pub fn within(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), message: self.message }
    }
}

/// Collects the faults of a request or document, so that all are returned at once.
#[derive(Debug, Default)]
pub struct Faults(pub Vec<FieldError>);

impl Faults {
    /// Adds a fault of the field.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// The value, or its error as a fault of the field.
    pub fn check<T, E: ToString>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }

    /// The value, or its fault.
    pub fn take<T>(&mut self, result: Result<T, FieldError>) -> Option<T> {
        result.map_err(|fault| self.0.push(fault)).ok()
    }

    /// The value, unless there are faults. It is missing only if one of them says why.
    ///
    /// # Errors
    /// All faults.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}
