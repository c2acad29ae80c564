//! All key names in Redis. A name from outside comes last and is percent-encoded, so it cannot change other parts.

pub use super::encoding::{decode, encode};
use super::encoding::{encoded, encoded_in_scope};
use super::parts::cut;
use super::reporting::stream::{Place, Stream};
use crate::domain::configuration::scope::{OwnerName, Scope};
use crate::domain::metering::reservation::OperationName;
use crate::domain::values::ids::{AppId, EventName, KeyId, Mode, PlanId, PolicyId, UserId, WebhookId};

/// What the keys of accounts begin with.
const ACCOUNT: &str = "account:";

/// Buckets of an app that spreads its users over a cluster.
pub const BUCKETS: u8 = 64;

/// The names of an owner's scope, and its values.
fn words(owner: &OwnerName) -> (String, String) {
    let names = owner.scope().dimensions().iter().map(|name| encoded_in_scope(&name.name()).into_owned());
    let values = owner.values().iter().map(|value| encode(value));
    (names.collect::<Vec<_>>().join("+"), values.collect::<Vec<_>>().join(":"))
}

/// The mark of calls that wait for replicas ([`super::client::waiting`]), in the slot of `key`.
pub(super) fn mark(key: &str) -> String {
    let tag = key.find('}').map_or(key, |end| &key[..=end]);
    format!("{tag}:mark")
}

/// FNV-1a, 64 bits: must never change, and must be the same on all nodes.
pub fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The location of an app's data in a mode: one hash tag (one cluster slot) per bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The common prefix of its keys: `qg:{acme:live}:`.
    prefix: String,
    number: u8,
    sandbox: bool,
}

impl Bucket {
    /// The only bucket of an app with placement `app`.
    pub fn whole(app: &AppId, mode: &Mode) -> Self {
        let prefix = match mode {
            Mode::Live => ["qg:{", app.as_str(), ":live}:"].concat(),
            Mode::Test(sandbox) => ["qg:{", app.as_str(), ":test/", sandbox.as_str(), "}:"].concat(),
        };
        Self { prefix, number: 0, sandbox: mode.is_sandbox() }
    }

    /// A bucket of an app with placement `user`; None above the maximum.
    pub fn numbered(app: &AppId, mode: &Mode, number: u8) -> Option<Self> {
        let prefix = format!("qg:{{{app}:{mode}:{number:02x}}}:");
        (number < BUCKETS).then(|| Self { prefix, number, sandbox: mode.is_sandbox() })
    }

