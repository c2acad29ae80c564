//! Scopes: who owns the counter of an event.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::domain::values::document;
use crate::domain::values::ids::{AppId, KeyId, UserId};
use crate::domain::values::metadata::Metadata;

/// The maximum number of names in a scope.
const MOST_NAMES: usize = 8;
const MOST_NAME_BYTES: usize = 64;

/// One name of a scope. Values in an owner's name have the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    User,
    App,
    Key,
    /// `metadata.<name>`
    Metadata(Arc<str>),
}

impl Dimension {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "user" => Ok(Self::User),
            "app" => Ok(Self::App),
            "key" => Ok(Self::Key),
            other => match other.strip_prefix("metadata.") {
                Some(name) if (1..=MOST_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control) => {
                    Ok(Self::Metadata(Arc::from(name)))
                }
                _ => {
                    let suggestion = document::suggestion(other, &["user", "app", "key"]);
                    Err(format!("must be `user`, `app`, `key` or `metadata.<name>`, not `{other}`{suggestion}"))
                }
            },
        }
    }

    /// The name in documents.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::User => Cow::Borrowed("user"),
            Self::App => Cow::Borrowed("app"),
            Self::Key => Cow::Borrowed("key"),
            Self::Metadata(name) => Cow::Owned(["metadata.", name].concat()),
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name())
    }
}

/// A set of names in a fixed order: `["metadata.team", "user"]` equals `["user", "metadata.team"]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(Arc<[Dimension]>);

static USER: LazyLock<Scope> = LazyLock::new(|| Scope([Dimension::User].into()));

impl Scope {
    /// The default: one counter per user.
    pub fn user() -> Self {
        USER.clone()
    }

    /// One counter per user and original action (`metadata.action`).
    pub fn user_action() -> Self {
        Self([Dimension::User, Dimension::Metadata(Arc::from("action"))].into())
    }

    /// # Errors
    /// What is wrong with the names.
    pub fn parse<T: AsRef<str>>(names: &[T]) -> Result<Self, String> {
        if names.is_empty() || names.len() > MOST_NAMES {
            return Err(format!("must have 1 to {MOST_NAMES} of `user`, `app`, `key`, `metadata.<name>`"));
        }
        let mut dimensions =
            names.iter().map(|name| Dimension::parse(name.as_ref())).collect::<Result<Vec<_>, String>>()?;
        dimensions.sort();
        if let Some(twice) = dimensions.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("must not contain `{}` twice", twice[0]));
        }
        Ok(Self(dimensions.into()))
    }

    /// Whether there is exactly one counter per user.
    pub fn is_user(&self) -> bool {
        *self.0 == [Dimension::User]
    }

    /// Whether no counter is shared between users.
    pub fn contains_user(&self) -> bool {
        self.0.contains(&Dimension::User)
    }

    /// Whether callers choose the values, so that there may be any number of counters.
    pub fn is_free(&self) -> bool {
        self.0.iter().any(|dimension| matches!(dimension, Dimension::Metadata(_)))
    }

    pub fn dimensions(&self) -> &[Dimension] {
        &self.0
    }

    /// The names in their order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// The owner of the counter for a call; None if a name's value is missing.
    pub fn owner(&self, subject: Subject<'_>) -> Option<OwnerName> {
        let value = |name| subject.value(name).map(str::to_owned);
        let values: Arc<[String]> = match &*self.0 {
            [only] => [value(only)?].into(),
            names => names.iter().map(value).collect::<Option<_>>()?,
        };
        Some(OwnerName { scope: self.clone(), values })
    }

    /// The names whose values are missing in a call.
    pub fn missing(&self, subject: Subject<'_>) -> Vec<String> {
        self.0.iter().filter(|name| subject.value(name).is_none()).map(ToString::to_string).collect()
    }
}

/// The caller, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub user: Option<&'a UserId>,
    pub app: &'a AppId,
    pub key: Option<&'a KeyId>,
    pub metadata: &'a Metadata,
}

impl<'a> Subject<'a> {
    /// Empty metadata counts as missing.
    fn value(self, name: &Dimension) -> Option<&'a str> {
        match name {
            Dimension::User => self.user.map(UserId::as_str),
            Dimension::App => Some(self.app.as_str()),
            Dimension::Key => self.key.map(KeyId::as_str),
            Dimension::Metadata(name) => self.metadata.get(name).filter(|value| !value.is_empty()),
        }
    }
}

/// A scope with its values: the owner of a set of counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnerName {
    scope: Scope,
    /// In the order of the scope's names. Shared, since each charge of a ledger entry has its owner.
    values: Arc<[String]>,
}

