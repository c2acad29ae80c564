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
