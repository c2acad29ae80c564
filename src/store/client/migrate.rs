//! `lua/migrate.lua` and `lua/set_layout.lua`: convert data of layout 6 to the present layout, key by key. An
//! interrupted conversion resumes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::store::error::StoreError;
use crate::store::keys::LAYOUT_VERSION;
use crate::store::{Arguments, Store, keys};

/// The layout to convert from.
pub const FROM: &str = "6";
/// The layout during the conversion, which no release serves.
pub const BETWEEN: &str = "6>8";

/// Keys per step of a scan.
const PAGE: usize = 1_000;

/// Whether data with this layout can be converted.
pub fn is_convertible(layout: &str) -> bool {
    layout == FROM || layout == BETWEEN
}

/// The kind of a key, according to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Stamp,
    Operation,
    Counters,
    Past,
    Approvals,
    Grants,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Stamp, Self::Operation, Self::Counters, Self::Past, Self::Approvals, Self::Grants];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stamp => "stamp",
            Self::Operation => "op",
            Self::Counters => "counters",
            Self::Past => "past",
            Self::Approvals => "approvals",
            Self::Grants => "grants",
        }
    }

    /// None if both layouts store it in the same way.
    fn of(key: &str) -> Option<Self> {
        let (_, name) = key.split_once("}:")?;
        let first = name.split_once(':').map_or(name, |(first, _)| first);
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == first)?;
        let is_one_of_many = matches!(kind, Self::Operation | Self::Counters | Self::Past);
        (is_one_of_many == (name.len() > first.len())).then_some(kind)
    }

    /// Whether a hash is converted in pages.
    fn is_paged(self) -> bool {
        matches!(self, Self::Approvals | Self::Grants)
    }
}

/// The options of a conversion.
#[derive(Clone, Copy, Debug)]
pub struct MigrateOptions {
    /// Only count, without changing anything.
    pub dry_run: bool,
    /// Keys per call; Redis executes no other calls meanwhile.
    pub keys_per_call: usize,
    pub calls_at_once: usize,
    /// A pause for nodes of the old release to notice the new layout, which they check every 300 ms.
    pub notice: Duration,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self { dry_run: false, keys_per_call: 50, calls_at_once: 8, notice: Duration::from_secs(2) }
    }
}

/// What was converted, or would be in a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The layout before the conversion.
    pub from: String,
    /// Keys that the current pass has checked.
    pub looked_at: u64,
    /// Converted keys by kind; for approvals and grants, converted entries.
    pub converted: BTreeMap<Kind, u64>,
    /// Keys with neither layout. They are not changed, and the conversion does not complete.
    pub unreadable: Vec<String>,
    /// Counters that a node of the old release wrote after their owner was converted. They are deleted.
    pub strays: Vec<String>,
}

impl Migrated {
    pub fn total(&self) -> u64 {
        self.converted.values().sum()
    }

    fn add(&mut self, kind: Kind, chunk: Chunk) {
        *self.converted.entry(kind).or_default() += chunk.count;
        self.unreadable.extend(chunk.unreadable);
        self.strays.extend(chunk.strays);
    }
}

/// The result of one call.
#[derive(Default)]
struct Chunk {
    count: u64,
    unreadable: Vec<String>,
    strays: Vec<String>,
}

fn unexpected(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unexpected(error.to_string())
}

