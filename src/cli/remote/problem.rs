//! Formats an error of the gateway in one line.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::service::configuration::apply::Applied;

/// An error from problem+json or, if another server answered, from the status alone.
#[derive(Debug)]
pub struct Problem {
    pub status: u16,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub errors: Vec<Fault>,
    /// Of a dry run: what would change.
    pub preview: Option<Box<Applied>>,
}

#[derive(Default, Deserialize)]
struct ProblemBody {
    code: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<Fault>,
    preview: Option<Box<Applied>>,
}

/// What is wrong with a field.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    pub field: String,
    pub message: String,
}

impl Problem {
    /// Parses what it can; for a body that is not problem+json only the status.
    pub fn read(status: StatusCode, bytes: &[u8]) -> Self {
        let ProblemBody { code, detail, errors, preview } = serde_json::from_slice(bytes).unwrap_or_default();
        Self { status: status.as_u16(), code, detail, errors, preview }
    }

    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        let faults: Vec<String> =
            self.errors.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        let detail = if faults.is_empty() { self.detail.clone() } else { Some(faults.join("; ")) };
        if let Some(detail) = detail {
            write!(f, ": {}", detail.replace('\n', " "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_one_line_whatever_answered() {
        let shown = |status, text: &str| Problem::read(status, text.as_bytes()).to_string();
        assert_eq!(
            shown(StatusCode::UNAUTHORIZED, r#"{"status":401,"code":"invalid_key","detail":"no\nsuch key"}"#),
            "401 invalid_key: no such key"
        );
        assert_eq!(
            shown(
                StatusCode::BAD_REQUEST,
                r#"{"code":"invalid_request","detail":"d","errors":[{"field":"event","message":"is too long"},{"field":"a","message":"b"}]}"#
            ),
            "400 invalid_request: event: is too long; a: b"
        );
        assert_eq!(shown(StatusCode::NOT_FOUND, "<html>"), "404");
    }
}
