//! Resolves a receiver's name to public addresses only. The connection uses the same result, so a name cannot change
//! to a private address between check and call.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::webhooks::address::is_public;

pub struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
