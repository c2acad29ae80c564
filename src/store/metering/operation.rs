//! Names operations, so that a repetition finds the record of the first call.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::domain::metering::idempotency::{Idempotency, Replayed};
use crate::domain::metering::reservation::OperationName;
use crate::store::Arguments;

/// One call: the name of its record, and what a repetition must equal.
#[derive(Clone, Debug)]
pub struct Operation {
    pub name: OperationName,
    fingerprint: Cow<'static, str>,
    /// None without a client's key.
    replayed: Option<Replayed>,
}

/// Fingerprint of a call without a client's key that can be repeated safely.
const HARMLESS: &str = "-";
/// Fingerprint of a call without a client's key that would count twice if repeated: its record lives for a minute.
const NODE: &str = "node";

impl Operation {
    /// With a client's key the name is derived from `scope` (a user) and key, so that any node finds it. Without a key
    /// it is random. `counts_twice` says whether a repetition by the node itself must find a record.
    pub fn new(scope: &str, idempotency: Option<&Idempotency>, counts_twice: bool) -> Self {
        match idempotency {
            Some(given) => {
                let digest =
                    Sha256::new().chain_update(scope).chain_update([0]).chain_update(given.key.as_str()).finalize();
                let request = Sha256::digest(given.request.as_bytes());
                Self {
                    name: OperationName::derived(&digest),
                    fingerprint: hex::encode(&request[..16]).into(),
                    replayed: Some(given.replayed.clone()),
                }
            }
            None => {
                let fingerprint = if counts_twice { NODE } else { HARMLESS };
                Self { name: OperationName::random(rand::random()), fingerprint: fingerprint.into(), replayed: None }
            }
        }
    }

    /// The operation with that name and fingerprint, for a repetition.
    pub fn again(name: OperationName, fingerprint: &str) -> Self {
        Self { name, fingerprint: fingerprint.to_owned().into(), replayed: None }
    }

    /// Another name, for the case that this one is taken by another call.
    pub fn apart(&self) -> Self {
        let digest = Sha256::new().chain_update("apart").chain_update([0]).chain_update(self.name.as_str()).finalize();
        Self { name: OperationName::derived(&digest), ..self.clone() }
    }

    /// Whether this call has a record apart from a reservation's.
    pub fn is_kept(&self) -> bool {
        self.fingerprint != HARMLESS
    }

    /// Whether the client sent a key, so that it may repeat the call.
    pub fn may_come_again(&self) -> bool {
        self.fingerprint != HARMLESS && self.fingerprint != NODE
    }

    /// Marks the answer as that of an earlier call.
    pub(in crate::store) fn is_replayed(&self) {
        if let Some(replayed) = &self.replayed {
            replayed.set();
        }
    }

    /// What a repetition must equal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(in crate::store) fn write(&self, arguments: &mut Arguments) {
        arguments.text(self.fingerprint());
    }
}