    /// The bucket of a user's name, which must never change.
    pub fn number_of(user: &UserId) -> u8 {
        (hash(user.as_str()) % u64::from(BUCKETS)) as u8
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn is_sandbox(&self) -> bool {
        self.sandbox
    }

    fn key(&self, rest: &str) -> String {
        self.key_of([rest])
    }

    /// Without `format!`, since a metering call builds several keys.
    fn key_of<const PARTS: usize>(&self, parts: [&str; PARTS]) -> String {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut key = String::with_capacity(self.prefix.len() + length);
        key.push_str(&self.prefix);
        parts.iter().for_each(|part| key.push_str(part));
        key
    }

    /// The common prefix of this bucket's keys.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Revision of the configuration that the bucket has seen.
    pub fn stamp(&self) -> String {
        self.key("stamp")
    }

    pub fn clock(&self) -> String {
        self.key("clock")
    }

    /// Index of the users with stored state.
    pub fn users(&self) -> String {
        self.key("users")
    }

    /// Display names and tags of users.
    pub fn profiles(&self) -> String {
        self.key("profiles")
    }

    /// Users on the default plan, by the time at which they expire.
    pub fn leaving(&self) -> String {
        self.key("leaving")
    }

    /// Details of each grant, by its ID.
    pub fn grants(&self) -> String {
        self.key("grants")
    }

    /// Grants by their end.
    pub fn grant_ends(&self) -> String {
        self.key("grants:ends")
    }

    /// The owner, balance and number of each credit, by its ID.
    pub fn credit_ids(&self) -> String {
        self.key("credits")
    }

    /// The credits of an owner.
    pub fn credits(&self, owner: &OwnerName) -> String {
        self.key_of(["credits:", &Self::word_of(owner)])
    }

    /// Changes of users.
    pub fn audit(&self) -> String {
        self.key("audit")
    }

    pub fn operation(&self, name: &OperationName) -> String {
        self.key_of(["op:", name.as_str()])
    }

    pub fn user(&self, user: &UserId) -> OwnerKeys {
        self.keys_of("user", &encoded(user.as_str()))
    }

    /// A user's account.
    pub fn account(&self, user: &UserId) -> String {
        self.key_of([ACCOUNT, "user:", &encoded(user.as_str())])
    }

    /// The keys of an owner of counters: `<name>+<name>:<value>:<value>`.
    pub fn owner(&self, owner: &OwnerName) -> OwnerKeys {
        if let (true, [user]) = (owner.scope().is_user(), owner.values()) {
            return self.keys_of("user", &encoded(user));
        }
        let (names, values) = words(owner);
        self.keys_of(&names, &values)
    }

    /// An owner's place in the index of its scope; None for users.
    pub fn place_of(&self, owner: &OwnerName) -> Option<OwnerIndex> {
        let is_other = !owner.scope().is_user();
        is_other.then(|| OwnerIndex { key: self.owners(owner.scope()), name: words(owner).1 })
    }

    fn keys_of(&self, names: &str, values: &str) -> OwnerKeys {
        OwnerKeys { account: self.key_of([ACCOUNT, names, ":", values]), prefix: self.prefix.len() }
    }

    /// Index of a scope's owners, by the time at which they expire.
    pub fn owners(&self, scope: &Scope) -> String {
        let names =
            scope.dimensions().iter().map(|name| encoded_in_scope(&name.name()).into_owned()).collect::<Vec<_>>();
        self.key(&format!("owners:{}", names.join("+")))
    }

    /// The owner of the account at that key.
    pub fn owner_of(&self, account: &str) -> Option<OwnerName> {
        self.owner_word(account.strip_prefix(&self.key(ACCOUNT))?)
    }

    /// The owner with that name in the ledger, which is the end of its keys: `user:u_42`.
    pub fn owner_word(&self, word: &str) -> Option<OwnerName> {
        let (names, values) = cut(word, b':')?;
        if names == "user" && values.bytes().all(|byte| byte != b':') {
            return Some(OwnerName::of_user_named(decode(values)?));
        }
        let names = names.split('+').map(decode).collect::<Option<Vec<_>>>()?;
        self.owner_named(&Scope::parse(&names).ok()?, values)
    }

    /// The owner with that name in the index of its scope.
    pub fn owner_named(&self, scope: &Scope, name: &str) -> Option<OwnerName> {
        OwnerName::new(scope.clone(), name.split(':').map(decode).collect::<Option<_>>()?)
    }

    /// The name of an owner in the ledger.
    pub fn word_of(owner: &OwnerName) -> String {
        let (names, values) = words(owner);
        names + ":" + &values
    }

    /// Counters near their limits, by their used share.
    pub fn near(&self) -> String {
        self.key("near:shares")
    }

    /// The same counters by when their windows end.
    pub fn near_ends(&self) -> String {
        self.key("near:ends")
    }

    /// Changes of `used` with the balances.
    pub fn ledger(&self) -> String {
        self.key("ledger")
    }

    /// Denied calls.
    pub fn denials(&self) -> String {
        self.key("denials")
    }

    /// One of the two streams.
    pub fn stream(&self, stream: Stream) -> String {
        match stream {
            Stream::Ledger => self.ledger(),
            Stream::Denials => self.denials(),
        }
    }

    /// The result of the last complete run of `quotagate verify`.
    pub fn verified(&self) -> String {
        self.key("verified")
    }

    /// Events for webhooks and alerts.
    pub fn outbox(&self) -> String {
        self.key("outbox")
    }

    /// Approval requests by their IDs.
    pub fn approvals(&self) -> String {
        self.key("approvals")
    }

    /// IDs of requests by the time at which they were opened.
    pub fn open_approvals(&self) -> String {
        self.key("approvals:open")
    }

    /// IDs of requests by the time of the decision.
    pub fn decided_approvals(&self) -> String {
        self.key("approvals:decided")
    }

    /// Pending deliveries of one webhook, by the time of the next attempt.
    pub fn due_deliveries(&self, webhook: &WebhookId) -> String {
        self.key(&format!("deliveries:due:{webhook}"))
    }

    /// Deliveries of one webhook, by their creation.
    pub fn deliveries(&self, webhook: &WebhookId) -> String {
        self.key(&format!("deliveries:of:{webhook}"))
    }

    /// Deliveries of one webhook that were given up.
    pub fn dead_deliveries(&self, webhook: &WebhookId) -> String {
        self.key(&format!("deliveries:dead:{webhook}"))
    }

    pub fn delivery(&self, webhook: &WebhookId, message: &str) -> String {
        self.key(&format!("delivery:{webhook}:{}", encode(message)))
    }

    /// Rows of a day.
    pub fn rollup(&self, place: Place) -> String {
        self.key(&format!("rollup:{}", place_name(place)))
    }

    /// Rows of a day while a step of folding changes them.
    pub fn rollup_aside(&self, place: Place) -> String {
        self.key(&format!("rollup:aside:{}", place_name(place)))
    }

    /// Rows of a day during one rebuild.
    pub fn rebuilt(&self, rebuild: u64, place: Place) -> String {
        self.key(&format!("rollup:rebuilt:{rebuild:016x}:{}", place_name(place)))
    }

    /// The progress of folding a stream into rows.
    pub fn rollup_cursor(&self, stream: Stream) -> String {
        self.key(&format!("rollup:cursor:{}", stream.as_str()))
    }

    /// Matches every key of this bucket and no other. Tags have no characters with a meaning in patterns.
    pub fn pattern(&self) -> String {
        self.key("*")
    }
}

/// `<row set>:<stream>:<day>`
fn place_name(place: Place) -> String {
    format!("{}:{}:{}", place.row_set.as_str(), place.stream.as_str(), place.day)
}

/// The keys of one owner.
#[derive(Clone, Debug)]
pub struct OwnerKeys {
    pub account: String,
    /// The length of what all keys of the bucket begin with.
    prefix: usize,
}

impl OwnerKeys {
    /// Its open reservations.
    pub fn holds(&self) -> String {
        self.beside("holds:")
    }

