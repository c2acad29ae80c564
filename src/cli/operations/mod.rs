//! The commands of daily operations. They talk to a gateway over HTTP, as any client would.

pub mod documents;
pub mod estimates;
pub mod explain;
pub mod export_config;
pub mod grants;
pub mod keys;
pub mod limits;
pub mod top;
pub mod users;

/// Reads `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}
