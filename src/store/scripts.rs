//! The Lua files: resolved once at start, called by their SHA-1.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::error::StoreError;

macro_rules! lua_files {
    ($($name:literal),* $(,)?) => {
        /// Every file under `lua/`, by its path without `.lua`.
        pub const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../lua/", $name, ".lua")))),*];
    };
}

lua_files![
    "attempted",
    "change_user",
    "claim",
    "commit",
    "configure",
    "decide",
    "enqueue",
    "extend",
    "grant",
    "mark",
    "outcome",
    "reclaim",
    "refund",
    "register",
    "release",
    "replace_rollup",
    "repair",
    "reserve",
    "revoke",
    "rollup",
    "set_clock",
    "stamp",
    "survey",
    "track",
    "track_enforce",
    "usage",
    "lib/admission",
    "lib/alert",
    "lib/allowance",
    "lib/approval",
    "lib/args",
    "lib/audit",
    "lib/clock",
    "lib/counter",
    "lib/facts",
    "lib/hold",
    "lib/ledger",
    "lib/operation",
    "lib/outbox",
    "lib/pieces",
    "lib/record",
    "lib/retention",
    "lib/settle",
    "lib/tracking",
    "lib/window",
];

/// A command in Lua with all that it includes.
#[derive(Debug)]
pub struct Script {
    pub name: &'static str,
    pub source: String,
    pub sha: String,
    /// Whether it may write anything.
    pub writes: bool,
}

/// All scripts that nodes call.
#[derive(Debug)]
pub struct Scripts {
    pub attempted: Script,
    pub change_user: Script,
    pub claim: Script,
    pub commit: Script,
    pub configure: Script,
    pub decide: Script,
    pub enqueue: Script,
    pub extend: Script,
    pub grant: Script,
    pub mark: Script,
    pub outcome: Script,
    pub reclaim: Script,
    pub refund: Script,
    pub register: Script,
    pub release: Script,
    pub replace_rollup: Script,
    pub repair: Script,
    pub reserve: Script,
    pub revoke: Script,
    pub rollup: Script,
    pub set_clock: Script,
    pub stamp: Script,
    pub survey: Script,
    pub track: Script,
    pub track_enforce: Script,
    pub usage: Script,
}

static SCRIPTS: LazyLock<Result<Scripts, StoreError>> = LazyLock::new(|| {
    Ok(Scripts {
        attempted: load("attempted")?,
        change_user: load("change_user")?,
        claim: load("claim")?,
        commit: load("commit")?,
        configure: load("configure")?,
        decide: load("decide")?,
        enqueue: load("enqueue")?,
        extend: load("extend")?,
        grant: load("grant")?,
        mark: load("mark")?,
        outcome: load("outcome")?,
        reclaim: load("reclaim")?,
        refund: load("refund")?,
        register: load("register")?,
        release: load("release")?,
        replace_rollup: load("replace_rollup")?,
        repair: load("repair")?,
        reserve: load("reserve")?,
        revoke: load("revoke")?,
        rollup: load("rollup")?,
        set_clock: load("set_clock")?,
        stamp: load("stamp")?,
        survey: load("survey")?,
        track: load("track")?,
        track_enforce: load("track_enforce")?,
        usage: load("usage")?,
    })
});

impl Scripts {
    /// # Errors
    /// An include that names no file.
    pub fn resolve() -> Result<&'static Self, StoreError> {
        SCRIPTS.as_ref().map_err(Clone::clone)
    }

    pub fn all(&self) -> [&Script; 26] {
        [
            &self.attempted,
            &self.change_user,
            &self.claim,
            &self.commit,
            &self.configure,
            &self.decide,
            &self.enqueue,
            &self.extend,
            &self.grant,
            &self.mark,
            &self.outcome,
            &self.reclaim,
            &self.refund,
            &self.register,
            &self.release,
            &self.replace_rollup,
            &self.repair,
            &self.reserve,
            &self.revoke,
            &self.rollup,
            &self.set_clock,
            &self.stamp,
            &self.survey,
            &self.track,
            &self.track_enforce,
            &self.usage,
        ]
    }
}

fn load(name: &'static str) -> Result<Script, StoreError> {
    let mut source = String::new();
    append(name, &mut HashSet::new(), &mut source)?;
    let sha = redis::Script::new(&source).get_hash().to_owned();
    let writes = !source.starts_with("#!lua flags=no-writes");
    Ok(Script { name, source, sha, writes })
}

/// Appends a file; a line `--- @include "path"` stands for that file, the first time it is named.
fn append(name: &str, seen: &mut HashSet<String>, source: &mut String) -> Result<(), StoreError> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let (_, text) = FILES
        .iter()
        .find(|(path, _)| *path == name)
        .ok_or_else(|| StoreError::Unexpected(format!("no Lua file {name}")))?;
    for line in text.lines() {
        match line.strip_prefix("--- @include \"").and_then(|rest| rest.strip_suffix('"')) {
            Some(included) => append(included, seen, source)?,
            None => {
                source.push_str(line);
                source.push('\n');
            }
        }
    }
    Ok(())
}