    /// Its closed windows.
    pub fn past(&self) -> String {
        self.beside("past:")
    }

    fn beside(&self, kind: &str) -> String {
        let (prefix, rest) = self.account.split_at(self.prefix);
        [prefix, kind, &rest[ACCOUNT.len()..]].concat()
    }
}

/// An owner's place in the index of its scope.
#[derive(Clone, Debug)]
pub struct OwnerIndex {
    pub key: String,
    pub name: String,
}

/// How an expired hold refers to its call: `<event> <key> <user>`.
pub fn call_label(event: &EventName, key: &KeyId, user: &UserId) -> String {
    let (event, key, user) = (encoded(event.as_str()), encoded(key.as_str()), encoded(user.as_str()));
    let mut label = String::with_capacity(event.len() + key.len() + user.len() + 2);
    label.extend([&*event, " ", &*key, " ", &*user]);
    label
}

pub fn configuration(app: &AppId) -> String {
    format!("qg:{{{app}}}:config")
}

/// A document with immutable versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Versioned {
    Plan(PlanId),
    Policy(PolicyId),
}

/// Versions of a plan or policy, by revision.
pub fn versions(app: &AppId, of: &Versioned) -> String {
    match of {
        Versioned::Plan(plan) => format!("qg:{{{app}}}:versions:plan:{plan}"),
        Versioned::Policy(policy) => format!("qg:{{{app}}}:versions:policy:{policy}"),
    }
}

