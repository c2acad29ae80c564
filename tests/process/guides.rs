//! Every command of the README, the tutorial and the how-to guides, run as a reader pastes it, on a new gateway.
//!
//! A fence `sh` is run, all of a page in one shell. A fence `sh not-run: <reason>` is not. The first `json` or `text` fence
//! behind a run one is what it prints: of JSON every field that is shown has to be there, and `…` stands for anything.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::gateway::Process;
use crate::support::{folder, free_port, run};

/// What pages say of where a gateway is, and of a second one.
const ADDRESS: &str = "http://127.0.0.1:8080";
const SECOND_ADDRESS: &str = "127.0.0.1:8081";
/// What pages say of the key that the first start prints.
const PRINTED_KEY: &str = "export QUOTAGATE_KEY=ak_…";
const NOT_RUN: &str = "not-run: ";
/// Languages of fences that hold no commands.
const SILENT: [&str; 5] = ["json", "text", "yaml", "python", "ts"];
/// A line between the output of two fences.
const MARK: &str = "---- fence";

/// A fence that is run, and what the page says that it prints.
#[derive(Debug)]
struct Step {
    line: usize,
    commands: String,
    /// Language and text.
    printed: Option<(String, String)>,
}

/// The fences of a page: line, info string, text.
fn fences(page: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            found.push((number + 1, info.to_owned(), text.join("\n") + "\n"));
        }
    }
    found
}

/// What is to be run. Fails on a fence of which it does not know whether it holds commands.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut may_print = false;
    for (line, info, text) in fences(page) {
        let (language, note) = info.split_once(' ').unwrap_or((&info, ""));
        match language {
            "sh" if note.is_empty() => {
                steps.push(Step { line, commands: text, printed: None });
                may_print = true;
            }
            "sh" => {
                let reason = note.strip_prefix(NOT_RUN).unwrap_or_default();
                assert!(!reason.is_empty(), "line {line}: `{NOT_RUN}` needs a reason");
                may_print = false;
            }
            silent => {
                assert!(SILENT.contains(&silent), "line {line}: may a fence `{silent}` hold commands? Use `sh`");
                if may_print && matches!(silent, "json" | "text") {
                    steps.last_mut().unwrap().printed = Some((silent.to_owned(), text));
                }
                may_print = false;
            }
        }
    }
    steps
}

/// Does `text` fit to a pattern in which `…` stands for any text?
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The first place at which the answer lacks something that the page shows.
fn lacking(shown: &Value, answer: &Value, path: &str) -> Option<String> {
    match (shown, answer) {
        (Value::Object(fields), Value::Object(found)) => {
            fields.iter().filter(|(name, _)| *name != "…").find_map(|(name, value)| {
                lacking(value, found.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"))
            })
        }
        (Value::Array(items), Value::Array(found)) => {
            let is_open = items.last().is_some_and(|item| item == "…");
            let items = if is_open { &items[..items.len() - 1] } else { &items[..] };
            if found.len() < items.len() || (!is_open && found.len() > items.len()) {
                return Some(format!("{path}: {} items instead of {}", found.len(), items.len()));
            }
            items
                .iter()
                .zip(found)
                .enumerate()
                .find_map(|(at, (item, found))| lacking(item, found, &format!("{path}[{at}]")))
        }
        (Value::String(pattern), Value::String(text)) if fits(pattern, text) => None,
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => None,
        (one, other) if one == other => None,
        (one, other) => Some(format!("{path}: {other} instead of {one}")),
    }
}

/// Every JSON object in an output, among whatever else it holds.
fn objects(output: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut rest = output;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let read = match values.next() {
            Some(Ok(value)) => {
                found.push(value);
                values.byte_offset()
            }
            _ => 1,
        };
        rest = &rest[read..];
    }
    found
}

fn is_problem(value: &Value) -> bool {
    value["code"].is_string() && value["status"].as_u64().is_some_and(|status| status >= 400)
}

/// What differs between the output of a step and what its page says.
fn difference(step: &Step, output: &str) -> Option<String> {
    let answers = objects(output);
    match &step.printed {
        Some((language, text)) if language == "json" => {
            let shown: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
            let Some(answer) = answers.last() else { return Some("no JSON".to_owned()) };
            lacking(&shown, answer, "")
        }
        Some((_, text)) => {
            let is_printed = |line: &str| output.lines().any(|printed| fits(line, printed.trim_end()));
            text.lines().find(|line| !is_printed(line)).map(|line| format!("no line `{line}`"))
        }
        None => answers.iter().find(|answer| is_problem(answer)).map(ToString::to_string),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder as the reader's checkout: the examples, and the gateway's data in `data`.
fn checkout(folder: &Path, data: &Path) {
    symlink(root().join("examples"), folder.join("examples")).unwrap();
    symlink(data, folder.join("data")).unwrap();
}

fn shell(commands: &str, folder: &Path, url: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_quotagate")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUOTAGATE_")) {
        command.env_remove(name);
    }
    command.args(["-euc", commands]).current_dir(folder).env("PATH", path).env("no_proxy", "*");
    // Only the address differs from what a reader has.
    command.env("QUOTAGATE_URL", url);
    run::mark(&mut command).output().unwrap()
}

