//! Checks conventions of this repository by reading its files.

#[path = "tidy/functions.rs"]
mod functions;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/modules.rs"]
mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quotagate::store::client::library::{FILES, Library};

const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with this extension in a directory: path from the root, and text.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} files under {folder}");
    found
}

/// Whether a `#[cfg(test)]` in another file declares this module, or it is a suite of its own.
fn is_test_module(path: &str) -> bool {
    path.contains("/tests/") || ["/tests.rs", "/plan_tests.rs", "/laws.rs"].iter().any(|name| path.ends_with(name))
}

/// The Rust sources without tests, of the product and of the programs beside it: path, and numbered lines without
/// comments.
fn sources() -> Vec<(String, Vec<(usize, String)>)> {
    let all = files("src", "rs").into_iter().chain(files("crates", "rs"));
    all.filter(|(path, _)| !is_test_module(path))
        .map(|(path, text)| {
            let lines = text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
            let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
            (path, code.map(|(number, line)| (number + 1, line.to_owned())).collect())
        })
        .collect()
}

/// Fails with every line of the product that contains one of `words`, unless `may` allows it for the file.
#[track_caller]
fn only_named_where(words: &[&str], may: impl Fn(&str) -> bool) {
    let mut offences = Vec::new();
    for (path, lines) in sources() {
        for (number, line) in lines {
            if !may(&path) && words.iter().any(|word| names(&line, word)) {
                offences.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// Whether `word` occurs in the line, and not as the end of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

/// The layer of a file of the product; `crates` for a program beside it.
fn layer(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    rest.split(['/', '.']).next().unwrap()
}

#[test]
fn the_domain_does_no_io_and_reads_no_clock() {
    let words = [
        "redis",
        "actix_web",
        "actix_rt",
        "tokio",
        "reqwest",
        "Utc::now",
        "Local::now",
        "SystemTime",
        "Instant::now",
        "time::Instant",
        "std::fs",
        "std::env",
        "std::net",
        "std::io",
    ];
    only_named_where(&words, |path| layer(path) != "domain");
}

#[test]
fn only_the_store_names_redis_and_only_http_names_actix() {
    only_named_where(&["redis::", "use redis"], |path| layer(path) == "store");
    // A node is assembled with the web framework's runtime and shared state.
    only_named_where(&["actix_web"], |path| matches!(layer(path), "http" | "startup" | "main"));
    for (path, lines) in sources() {
        for (number, line) in lines.iter().filter(|_| matches!(layer(&path), "startup" | "main")) {
            let allowed = line.contains("actix_web::web") || line.contains("actix_web::rt");
            assert!(allowed || !names(line, "actix_web"), "{path}:{number}: {line}");
        }
    }
}

#[test]
fn bodies_are_read_within_their_bounds_and_headers_one_value_at_a_time() {
    // The framework's extractors inflate without a limit, and before the key is checked.
    let words = ["web::Json<", "web::Form<", "web::Payload", ": web::Bytes", "Bytes::from_request"];
    only_named_where(&words, |path| path == "src/http/wire/payload.rs");
    // With a plain lookup, the first value of a repeated header would count, and one that is not text would be
    // ignored.
    let may = |path: &str| {
        matches!(
            path,
            "src/http/wire/header.rs"
                | "src/http/wire/payload.rs"
                | "src/http/middleware/request_id.rs"
                | "src/http/dashboard.rs"
                | "src/http/middleware/cors.rs"
        )
    };
    only_named_where(&["headers().get(", "headers().get::"], |path| may(path) || layer(path) != "http");
}

#[test]
fn no_node_clock_decides() {
    // An estimate that every script corrects, the check for clock skew, and the name of a replay's run.
    let may = |path: &str| {
        matches!(
            path,
            "src/service/metering/clocks.rs" | "src/service/nodes/readiness.rs" | "crates/replay/src/main.rs"
        )
    };
    only_named_where(&["SystemTime::now", "Utc::now", "Local::now"], may);
}

#[test]
fn the_environment_is_read_in_one_place() {
    let words = ["env::var", "env::vars", "env::var_os", "option_env!"];
    only_named_where(&words, |path| path == "src/config.rs");
    only_named_where(&["std::env"], |path| matches!(path, "src/config.rs" | "src/infra/embedded_redis.rs"));
}

#[test]
fn nothing_prints_where_a_closed_pipe_panics() {
    only_named_where(&["println!", "eprintln!", "print!", "eprint!"], |_| false);
}

#[test]
fn every_background_task_is_supervised() {
    let spawns =
        ["tokio::spawn", "task::spawn", "spawn_local", "spawn_blocking", "thread::spawn", "thread::Builder", "JoinSet"];
    // The writer of the log cannot fail; the others report their health, or their caller awaits them. If the task that
    // follows users (src/http/middleware/watchers.rs) panics, it ends its streams, and starts again with the next one.
    let parts = ["src/infra/supervise.rs", "src/infra/telemetry.rs", "src/infra/journal.rs", "src/workers/catch_up.rs"];
    let awaited = ["src/http/mod.rs", "src/http/middleware/readers.rs"];
    only_named_where(&spawns, |path| parts.contains(&path) || awaited.contains(&path));
}

#[test]
fn the_product_never_panics_on_purpose_and_leaves_nothing_for_later() {
    only_named_where(&["todo!", "unimplemented!", "panic!", "unreachable!", "dbg!"], |_| false);
    let mut offences = Vec::new();
    for (path, lines) in sources() {
        for (number, line) in lines {
            if line.contains(".unwrap()") || line.contains(".expect(") {
                offences.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for (folder, ending) in [("src", "rs"), ("crates", "rs"), ("lua", "lua"), ("tests", "rs")] {
        for (path, text) in files(folder, ending) {
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| later.iter().any(|word| names(line, word)))
            {
                offences.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let mut long = Vec::new();
    let folders = [
        ("src", "rs"),
        ("crates", "rs"),
        ("lua", "lua"),
        ("tests", "rs"),
        ("benches", "rs"),
        ("dashboard", "js"),
        ("dashboard", "css"),
    ];
    for (folder, ending) in folders {
        for (path, text) in files(folder, ending) {
            let lines = text.lines().count();
            if lines > MOST_LINES {
                long.push(format!("{path} has {lines} lines"));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The dashboard's own scripts.
fn pages() -> Vec<(String, String)> {
    files("dashboard", "js").into_iter().filter(|(path, _)| !path.contains("/vendor/")).collect()
}

#[test]
fn the_dashboard_makes_markup_of_no_text_and_calls_the_api_in_one_file() {
    for (path, text) in pages() {
        for word in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "https://cdn"]
        {
            assert!(!text.contains(word), "{path} has {word}");
        }
        assert!(path == "dashboard/api.js" || !names(&text, "fetch("), "{path} calls the API past api.js");
    }
}

#[test]
fn every_script_of_the_dashboard_is_imported_and_imports_what_is_there() {
    // The entry points of the pages.
    let mut imported = BTreeSet::from(["dashboard/docs.js".to_owned(), "dashboard/main.js".to_owned()]);
    for (path, text) in pages() {
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let name = line.split('\'').nth(1).unwrap();
            let folder = Path::new(&path).parent().unwrap().join(name);
            let target = fs::canonicalize(root().join(folder)).unwrap_or_else(|_| panic!("{path}: {line}"));
            imported.insert(target.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    // Pages that are loaded on demand: `page('users', 'Users', …)`.
    let main = fs::read_to_string(root().join("dashboard/main.js")).unwrap();
    for call in main.split(" page('").skip(1) {
        let mut names = call.split('\'');
        let (file, name) = (names.next().unwrap(), names.nth(1).unwrap());
        let path = format!("dashboard/pages/{file}.js");
        let text = fs::read_to_string(root().join(&path)).unwrap_or_else(|_| panic!("there is no {path}"));
        let exports = [format!("export function {name}("), format!("export const {name} = ")];
        assert!(exports.iter().any(|export| text.contains(export)), "{path} has no {name}");
        imported.insert(path);
    }
    let present: BTreeSet<String> = files("dashboard", "js").into_iter().map(|(path, _)| path).collect();
    assert_eq!(imported, present);
}

#[test]
fn every_lua_file_is_built_in_and_in_the_library() {
    let built_in: BTreeSet<String> = FILES.iter().map(|(name, _)| format!("lua/{name}.lua")).collect();
    let present: BTreeSet<String> = files("lua", "lua").into_iter().map(|(path, _)| path).collect();
    assert_eq!(built_in, present);
    let library = Library::resolve().unwrap();
    let commands: BTreeSet<&str> = library.all().iter().map(|function| function.name).collect();
    for (name, text) in FILES {
        let kind = if commands.contains(name) { "command" } else { "include" };
        let times = FILES[0].1.matches(&format!("--- @{kind} \"{name}\"")).count();
        assert_eq!(times, usize::from(*name != "library"), "{name}");
        assert_eq!(name.contains('/') || *name == "library", kind == "include", "{name} is a command or a library");
        assert!(text.ends_with('\n'), "{name}");
    }
}

/// The code of a Lua file without its comments.
fn code(text: &str) -> String {
    let text: String = text.split("--[[").map(|part| part.split_once("]]").map_or(part, |(_, code)| code)).collect();
    text.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// Whether the code contains `name.` as a word.
fn uses(code: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let word = format!("{name}.");
    code.match_indices(&word).any(|(at, _)| !code[..at].ends_with(is_part))
}

/// Lua looks up a name that is not defined above as a global, and fails only when the line runs.
#[test]
fn every_lua_library_uses_only_those_above_it() {
    let order: Vec<&str> = FILES[0].1.lines().filter_map(|line| line.strip_prefix("--- @include \"lib/")).collect();
    let order: Vec<&str> = order.into_iter().map(|name| name.trim_end_matches('"')).collect();
    for (place, name) in order.iter().enumerate() {
        let (_, text) = FILES.iter().find(|(path, _)| *path == format!("lib/{name}")).unwrap();
        let own: BTreeSet<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("local ")).collect();
        for below in &order[place + 1..] {
            let is_local = own.iter().any(|line| line.split(" =").next().unwrap().split(", ").any(|it| it == *below));
            assert!(is_local || !uses(&code(text), below), "lib/{name} uses {below}, which is below it");
        }
    }
}

/// The header of a command, without its code.
fn header(text: &str) -> &str {
    text.split_once("--[[").unwrap().1.split_once("]]").unwrap().0
}

#[test]
fn every_lua_command_begins_with_its_purpose_keys_arguments_and_replies() {
    let commands = |path: &str| !path.contains("/lib/") && path != "lua/library.lua";
    for (path, text) in files("lua", "lua").iter().filter(|(path, _)| commands(path)) {
        let name = path.strip_prefix("lua/").unwrap().strip_suffix(".lua").unwrap();
        let header = header(text);
        assert!(header.trim_start().starts_with(&format!("{name}: ")), "{path} says what it does");
        let places: Vec<Option<usize>> = ["\nKEYS\n", "\nARGV\n", "\nReplies"].map(|part| header.find(part)).to_vec();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{path}: {places:?}");
    }
}

#[test]
fn text_becomes_a_number_in_one_lua_file_and_no_key_is_composed() {
    for (path, text) in files("lua", "lua") {
        if path != "lua/lib/args.lua" {
            assert!(!text.contains("tonumber("), "{path}");
        }
        assert!(!text.contains("'qg:") && !text.contains("\"qg:"), "{path} composes a key");
    }
}

/// The text of a command with all libraries it uses, directly or indirectly.
fn with_libraries(command: &str) -> String {
    let mut names = vec![command.to_owned()];
    let mut whole = String::new();
    for place in 0.. {
        let Some(name) = names.get(place) else { break };
        let (_, text) = FILES.iter().find(|(path, _)| path == name).unwrap();
        whole.push_str(text);
        for (path, _) in FILES.iter().filter(|(path, _)| path.starts_with("lib/")) {
            if !names.iter().any(|known| known == path) && uses(&code(text), &path["lib/".len()..]) {
                names.push((*path).to_owned());
            }
        }
    }
    whole
}

/// The status words of a script's code: the first string of a table that is returned or built as a reply.
fn status_words(source: &str) -> BTreeSet<String> {
    let code: String = source.split("--[[").map(|part| part.split_once("]]").map_or(part, |(_, code)| code)).collect();
    let openings = ["return {", "answer = {", ".reply({", ".answer({", "fingerprint, {"];
    let mut words = BTreeSet::new();
    for opening in openings {
        for (at, _) in code.match_indices(opening) {
            let rest = code[at + opening.len()..].trim_start();
            if let Some((word, _)) = rest.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
                words.insert(word.to_owned());
            }
        }
    }
    words
}

#[test]
fn every_status_that_a_script_answers_is_documented_and_decoded() {
    let decoder = |script: &str| match script {
        "commit" | "release" | "refund" => "settle",
        "track_degraded" | "track_enforce" => "track",
        "announce" | "configure" | "stamp" => "configure",
        "grant" | "revoke" => "grants",
        "reclaim" => "usage",
        "credit" | "list_credits" | "void_credit" => "credits",
        "limit" => "limits",
        "log" => "audit",
        "mark" => "waiting",
        "replace_rollup" => "rollup",
        "session" => "sessions",
        "set_clock" => "test_clock",
        "set_layout" => "migrate",
        "decide" => "approvals",
        "define" => "proposal",
        "attempted" | "claim" | "enqueue" => "deliveries",
        other => other.to_owned().leak(),
    };
    let read = |path: String| fs::read_to_string(root().join(path)).unwrap();
    for script in Library::resolve().unwrap().all() {
        let file = format!("/{}.rs", decoder(script.name));
        let (_, decoded) = files("src/store", "rs").into_iter().find(|(path, _)| path.ends_with(&file)).unwrap();
        let of = |used: &str, file: &str| if decoded.contains(used) { read(file.to_owned()) } else { String::new() };
        let shared = of("read_stale(", "src/store/metering/admission.rs")
            + &of("propose(", "src/store/metering/proposal.rs")
            + &of("use super::settle::", "src/store/metering/settle.rs");
        let words = status_words(&with_libraries(script.name));
        assert!(!words.is_empty(), "{}", script.name);
        for word in words {
            let quoted = format!("\"{word}\"");
            assert!(decoded.contains(&quoted) || shared.contains(&quoted), "{}: {word} is not decoded", script.name);
            // The helpers of one library serve several commands; each command documents the statuses it can return.
            let own = FILES.iter().find(|(name, _)| *name == script.name).unwrap().1;
            if status_words(own).contains(&word) {
                let documented = header(own).split("\nReplies").nth(1).unwrap();
                assert!(names(documented, &word), "{}: {word} is not documented", script.name);
            }
        }
    }
}
