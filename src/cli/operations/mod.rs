//! The commands of daily operations. They talk to a gateway over HTTP, as any client would.

pub mod credits;
pub mod documents;
pub mod estimates;
pub mod explain;
pub mod export_config;
pub mod grants;
pub mod keys;
pub mod limits;
pub mod top;
pub mod users;

use std::collections::BTreeMap;

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Owner {
    /// The user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// An owner that is not a user, for example metadata.team=red; repeat it for a combination
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    scope: Vec<(String, String)>,
}

impl Owner {
    fn to_map(&self) -> BTreeMap<&str, &str> {
        let scope = self.scope.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        scope.chain(self.user.as_deref().map(|user| ("user", user))).collect()
    }

    fn words(&self) -> String {
        self.to_map().into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// Reads `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}
