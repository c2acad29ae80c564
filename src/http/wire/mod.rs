//! Parses requests and writes answers: authentication, bodies, cursors, errors, shared JSON.

pub(crate) mod auth;
pub(crate) mod body;
mod counter_texts;
pub mod cursor;
pub(crate) mod header;
mod json_text;
pub(crate) mod payload;
pub(crate) mod plain_json;
pub(crate) mod problem;
pub(crate) mod rate_limit;
pub(crate) mod session_cookie;
pub(crate) mod versioned;
pub(crate) mod views;
