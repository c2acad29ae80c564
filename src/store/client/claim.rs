//! Checks whose data Redis has: at start, and with every check for changes.

use redis::Value;

use crate::domain::time::window::{TimeMs, rfc3339};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::keys::{self, LAYOUT_VERSION, Register};

/// What was found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The data of earlier starts.
    Known,
    /// An empty Redis, which is now initialised.
    Initialised,
    /// An empty Redis that may not be initialised.
    Empty,
    /// The data of another version, with its layout.
    Layout(String),
}

/// The change counts that nodes poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub keys: String,
    pub apps: String,
    /// For the configurations of all apps.
    pub configurations: u64,
}

impl Store {
    /// Reads and remembers the identity of the data. An empty Redis is initialised if `may_initialise`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn claim(&self, may_initialise: bool) -> Result<Claim, StoreError> {
        let (mut layout, mut identity) = self.found().await?;
        let mut claim = Claim::Known;
        if layout.is_none() {
            if !may_initialise {
                return Ok(Claim::Empty);
            }
            let made = self.new_identity().await?;
            let mut set = redis::cmd("MSETNX");
            set.arg(keys::LAYOUT).arg(LAYOUT_VERSION).arg(keys::IDENTITY).arg(&made);
            self.unguarded(&set).await?;
            // Another node may have been first.
            (layout, identity) = self.found().await?;
            if identity.as_ref() == Some(&made) {
                claim = Claim::Initialised;
            }
        }
        if layout.as_deref() != Some(LAYOUT_VERSION) {
            return Ok(Claim::Layout(layout.unwrap_or_else(|| "unknown".to_owned())));
        }
        if identity.is_none() {
            // Data of a release that wrote no identity.
            let mut set = redis::cmd("SET");
            set.arg(keys::IDENTITY).arg(self.new_identity().await?).arg("NX");
            self.unguarded(&set).await?;
            identity = self.found().await?.1;
        }
        let identity =
            identity.ok_or_else(|| StoreError::Unavailable("the identity of the data is gone".to_owned()))?;
        self.identity.remember(identity);
        Ok(claim)
    }

    /// Whether Redis has data that this version can read. For commands that run next to a gateway and write no
    /// identity.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn meet(&self) -> Result<Claim, StoreError> {
        let (layout, identity) = self.found().await?;
        match layout {
            None => return Ok(Claim::Empty),
            Some(layout) if layout != LAYOUT_VERSION => return Ok(Claim::Layout(layout)),
            Some(_) => {}
        }
        if let Some(identity) = identity {
            self.identity.remember(identity);
        }
        Ok(Claim::Known)
    }

    /// Checks now whether Redis has this node's data.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it does not.
    pub async fn verify_identity(&self) -> Result<(), StoreError> {
        self.changes().await.map(drop)
    }

    /// The change counts of the registers, if Redis has this node's data.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn changes(&self) -> Result<Changes, StoreError> {
        let mut command = redis::cmd("MGET");
        command.arg(Register::Keys.changes()).arg(Register::Apps.changes()).arg(keys::CONFIGURED_CHANGES);
        command.arg(keys::LAYOUT).arg(keys::IDENTITY);
        let [keys, apps, configurations, layout, identity] = texts(self.unguarded(&command).await?)?;
        self.identity.observe(layout.as_deref(), identity.as_deref())?;
        let configurations = configurations.as_deref().unwrap_or("0").parse();
        Ok(Changes {
            keys: keys.unwrap_or_default(),
            apps: apps.unwrap_or_default(),
            configurations: configurations.map_err(|_| StoreError::Unexpected("a count of changes".to_owned()))?,
        })
    }

    async fn found(&self) -> Result<(Option<String>, Option<String>), StoreError> {
        let mut command = redis::cmd("MGET");
        command.arg(keys::LAYOUT).arg(keys::IDENTITY);
        let [layout, identity] = texts(self.unguarded(&command).await?)?;
        Ok((layout, identity))
    }

    /// `<id> <made at>`
    async fn new_identity(&self) -> Result<String, StoreError> {
        let time = self.unguarded(&redis::cmd("TIME")).await?;
        let (seconds, _): (TimeMs, TimeMs) =
            redis::from_redis_value(time).map_err(|error| StoreError::Unexpected(error.to_string()))?;
        Ok(format!("{} {}", hex::encode(rand::random::<[u8; 8]>()), rfc3339(seconds * 1000)))
    }
}

fn texts<const COUNT: usize>(value: Value) -> Result<[Option<String>; COUNT], StoreError> {
    let texts: Vec<Option<String>> =
        redis::from_redis_value(value).map_err(|error| StoreError::Unexpected(error.to_string()))?;
    texts.try_into().map_err(|_| StoreError::Unexpected("MGET answered another number of values".to_owned()))
}