impl Store {
    /// The layout of the data; None if there are no data.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn layout(&self) -> Result<Option<String>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(keys::LAYOUT);
        redis::from_redis_value(self.unguarded(&command).await?).map_err(unexpected)
    }

    /// The number of keys on all masters, counted up to `most`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_keys(&self, most: u64) -> Result<u64, StoreError> {
        let mut count = 0;
        for master in self.links.own()?.masters().await? {
            let mut cursor = "0".to_owned();
            loop {
                let (next, keys) = self.scan(master, &cursor, "*").await?;
                count += keys.len() as u64;
                if count >= most {
                    return Ok(most);
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(count)
    }

    /// Converts data of layout 6 to the present layout. If the present layout is already set, converts what a failover
    /// may have restored. Calls `progress` after each step.
    ///
    /// # Errors
    /// [`StoreError`]; converted keys stay converted, and it can be called again.
    pub async fn migrate(&self, options: MigrateOptions, progress: impl Fn(&Migrated)) -> Result<Migrated, StoreError> {
        let from = self.layout().await?.unwrap_or_default();
        if from != LAYOUT_VERSION && !is_convertible(&from) {
            return Err(StoreError::Unexpected(format!("data of layout {from:?} cannot be converted")));
        }
        let mut done = Migrated { from: from.clone(), ..Migrated::default() };
        if options.dry_run {
            self.pass(&Kind::ALL, options, &mut done, &progress).await?;
            return Ok(done);
        }
        if from != LAYOUT_VERSION {
            self.set_layout(FROM, BETWEEN).await?;
            tokio::time::sleep(options.notice).await;
            // A node of the old release that has not noticed writes nothing either: its metering calls find no stamp,
            // its settling calls find no reservation, and both then check the layout.
            self.pass(&[Kind::Stamp, Kind::Operation], options, &mut done, &progress).await?;
        }
        loop {
            let before = done.total();
            done.unreadable.clear();
            self.pass(&Kind::ALL[1..], options, &mut done, &progress).await?;
            if done.total() == before {
                break;
            }
        }
        if from != LAYOUT_VERSION && done.unreadable.is_empty() {
            self.set_layout(BETWEEN, LAYOUT_VERSION).await?;
        }
        Ok(done)
    }

    /// Changes nothing if another node was first.
    async fn set_layout(&self, before: &str, after: &str) -> Result<(), StoreError> {
        let mut arguments = Arguments::default();
        arguments.text(before).text(after);
        let mut fields = self.call(&self.library.set_layout, &[keys::LAYOUT.to_owned()], &arguments).await?;
        match fields.text()?.as_str() {
            "set" | "other" => Ok(()),
            other => Err(fields.unexpected(other)),
        }
    }

    /// Checks all keys once, and converts those of `kinds`.
    async fn pass(
        &self,
        kinds: &[Kind],
        options: MigrateOptions,
        done: &mut Migrated,
        progress: &impl Fn(&Migrated),
    ) -> Result<(), StoreError> {
        done.looked_at = 0;
        for master in self.links.own()?.masters().await? {
            let mut cursor = "0".to_owned();
            loop {
                let (next, keys) = self.scan(master, &cursor, "qg:{*").await?;
                let looked_at = keys.len() as u64;
                let calls = stream::iter(by_call(keys, kinds, options.keys_per_call));
                let mut calls = calls
                    .map(async |(kind, keys)| {
                        Ok::<_, StoreError>((kind, self.convert(kind, &keys, options.dry_run).await?))
                    })
                    .buffer_unordered(options.calls_at_once);
                while let Some((kind, chunk)) = calls.try_next().await? {
                    done.add(kind, chunk);
                    progress(done);
                }
                done.looked_at += looked_at;
                progress(done);
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    async fn scan(
        &self,
        master: Option<u16>,
        cursor: &str,
        pattern: &str,
    ) -> Result<(String, Vec<String>), StoreError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(PAGE);
        let value = self
            .timed(&crate::store::client::library::round_trips("command"), self.pages.run_on(master, &scan))
            .await?;
        redis::from_redis_value(value).map_err(unexpected)
    }

    async fn convert(&self, kind: Kind, keys: &[String], dry_run: bool) -> Result<Chunk, StoreError> {
        let (mut chunk, mut cursor) = (Chunk::default(), "0".to_owned());
        loop {
            let mut arguments = Arguments::default();
            arguments.text(kind.as_str()).flag(dry_run).text(&cursor);
            let mut fields = self.call(&self.library.migrate, keys, &arguments).await?;
            fields.only_status("migrated")?;
            chunk.count += u64::try_from(fields.int()?).map_err(unexpected)?;
            cursor = fields.text()?;
            while fields.len() > 0 {
                let (fault, key) = (fields.text()?, fields.text()?);
                if fault == "stray" { chunk.strays.push(key) } else { chunk.unreadable.push(key) }
            }
            if cursor == "0" {
                return Ok(chunk);
            }
        }
    }
}

/// Groups keys into calls with one kind and one slot each.
fn by_call(keys: Vec<String>, kinds: &[Kind], most: usize) -> Vec<(Kind, Vec<String>)> {
    let mut sorted: BTreeMap<(Kind, String), Vec<String>> = BTreeMap::new();
    for key in keys {
        let Some(kind) = Kind::of(&key).filter(|kind| kinds.contains(kind)) else { continue };
        let tag = key.split_once('}').map_or("", |(tag, _)| tag).to_owned();
        sorted.entry((kind, tag)).or_default().push(key);
    }
    let calls = sorted.into_iter().flat_map(|((kind, _), keys)| {
        let most = if kind.is_paged() { 1 } else { most };
        keys.chunks(most).map(|keys| (kind, keys.to_vec())).collect::<Vec<_>>()
    });
    calls.collect()
}

/// A field of an outbox entry in the present layout. Stream entries cannot be changed, so those of layout 6 are
/// converted on every read.
pub(in crate::store) fn outbox_field(name: &str, value: String) -> String {
    match name {
        "owner" => value.replacen("}:counters:", "}:account:", 1),
        "window" if value.contains(' ') => {
            let words: Vec<&str> = value.split(' ').map(without_zeros).collect();
            words.join("/")
        }
        _ => value,
    }
}

/// `20260228T100000Z` becomes `20260228T1000`; other words stay unchanged.
fn without_zeros(word: &str) -> &str {
    let Some(time) = word.strip_suffix('Z') else { return word };
    let time = time.strip_suffix("00").unwrap_or(time);
    time.strip_suffix("T0000").unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::window::Window;

    #[test]
    fn the_name_of_a_key_says_its_kind() {
        for (key, kind) in [
            ("qg:{acme:live}:counters:user:u_42", Some(Kind::Counters)),
            ("qg:{acme:test/ci:2f}:past:metadata.team:red", Some(Kind::Past)),
            ("qg:{acme:live}:op:x", Some(Kind::Operation)),
            ("qg:{acme}:op:x", Some(Kind::Operation)),
            ("qg:{acme:live}:approvals", Some(Kind::Approvals)),
            ("qg:{acme:live}:grants", Some(Kind::Grants)),
            ("qg:{acme:live}:stamp", Some(Kind::Stamp)),
            ("qg:{acme:live}:approvals:open", None),
            ("qg:{acme:live}:grants:ends", None),
            ("qg:{acme:live}:holds:user:u_42", None),
            ("qg:{acme:live}:account:user:u_42", None),
            ("qg:{acme:live}:op", None),
            ("other", None),
        ] {
            assert_eq!(Kind::of(key), kind, "{key}");
        }
    }

    #[test]
    fn calls_have_keys_of_one_slot_and_kind() {
        let keys =
            ["qg:{a:live}:op:1", "qg:{a:live}:op:2", "qg:{a:live}:op:3", "qg:{b:live}:op:1", "qg:{a:live}:past:user:u"];
        let calls = by_call(keys.map(str::to_owned).to_vec(), &Kind::ALL, 2);
        let reported: Vec<String> =
            calls.iter().map(|(kind, keys)| format!("{} {}", kind.as_str(), keys.join(" "))).collect();
        assert_eq!(
            reported,
            [
                "op qg:{a:live}:op:1 qg:{a:live}:op:2",
                "op qg:{a:live}:op:3",
                "op qg:{b:live}:op:1",
                "past qg:{a:live}:past:user:u"
            ]
        );
        assert_eq!(by_call(keys.map(str::to_owned).to_vec(), &[Kind::Past], 2).len(), 1);
    }

    #[test]
    fn outbox_entries_of_layout_6_are_read_in_the_present_layout() {
        let reported = |name: &str, value: &str| outbox_field(name, value.to_owned());
        assert_eq!(reported("owner", "qg:{acme:live}:counters:user:u"), "qg:{acme:live}:account:user:u");
        assert_eq!(reported("used", "20260228T100000Z"), "20260228T100000Z");
        for (before, after) in [
            ("monthly 20260228T000000Z 20260331T100000Z", "monthly/20260228/20260331T1000"),
            ("fixed 20260228T000030Z 20260331T001000Z", "fixed/20260228T000030/20260331T0010"),
            ("lifetime 20260228T100001Z 99991231T235959Z", "lifetime/20260228T100001/99991231T235959"),
        ] {
            assert_eq!(reported("window", before), after);
            assert_eq!(reported("window", after), after);
            assert!(Window::parse(after).is_some_and(|window| window.to_text() == after), "{after}");
        }
    }
}
