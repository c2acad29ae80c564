//! How a refusal reads.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

/// A refusal, from problem+json or, if something else answered, from the status alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub code: Option<String>,
    pub detail: Option<String>,
}

#[derive(Deserialize)]
struct ProblemBody {
    code: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    field: String,
    message: String,
}

impl Problem {
    /// Reads what it can; a body that is no problem+json leaves the status.
    pub fn read(status: StatusCode, bytes: &[u8]) -> Self {
        let body: Option<ProblemBody> = serde_json::from_slice(bytes).ok();
        let (code, detail) = body.map_or((None, None), |body| {
            let detail = match body.errors.first() {
                Some(FieldError { field, message }) => Some(format!("{field}: {message}")),
                None => body.detail,
            };
            (body.code, detail)
        });
        Self { status: status.as_u16(), code, detail }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(detail) = &self.detail {
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
                r#"{"code":"invalid_request","detail":"d","errors":[{"field":"event","message":"is too long"}]}"#
            ),
            "400 invalid_request: event: is too long"
        );
        assert_eq!(shown(StatusCode::NOT_FOUND, "<html>"), "404");
    }
}