impl OwnerName {
    pub fn of_user(user: &UserId) -> Self {
        Self::of_user_named(user.as_str().to_owned())
    }

    /// The same for a stored name.
    pub fn of_user_named(user: String) -> Self {
        Self { scope: Scope::user(), values: [user].into() }
    }

    /// None unless there is one value per name.
    pub fn new(scope: Scope, values: Vec<String>) -> Option<Self> {
        (scope.0.len() == values.len()).then(|| Self { scope, values: values.into() })
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The user among the values.
    pub fn user(&self) -> Option<&str> {
        self.pairs().find(|(dimension, _)| **dimension == Dimension::User).map(|(_, value)| value)
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(dimension, _)| dimension.name() == name).map(|(_, value)| value)
    }

    fn pairs(&self) -> impl Iterator<Item = (&Dimension, &str)> {
        self.scope.0.iter().zip(self.values.iter().map(String::as_str))
    }

    /// Names with their values, as in the API.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.pairs().map(|(name, value)| (name.to_string(), value.to_owned())).collect()
    }

    /// The same without a map: `user` comes last alphabetically.
    pub fn by_name(&self) -> impl Iterator<Item = (Cow<'static, str>, &str)> {
        let is_user = |pair: &(&Dimension, &str)| *pair.0 == Dimension::User;
        let others = self.pairs().filter(move |pair| !is_user(pair));
        others.chain(self.pairs().filter(is_user)).map(|(dimension, value)| (dimension.name(), value))
    }

    /// # Errors
    /// What is wrong with the names or values.
    pub fn from_map(map: &BTreeMap<String, String>) -> Result<Self, String> {
        let names: Vec<&String> = map.keys().collect();
        let scope = Scope::parse(&names)?;
        let values = scope.names().iter().filter_map(|name| map.get(name).cloned()).collect::<Vec<_>>();
        if let Some(bad) =
            values.iter().find(|value| value.is_empty() || value.len() > 256 || value.chars().any(char::is_control))
        {
            return Err(format!("must have values of 1 to 256 bytes without control characters, unlike `{bad}`"));
        }
        Self::new(scope, values).ok_or_else(|| "must have a value for each name".to_owned())
    }
}

/// `user u_42, metadata.team red`, for people.
impl fmt::Display for OwnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.scope.dimensions().iter().zip(self.values()).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_are_sets_of_known_names() {
        for (names, expected) in [
            (vec!["user"], Ok("user")),
            (vec!["metadata.team", "user"], Ok("user+metadata.team")),
            (vec!["key", "app", "metadata.b", "metadata.a"], Ok("app+key+metadata.a+metadata.b")),
            (vec![], Err(())),
            (vec!["team"], Err(())),
            (vec!["metadata."], Err(())),
            (vec!["metadata.\n"], Err(())),
            (vec!["user", "user"], Err(())),
        ] {
            let read = Scope::parse(&names).map(|scope| scope.names().join("+")).map_err(|_| ());
            assert_eq!(read, expected.map(str::to_owned), "{names:?}");
        }
    }

    #[test]
    fn names_come_in_the_order_of_the_alphabet() {
        let scope = Scope::parse(&["user", "metadata.b", "key", "app", "metadata.a"]).unwrap();
        let values = (0..5).map(|number| number.to_string()).collect();
        let owner = OwnerName::new(scope, values).unwrap();
        let pairs: Vec<(String, String)> =
            owner.by_name().map(|(name, value)| (name.into_owned(), value.to_owned())).collect();
        assert_eq!(pairs, owner.to_map().into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_call_without_a_needed_value_has_no_owner() {
        let metadata: Metadata = serde_json::from_value(json!({"team": "red", "empty": ""})).unwrap();
        let (user, app) = (UserId::parse("u").unwrap(), AppId::parse("acme").unwrap());
        let subject = Subject { user: Some(&user), app: &app, key: None, metadata: &metadata };
        for (names, expected) in [
            (vec!["user"], Some(vec!["u"])),
            (vec!["metadata.team", "user", "app"], Some(vec!["u", "acme", "red"])),
            (vec!["key"], None),
            (vec!["metadata.other"], None),
            (vec!["metadata.empty"], None),
        ] {
            let owner = Scope::parse(&names).unwrap().owner(subject);
            assert_eq!(
                owner.map(|owner| owner.values.to_vec()),
                expected.map(|it| it.iter().map(|v| (*v).to_owned()).collect())
            );
        }
    }
}
