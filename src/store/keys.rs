//! Every key name in Redis. A name from outside comes last and is percent-encoded, so it cannot leave its place.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::domain::ids::{AppId, EventName, Mode, PlanId, UserId};
use crate::domain::reservation::OperationName;

/// Separators of key names, hash tags and record lines.
const RESERVED: &AsciiSet = &CONTROLS.add(b':').add(b'{').add(b'}').add(b'%').add(b' ');

/// Buckets of an app that spreads its users over a cluster.
pub const BUCKETS: u8 = 64;

/// Percent-encodes what would mean something in a key or a record.
pub fn encode(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Where the data of an app and mode lives: one hash tag (one cluster slot) per bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    tag: String,
    number: u8,
    sandbox: bool,
}

impl Bucket {
    /// The one bucket of an app with placement `app`.
    pub fn whole(app: &AppId, mode: &Mode) -> Self {
        Self { tag: format!("{app}:{mode}"), number: 0, sandbox: mode.is_sandbox() }
    }

    /// One of the buckets of an app with placement `user`; None beyond the last.
    pub fn numbered(app: &AppId, mode: &Mode, number: u8) -> Option<Self> {
        let tag = format!("{app}:{mode}:{number:02x}");
        (number < BUCKETS).then(|| Self { tag, number, sandbox: mode.is_sandbox() })
    }

    /// The bucket of a user's name: FNV-1a, 64 bits, modulo the number of buckets. Fixed for ever.
    pub fn number_of(user: &UserId) -> u8 {
        let hash = user
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash % u64::from(BUCKETS)) as u8
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn is_sandbox(&self) -> bool {
        self.sandbox
    }

    fn key(&self, rest: &str) -> String {
        format!("qg:{{{}}}:{rest}", self.tag)
    }

    /// Revision of the configuration that this bucket has seen.
    pub fn stamp(&self) -> String {
        self.key("stamp")
    }

    pub fn clock(&self) -> String {
        self.key("clock")
    }

    /// Index of the users that have state.
    pub fn users(&self) -> String {
        self.key("users")
    }

    /// Users that are forgotten after their last window, by when.
    pub fn leaving(&self) -> String {
        self.key("leaving")
    }

    /// What is known of each grant, by its id.
    pub fn grants(&self) -> String {
        self.key("grants")
    }

    /// Grants by their end.
    pub fn grant_ends(&self) -> String {
        self.key("grants:ends")
    }

    /// Changes of users.
    pub fn audit(&self) -> String {
        self.key("audit")
    }

    pub fn operation(&self, name: &OperationName) -> String {
        self.key(&format!("op:{}", name.as_str()))
    }

    pub fn user(&self, user: &UserId) -> OwnerKeys {
        let name = encode(user.as_str());
        OwnerKeys {
            counters: self.key(&format!("counters:user:{name}")),
            holds: self.key(&format!("holds:user:{name}")),
            past: self.key(&format!("past:user:{name}")),
        }
    }

    /// Matches every key of this bucket and of no other. Tags hold no character that a pattern could mistake.
    pub fn pattern(&self) -> String {
        self.key("*")
    }
}

/// The keys of one owner of counters.
#[derive(Clone, Debug)]
pub struct OwnerKeys {
    pub counters: String,
    pub holds: String,
    pub past: String,
}

/// The words that name an expired hold in reports: `<event> <key>`.
pub fn subject(event: &EventName, key_id: &str) -> String {
    format!("{} {}", encode(event.as_str()), encode(key_id))
}

pub fn configuration(app: &AppId) -> String {
    format!("qg:{{{app}}}:config")
}

/// Immutable versions of a plan, by revision.
pub fn plan_versions(app: &AppId, plan: &PlanId) -> String {
    format!("qg:{{{app}}}:versions:plan:{plan}")
}

/// Changes of an app's configuration.
pub fn configuration_audit(app: &AppId) -> String {
    format!("qg:{{{app}}}:audit")
}

/// Changes of an app's keys, and of the app itself.
pub fn register_audit(app: &AppId) -> String {
    format!("qg:{{quotagate}}:audit:{app}")
}

/// Matches every key of an app's configuration.
pub fn configuration_pattern(app: &AppId) -> String {
    format!("qg:{{{app}}}:*")
}

/// Record of an operation on an app's configuration.
pub fn configuration_operation(app: &AppId, name: &OperationName) -> String {
    format!("qg:{{{app}}}:op:{}", name.as_str())
}

/// A register that all apps share.
#[derive(Clone, Copy, Debug)]
pub enum Register {
    Apps,
    Keys,
}

impl Register {
    const fn name(self) -> &'static str {
        match self {
            Self::Apps => "apps",
            Self::Keys => "keys",
        }
    }

    pub fn key(self) -> String {
        format!("qg:{{quotagate}}:{}", self.name())
    }

    pub fn changes(self) -> String {
        format!("qg:{{quotagate}}:{}:changes", self.name())
    }
}

pub fn register_operation(name: &OperationName) -> String {
    format!("qg:{{quotagate}}:op:{}", name.as_str())
}

/// Version of this layout.
pub const LAYOUT: &str = "qg:{quotagate}:layout";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn live() -> Bucket {
        Bucket::whole(&AppId::parse("acme").unwrap(), &Mode::Live)
    }

    #[test]
    fn keys_read_as_documented() {
        let keys = live().user(&UserId::parse("u_42").unwrap());
        assert_eq!(keys.counters, "qg:{acme:live}:counters:user:u_42");
        let test = Bucket::numbered(&AppId::parse("acme").unwrap(), &Mode::parse("test/ci").unwrap(), 0x2f).unwrap();
        assert_eq!(test.stamp(), "qg:{acme:test/ci:2f}:stamp");
        assert!(Bucket::numbered(&AppId::parse("acme").unwrap(), &Mode::Live, 64).is_none());
    }

    #[test]
    fn the_bucket_of_a_name_never_changes() {
        let numbers =
            ["u_42", "u_43", "", "ä"].map(|name| UserId::parse(name).map_or(99, |user| Bucket::number_of(&user)));
        assert_eq!(numbers, [59, 8, 99, 2]);
    }

    proptest! {
        #[test]
        fn different_users_never_share_a_key_or_leave_their_tag(one in "\\PC{1,20}", other in "\\PC{1,20}") {
            let (one, other) = (UserId::parse(&one).unwrap(), UserId::parse(&other).unwrap());
            let key = live().user(&one).counters;
            prop_assert_eq!(key == live().user(&other).counters, one == other);
            let name = key.strip_prefix("qg:{acme:live}:counters:user:").unwrap();
            let stays = !name.contains([':', '{', '}', ' ', '\n']);
            prop_assert!(stays);
        }
    }
}