/// Changes of an app's configuration.
pub fn configuration_audit(app: &AppId) -> String {
    format!("qg:{{{app}}}:audit")
}

/// Changes of an app's keys, and of the app itself.
pub fn register_audit(app: &AppId) -> String {
    format!("qg:{{quotagate}}:audit:{app}")
}

/// Matches every key of an app's configuration; [`is_configuration`] excludes others with the same tag.
pub fn configuration_pattern(app: &AppId) -> String {
    format!("qg:{{{app}}}:*")
}

/// Whether the key belongs to the app's configuration.
pub fn is_configuration(app: &AppId, key: &str) -> bool {
    let lists = ["versions:", "op:"].map(|list| format!("qg:{{{app}}}:{list}"));
    key == configuration(app) || key == configuration_audit(app) || lists.iter().any(|list| key.starts_with(list))
}

/// Record of an operation on an app's configuration.
pub fn configuration_operation(app: &AppId, name: &OperationName) -> String {
    format!("qg:{{{app}}}:op:{}", name.as_str())
}

/// An app with this name would store its configuration among the data that all apps share.
pub const SHARED: &str = "quotagate";

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

/// A session of the dashboard, by the SHA-256 of its ID.
pub fn session(name: &str) -> String {
    format!("qg:{{quotagate}}:session:{name}")
}

/// The node that does a part of one kind of background work.
pub fn lease(work: &str, part: u8) -> String {
    format!("qg:{{quotagate}}:lease:{work}:{part}")
}

/// Version of the key layout that this build reads and writes.
pub const LAYOUT_VERSION: &str = "8";

/// The change count of configurations, which nodes poll.
pub const CONFIGURED_CHANGES: &str = "qg:{quotagate}:configured:changes";
/// Apps by the latest change of their configuration.
pub const CONFIGURED: &str = "qg:{quotagate}:configured";
/// The heartbeats of nodes, by node ID.
pub const NODES: &str = "qg:{quotagate}:nodes";
/// Version of this layout.
pub const LAYOUT: &str = "qg:{quotagate}:layout";
/// The identity of the data, and its creation time.
pub const IDENTITY: &str = "qg:{quotagate}:identity";

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
        assert_eq!(keys.account, "qg:{acme:live}:account:user:u_42");
        assert_eq!(keys.holds(), "qg:{acme:live}:holds:user:u_42");
        assert_eq!(keys.past(), "qg:{acme:live}:past:user:u_42");
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
        fn owners_are_read_back_from_their_keys(team in "\\PC{1,20}", name in "\\PC{1,20}", user in "\\PC{1,20}") {
            let map = [("user".to_owned(), user), (format!("metadata.{name}"), team)].into();
            let owner = OwnerName::from_map(&map).unwrap();
            let keys = live().owner(&owner);
            prop_assert_eq!(live().owner_of(&keys.account), Some(owner.clone()));
            prop_assert_eq!(live().owner_named(owner.scope(), &live().place_of(&owner).unwrap().name), Some(owner));
        }

        #[test]
        fn different_users_never_share_a_key_or_leave_their_tag(one in "\\PC{1,20}", other in "\\PC{1,20}") {
            let (one, other) = (UserId::parse(&one).unwrap(), UserId::parse(&other).unwrap());
            let key = live().user(&one).account;
            prop_assert_eq!(key == live().user(&other).account, one == other);
            let name = key.strip_prefix("qg:{acme:live}:account:user:").unwrap();
            let stays = !name.contains([':', '{', '}', ' ', '\n']);
            prop_assert!(stays);
        }
    }
}
