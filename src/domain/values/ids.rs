//! Names from outside, validated when they are parsed.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must have 1 to {most} bytes")]
    Length { most: usize },
    #[error("must not contain control characters")]
    ControlCharacter,
    #[error("must contain only letters, digits, `_` and `-`")]
    Alphabet,
}

/// Whether there is a control character. Nearly all texts are ASCII, for which checking the bytes is enough.
pub(in crate::domain) fn has_control(text: &str) -> bool {
    // Without an early end, so that many bytes are compared at once.
    let is_plain = text.bytes().fold(true, |is_plain, byte| is_plain & (b' '..=b'~').contains(&byte));
    !is_plain && text.chars().any(char::is_control)
}

fn check_text(text: &str, most: usize) -> Result<(), NameError> {
    if text.is_empty() || text.len() > most {
        return Err(NameError::Length { most });
    }
    if has_control(text) {
        return Err(NameError::ControlCharacter);
    }
    Ok(())
}

fn check_id(text: &str) -> Result<(), NameError> {
    let is_allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (1..=64).contains(&text.len()) && is_allowed {
        true => Ok(()),
        false => check_text(text, 64).and(Err(NameError::Alphabet)),
    }
}

/// Deserializes a name without copying its text first.
struct NameVisitor<T>(fn(&str) -> Result<T, NameError>);

impl<T> Visitor<'_> for NameVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// [`NameError`] when the text is empty, too long, or holds a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, without a copy.
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(NameVisitor(Self::parse))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

name!(
    /// The end user of the app: any stable string of 1 to 256 bytes without control characters.
    UserId, |text| check_text(text, 256)
);
name!(
    /// The name of something that costs: 1 to 128 bytes without control characters, usually dotted.
    EventName, |text| check_text(text, 128)
);
name!(
    /// 1 to 64 letters, digits, `_`, `-`.
    AppId, check_id
);
name!(
    /// 1 to 64 letters, digits, `_`, `-`.
    PlanId, check_id
);
name!(
    /// 1 to 64 letters, digits, `_`, `-`.
    PolicyId, check_id
);
name!(
    /// 1 to 64 letters, digits, `_`, `-`.
    WebhookId, check_id
);
name!(
    /// The ID of a limit group: 1 to 64 letters, digits, `_`, `-`.
    GroupId, check_id
);
name!(
    /// Public ID of an API key: 1 to 64 letters, digits, `_`, `-`.
    KeyId, check_id
);
name!(
    /// A sandbox of test mode: 1 to 64 letters, digits, `_`, `-`.
    Sandbox, check_id
);
name!(
    /// A client's name for one write: 1 to 255 bytes without control characters.
    IdempotencyKey, |text| check_text(text, 255)
);

impl EventName {
    /// The event that a refund is for: `image.render.refund` refunds `image.render`.
    pub fn refunds(&self) -> Option<EventName> {
        self.as_str().strip_suffix(".refund").and_then(|name| EventName::parse(name).ok())
    }

    /// True for every name that ends in `.refund`.
    pub fn is_refund(&self) -> bool {
        self.as_str().ends_with(".refund")
    }
}

/// Live, or one sandbox of test mode. Data of different modes is separate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    Live,
    Test(Sandbox),
}

impl Mode {
    /// As in `X-Mode`: `live`, `test` (the sandbox `main`) or `test/<sandbox>`.
    ///
    /// # Errors
    /// A sentence that says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let sandbox = match text {
            "live" => return Ok(Self::Live),
            "test" => "main",
            _ => text.strip_prefix("test/").ok_or("must be `live`, `test` or `test/<sandbox>`")?,
        };
        Sandbox::parse(sandbox).map(Self::Test).map_err(|error| format!("the sandbox {error}"))
    }

    pub fn is_sandbox(&self) -> bool {
        matches!(self, Self::Test(_))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => formatter.write_str("live"),
            Self::Test(sandbox) => write!(formatter, "test/{sandbox}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_any_text_without_control_characters() {
        for good in ["u_42", "2001:db8::1", "{braces}", "ä b", "%00", &"x".repeat(256)] {
            assert!(UserId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\0", "\u{85}", &"x".repeat(257)] {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_plain() {
        assert!(PlanId::parse("plan_pro-2").is_ok());
        for bad in ["", "a.b", "a:b", "a b", "ä", &"x".repeat(65)] {
            assert!(PlanId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_read_as_they_are_written() {
        for text in ["live", "test/main", "test/ci-7"] {
            assert_eq!(Mode::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Mode::parse("test").unwrap().to_string(), "test/main");
        assert!(Mode::parse("prod").is_err());
        assert!(Mode::parse("test/a b").is_err());
    }
}
