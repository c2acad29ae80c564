//! Webhooks: HTTP endpoints that receive an app's alerts and events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::{Host, Url};
use utoipa::ToSchema;

use super::address::is_public;
use crate::domain::values::field_error::FieldError;
use crate::domain::values::ids::Mode;

const MOST_URL_BYTES: usize = 2048;
const MOST_TEMPLATE_BYTES: usize = 2048;
const MOST_FILTER_VALUES: usize = 64;
/// Replaces each part of a URL that may contain a credential.
const MASK: &str = "***";

/// The events that a webhook can receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum WebhookEvent {
    /// `used` has reached a percentage of a group's `alerts`.
    #[serde(rename = "threshold.reached")]
    ThresholdReached,
    /// A group has denied a call, for the first time in its window with this limit.
    #[serde(rename = "limit.reached")]
    LimitReached,
    /// No more remains of an owner's credits than one of the `alertsBelow` of a balance.
    #[serde(rename = "credits.low")]
    CreditsLow,
    #[serde(rename = "approval.requested")]
    ApprovalRequested,
    #[serde(rename = "approval.decided")]
    ApprovalDecided,
    #[serde(rename = "subscription.changed")]
    SubscriptionChanged,
    /// A reservation has expired without a commit or release.
    #[serde(rename = "reservation.expired")]
    ReservationExpired,
}

impl WebhookEvent {
    pub const ALL: [Self; 7] = [
        Self::ThresholdReached,
        Self::LimitReached,
        Self::CreditsLow,
        Self::ApprovalRequested,
        Self::ApprovalDecided,
        Self::SubscriptionChanged,
        Self::ReservationExpired,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ThresholdReached => "threshold.reached",
            Self::LimitReached => "limit.reached",
            Self::CreditsLow => "credits.low",
            Self::ApprovalRequested => "approval.requested",
            Self::ApprovalDecided => "approval.decided",
            Self::SubscriptionChanged => "subscription.changed",
            Self::ReservationExpired => "reservation.expired",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }
}

/// A webhook as clients write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `http` or `https`.
    pub url: String,
    /// At least one.
    pub events: Vec<WebhookEvent>,
    /// Whose events: `live`, `test` (every sandbox) or `test/<sandbox>`.
    #[serde(default = "live_only")]
    #[schema(default = json!(["live"]))]
    pub modes: Vec<String>,
    /// Only events that match everything given here.
    #[serde(default, skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// The payload's `text`, for chats, with the placeholders `{event}`, `{group}`, `{percent}`, `{used}`, `{held}`,
    /// `{blocked}`, `{quota}`, `{limit}`, `{remaining}`, `{unit}`, `{scope}`, `{owner}`, `{policy}`, `{resetsAt}`,
    /// `{user}`, `{requested}`, `{status}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// Test events reach a receiver only if it asks for them.
fn live_only() -> Vec<String> {
    vec![Mode::Live.to_string()]
}

/// Accepted values per field; a field that is left out accepts all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_ids: Vec<String>,
    /// Owners of policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Environments of policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// Values of the counter's scope, such as `{"metadata.team": "red"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scope: BTreeMap<String, String>,
}

/// The values that a filter is compared with.
#[derive(Clone, Debug, Default)]
pub struct Filtered<'a> {
    pub group_id: Option<&'a str>,
    pub policy_id: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub scope: Option<&'a BTreeMap<String, String>>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn lets_through(&self, event: &Filtered<'_>) -> bool {
        let any = |wanted: &[String], given: Option<&str>| {
            wanted.is_empty() || given.is_some_and(|given| wanted.iter().any(|value| value == given))
        };
        any(&self.group_ids, event.group_id)
            && any(&self.policy_ids, event.policy_id)
            && any(&self.owners, event.owner)
            && any(&self.environments, event.environment)
            && self.scope.iter().all(|(name, value)| event.scope.is_some_and(|scope| scope.get(name) == Some(value)))
    }
}

impl WebhookBody {
    /// The host is an IP address that is not public. Host names are resolved and checked when the webhook is called.
    pub fn names_private_address(&self) -> bool {
        match Url::parse(&self.url).ok().as_ref().and_then(Url::host) {
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// Does it ask for events of the mode?
    pub fn takes(&self, mode: &Mode) -> bool {
        self.modes.iter().any(|wanted| match wanted.as_str() {
            "test" => mode.is_sandbox(),
            wanted => wanted == mode.to_string(),
        })
    }

    /// The webhook as callers see it who may not edit it.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { url: masked_url(&self.url), ..self }
    }

    /// All faults, except whether a host name resolves to a public address, which is checked on delivery.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let url = Url::parse(&self.url).ok();
        if url.as_ref().is_some_and(is_masked) {
            let message = format!("is masked (`{MASK}`); provide the whole URL, which admin keys can read");
            faults.push(FieldError::new("url", message));
        }
        let called = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if called.is_none() || self.url.len() > MOST_URL_BYTES {
            let message = format!("must be an http or https URL of at most {MOST_URL_BYTES} bytes");
            faults.push(FieldError::new("url", message));
        }
        if self.events.is_empty() {
            faults.push(FieldError::new("events", "must have at least one event"));
        }
        if self.modes.is_empty() || self.modes.len() > MOST_FILTER_VALUES {
            faults.push(FieldError::new("modes", format!("must have 1 to {MOST_FILTER_VALUES} values")));
        }
        for (place, mode) in self.modes.iter().enumerate() {
            if let Err(message) = Mode::parse(mode) {
                faults.push(FieldError::new(format!("modes[{place}]"), message));
            }
        }
        if self.template.as_ref().is_some_and(|template| template.is_empty() || template.len() > MOST_TEMPLATE_BYTES) {
            faults.push(FieldError::new("template", format!("must have 1 to {MOST_TEMPLATE_BYTES} bytes")));
        }
        let Filter { group_ids, policy_ids, owners, environments, scope } = &self.filter;
        let most = [group_ids.len(), policy_ids.len(), owners.len(), environments.len(), scope.len()];
        if most.into_iter().any(|values| values > MOST_FILTER_VALUES) {
            faults.push(FieldError::new("filter", format!("must have at most {MOST_FILTER_VALUES} values in a field")));
        }
        faults
    }
}

