//! Combines the Lua files into the library that Redis stores.

use std::sync::{LazyLock, OnceLock};

use metrics::Histogram;

use crate::store::error::StoreError;

macro_rules! library {
    (commands: $($command:ident),* ; libraries: $($library:literal),* $(,)?) => {
        /// Every file under `lua/`, by its path without `.lua`.
        pub const FILES: &[(&str, &str)] = &[
            ("library", include_str!("../../../lua/library.lua")),
            $((stringify!($command), include_str!(concat!("../../../lua/", stringify!($command), ".lua"))),)*
            $(($library, include_str!(concat!("../../../lua/", $library, ".lua"))),)*
        ];

        /// The library with every function that nodes call.
        #[derive(Debug)]
        pub struct Library {
            /// `qg_<hash>`
            pub name: String,
            /// The source for `FUNCTION LOAD`.
            pub source: String,
            $(pub $command: Function,)*
        }

        impl Library {
            fn put_together() -> Result<Self, StoreError> {
                let (name, source) = whole()?;
                let function = |command: &'static str| Function {
                    name: command,
                    registered: format!("{name}_{command}"),
                    beyond: is_flagged(command, "headroom").then(|| format!("{name}_{command}_beyond")),
                    writes: !is_flagged(command, "no-writes"),
                    reads_page: PAGES.contains(&command),
                    is_bundled: is_flagged(command, "bundled"),
                    round_trips: OnceLock::new(),
                };
                Ok(Self { $($command: function(stringify!($command)),)* name, source })
            }

            pub fn all(&self) -> Vec<&Function> {
                vec![$(&self.$command),*]
            }
        }
    };
}

library! {
    commands: announce, attempted, change_user, claim, commit, configure, credit, decide, define, enqueue, extend, grant, limit, list_credits, log, mark, migrate, near, outcome, reclaim, refund, register, release, repair, replace_rollup, reserve, revoke, rollup, session, set_clock, set_layout, stamp, survey, track, track_degraded, track_enforce, usage, void_credit;
    libraries: "lib/account", "lib/admission", "lib/alert", "lib/allowance", "lib/approval", "lib/args", "lib/audit", "lib/balances", "lib/chunked_hash", "lib/clock", "lib/counter", "lib/credits", "lib/facts", "lib/fit", "lib/hold", "lib/keys", "lib/layout6", "lib/ledger", "lib/operation", "lib/outbox", "lib/overflow", "lib/own_quota", "lib/present", "lib/program", "lib/proposal", "lib/record", "lib/retention", "lib/rollover", "lib/settle", "lib/straight", "lib/straight_overflow", "lib/straight_reserve", "lib/straight_settle", "lib/tracking", "lib/unroll", "lib/window"
}

/// The functions that read a page of a scan.
const PAGES: [&str; 1] = ["survey"];

/// What a full Redis does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is rejected.
    Refused,
    /// It succeeds while there is headroom.
    Headroom,
    /// It succeeds.
    Done,
}

/// A registered Lua function.
#[derive(Debug)]
pub struct Function {
    /// The name of its file.
    pub name: &'static str,
    /// `qg_<hash>_<name>`, since Redis has one namespace for the functions of all libraries.
    pub registered: String,
    /// The name of the variant that a full Redis accepts, for functions that have one.
    pub beyond: Option<String>,
    /// Whether it may write.
    pub writes: bool,
    /// Whether it reads a page of a scan.
    pub reads_page: bool,
    /// Whether each of its variants has another one for bundles, see [`bundle_of`].
    pub is_bundled: bool,
    /// Created with its first call.
    round_trips: OnceLock<Histogram>,
}

impl Function {
    pub(in crate::store) fn round_trips(&self) -> &Histogram {
        self.round_trips.get_or_init(|| round_trips(self.name))
    }
}

/// How long calls of a function take.
pub(in crate::store) fn round_trips(script: &'static str) -> Histogram {
    metrics::histogram!("quotagate_redis_round_trip_seconds", "script" => script)
}

/// The function that runs a bundle of calls of a registered function.
pub(in crate::store) fn bundle_of(registered: &str) -> String {
    format!("{registered}_bundle")
}

fn is_flagged(command: &str, flag: &str) -> bool {
    let line = format!("--- @command \"{command}\" ");
    let mut flags = FILES[0].1.lines().filter_map(|text| text.strip_prefix(&line)).flat_map(str::split_whitespace);
    flags.any(|known| known == flag)
}

static LIBRARY: LazyLock<Result<Library, StoreError>> = LazyLock::new(Library::put_together);

impl Library {
    /// # Errors
    /// A line of `library.lua` names a file that does not exist.
    pub fn resolve() -> Result<&'static Self, StoreError> {
        LIBRARY.as_ref().map_err(Clone::clone)
    }
}

/// Placeholder for the library's name, which is a hash of the text.
const NAME: &str = "@name@";

/// Name and text.
fn whole() -> Result<(String, String), StoreError> {
    let mut source = format!("#!lua name={NAME}\n");
    for line in file("library")?.lines() {
        match line.strip_prefix("--- @") {
            Some(part) => append(part, &mut source)?,
            None => source.extend([line, "\n"]),
        }
    }
    let name = format!("qg_{}", &redis::Script::new(&source).get_hash()[..16]);
    let source = source.replace(NAME, &name);
    Ok((name, source))
}

fn file(name: &str) -> Result<&'static str, StoreError> {
    let found = FILES.iter().find(|(path, _)| *path == name);
    found.map(|(_, text)| *text).ok_or_else(|| StoreError::Unexpected(format!("no Lua file {name}")))
}

/// `include "<file>"`, or `command "<file>"[ <flag>…]` with flags of Redis, with `headroom` for a function that is
/// registered with and without `allow-oom`, or with `bundled` for one that is also registered for bundles.
fn append(part: &str, source: &mut String) -> Result<(), StoreError> {
    let mut parts = part.split('"');
    let (kind, name, flags) =
        (parts.next().unwrap_or("").trim(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let text = file(name)?;
    if kind == "include" {
        source.push_str(text);
        return Ok(());
    }
    let own: Vec<_> = flags.split_whitespace().filter(|flag| !["headroom", "bundled"].contains(flag)).collect();
    let own = own.iter().map(|flag| format!("'{flag}'")).collect::<Vec<_>>().join(", ");
    let mut ways = vec![(format!("{NAME}_{name}"), own)];
    if is_flagged(name, "headroom") {
        ways.push((format!("{NAME}_{name}_beyond"), "'allow-oom'".to_owned()));
    }
    // A block of its own, since a chunk may have 200 local variables at a time.
    source.push_str(&format!(
        "do\nlocal function run_{name}(call_keys, call_argv, bundled)\nbegin(call_keys, call_argv, bundled)\n{text}end\n"
    ));
    for (registered, flags) in ways {
        let mut register = |registered: &str, callback: &str| {
            source.push_str(&format!(
                "redis.register_function{{ function_name = '{registered}', flags = {{ {flags} }}, callback = {callback} }}\n"
            ));
        };
        register(&registered, &format!("run_{name}"));
        if is_flagged(name, "bundled") {
            let callback = format!("function(keys, argv) return run_bundle(run_{name}, keys, argv) end");
            register(&bundle_of(&registered), &callback);
        }
    }
    source.push_str("end\n");
    Ok(())
}