/// Runs all that a page says, and compares. Pages use the real calendar, so one that met midnight is run again.
#[track_caller]
fn follow(page: &str) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let steps = steps(&text);
    assert!(!steps.is_empty(), "{page} has no commands");
    let today = || chrono::Utc::now().date_naive();
    loop {
        let day = today();
        let result = attempt(page, &steps);
        if today() == day {
            return result.unwrap();
        }
    }
}

fn attempt(page: &str, steps: &[Step]) -> Result<(), String> {
    let (data, place) = (folder(), folder());
    let gateway = Process::start(data.path(), &[]);
    let key = gateway.welcome.lines().find_map(|line| line.trim().strip_prefix("export QUOTAGATE_KEY=")).unwrap();
    checkout(place.path(), data.path());
    // Guides say in one place, `docs/README.md`, that the key has to be there.
    let mut commands = format!("export QUOTAGATE_KEY={key}\n");
    for (number, step) in steps.iter().enumerate() {
        commands.push_str(&format!("echo; echo '{MARK} {number}'\n{}", step.commands));
    }
    let commands = commands
        .replace(PRINTED_KEY, &format!("export QUOTAGATE_KEY={key}"))
        .replace(ADDRESS, &gateway.url)
        .replace(SECOND_ADDRESS, &format!("127.0.0.1:{}", free_port()));

    let output = shell(&commands, place.path(), &gateway.url);

    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{page} ends with {}:\n{out}\n{errors}", output.status));
    }
    for (number, step) in steps.iter().enumerate() {
        let printed = out.split(&format!("{MARK} {number}\n")).nth(1).unwrap().split(MARK).next().unwrap();
        if let Some(difference) = difference(step, printed) {
            return Err(format!("{page}:{}: {difference}\n{printed}\n{errors}", step.line));
        }
    }
    Ok(())
}

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];

        mod each_page {
            $(
                #[test]
                fn $name() {
                    super::follow($page);
                }
            )*
        }
    };
}

pages! {
    the_readme: "README.md",
    the_tutorial: "docs/tutorial.md",
    agents: "docs/how-to/agents.md",
    backup: "docs/how-to/backup.md",
    command_line: "docs/how-to/command-line.md",
    load_exports: "docs/how-to/load-exports.md",
    move_users: "docs/how-to/move-users.md",
    payment_webhooks: "docs/how-to/payment-webhooks.md",
    production: "docs/how-to/production.md",
    sell_credits: "docs/how-to/sell-credits.md",
    streaming: "docs/how-to/streaming.md",
    team_budgets: "docs/how-to/team-budgets.md",
    upgrade: "docs/how-to/upgrade.md",
}

#[test]
fn every_guide_with_commands_is_run() {
    let mut guides: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("docs/how-to")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if !steps(&fs::read_to_string(&path).unwrap()).is_empty() {
            guides.push(format!("docs/how-to/{}", path.file_name().unwrap().to_str().unwrap()));
        }
    }
    guides.sort();

    let listed: Vec<&str> = PAGES.iter().copied().filter(|page| page.starts_with("docs/how-to/")).collect();

    assert_eq!(guides, listed);
}

#[test]
fn what_a_page_shows_and_a_gateway_does_not_answer_is_found() {
    let page =
        "```sh\necho\n```\n\ntext\n\n```json\n{\"a\": 1, \"b\": [{\"id\": \"rsv_…\"}, \"…\"], \"…\": \"…\"}\n```\n";
    let step = steps(page).remove(0);

    assert_eq!(difference(&step, r#"{"a": 1, "b": [{"id": "rsv_7"}, 2], "c": 3}"#), None);
    for other in [
        r#"{"a": 2, "b": [{"id": "rsv_7"}]}"#,
        r#"{"a": 1, "b": [{"id": "led_7"}]}"#,
        r#"{"a": 1, "b": []}"#,
        r#"{"b": [{"id": "rsv_7"}]}"#,
        "",
    ] {
        assert!(difference(&step, other).is_some(), "{other}");
    }
    let silent = Step { line: 1, commands: String::new(), printed: None };
    assert!(difference(&silent, r#"{"status": 404, "code": "not_found"}"#).is_some());
    assert!(fits("1 owner, … entries", "1 owner, 2 windows, 2 entries") && !fits("1 owner", "1 owner, 2"));
}