/// A webhook's URL for callers who may not edit it: scheme, host and port. User name, password, path and query may be
/// credentials, so they are masked.
pub fn masked_url(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return MASK.to_owned() };
    let Some(host) = url.host_str() else { return MASK.to_owned() };
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "***@" };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let is_bare = url.path().trim_matches('/').is_empty() && url.query().is_none() && url.fragment().is_none();
    let rest = if is_bare { "" } else { MASK };
    format!("{}://{user}{host}{port}/{rest}", url.scheme())
}

/// Whether this is a masked URL. Storing one would lose the credentials.
fn is_masked(url: &Url) -> bool {
    url.username() == MASK || url.path().strip_prefix('/') == Some(MASK)
}

/// Fills the placeholders of a template; unknown values are empty.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let placeholder = after.split_once('}').and_then(|(name, after)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, after))
        });
        match placeholder {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_lets_through_what_matches_all_its_fields() {
        let scope = [("metadata.team".to_owned(), "red".to_owned())].into();
        let event = Filtered { group_id: Some("g"), owner: Some("ml"), scope: Some(&scope), ..Filtered::default() };
        for (filter, expected) in [
            (json!({}), true),
            (json!({"groupIds": ["x", "g"], "owners": ["ml"]}), true),
            (json!({"groupIds": ["g"], "owners": ["other"]}), false),
            (json!({"policyIds": ["p"]}), false),
            (json!({"scope": {"metadata.team": "red"}}), true),
            (json!({"scope": {"metadata.team": "blue"}}), false),
        ] {
            let read: Filter = serde_json::from_value(filter.clone()).unwrap();
            assert_eq!(read.lets_through(&event), expected, "{filter}");
        }
    }

    #[test]
    fn a_masked_url_names_the_host_and_no_credential() {
        for (url, masked) in [
            ("https://hooks.example.com", "https://hooks.example.com/"),
            ("https://hooks.example.com/", "https://hooks.example.com/"),
            ("https://hooks.example.com/services/T0/secret", "https://hooks.example.com/***"),
            ("https://me:secret@hooks.example.com:8443/?key=secret#secret", "https://***@hooks.example.com:8443/***"),
            ("https://secret@hooks.example.com/", "https://***@hooks.example.com/"),
            ("https://:secret@hooks.example.com/", "https://***@hooks.example.com/"),
            ("http://[2001:db8::1]:80/?secret", "http://[2001:db8::1]/***"),
            ("secret", "***"),
            ("data:secret", "***"),
        ] {
            assert_eq!(masked_url(url), masked, "{url}");
            assert_eq!(masked_url(masked), masked, "masking twice changes nothing: {url}");
        }
    }

    #[test]
    fn a_masked_url_is_not_written_back() {
        let faults = |url: &str| {
            let body: WebhookBody = serde_json::from_value(json!({"url": url, "events": ["limit.reached"]})).unwrap();
            body.faults().len()
        };
        for url in ["https://a.example/***", "https://***@a.example/", "https://***@a.example/***"] {
            assert_eq!(faults(url), 1, "{url}");
        }
        for url in ["https://a.example/", "https://a.example/x/***", "https://me:***@a.example/"] {
            assert_eq!(faults(url), 0, "{url}");
        }
    }

    #[test]
    fn a_webhook_takes_live_events_unless_it_asks_for_others() {
        let takes = |modes: serde_json::Value, mode: &str| {
            let mut body = json!({"url": "https://a.example/", "events": ["limit.reached"]});
            if !modes.is_null() {
                body["modes"] = modes;
            }
            let body: WebhookBody = serde_json::from_value(body).unwrap();
            (
                body.takes(&Mode::parse(mode).unwrap()),
                body.faults().iter().map(|it| it.field.clone()).collect::<String>(),
            )
        };
        let fine = |takes: bool| (takes, String::new());
        assert_eq!(takes(json!(null), "live"), fine(true));
        assert_eq!(takes(json!(null), "test"), fine(false));
        assert_eq!(takes(json!(["test"]), "live"), fine(false));
        assert_eq!(takes(json!(["test"]), "test/ci"), fine(true));
        assert_eq!(takes(json!(["live", "test/ci"]), "test/ci"), fine(true));
        assert_eq!(takes(json!(["live", "test/ci"]), "test"), fine(false));
        assert_eq!(takes(json!([]), "live"), (false, "modes".to_owned()));
        assert_eq!(takes(json!(["live", "prod"]), "live"), (true, "modes[1]".to_owned()));
    }

    #[test]
    fn templates_are_filled_once_and_never_fail() {
        let values = [("group", "Tokens {percent}"), ("percent", "80")];
        for (template, expected) in [
            ("{group} at {percent} %", "Tokens {percent} at 80 %"),
            ("{unknown} {", "{unknown} {"),
            ("}{percent}{", "}80{"),
            ("{{percent}}", "{80}"),
        ] {
            assert_eq!(fill(template, &values), expected, "{template}");
        }
    }
}
