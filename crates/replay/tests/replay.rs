//! `quotagate-replay` and the demo as users run them. The demo starts the gateway that `cargo build` made.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_quotagate-replay");
const EXCERPT: &str = "tests/data/azure-llm-conv-2023-excerpt.csv";

/// Runs a program in the root of the repository, without the variables of this terminal: exit code, standard output,
/// standard error.
fn run(program: &str, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUOTAGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(settings.iter().copied());
    let output = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The reports of the demo: on the plan with generous quotas, and on the one with tight quotas.
fn demo(users: &str) -> (String, String) {
    let binaries = Path::new(PROGRAM).parent().unwrap();
    assert!(binaries.join("quotagate").exists(), "there is no gateway to replay to: run `cargo build`");
    // On a busy machine Redis may answer slowly.
    let settings =
        [("BINARIES", binaries.to_str().unwrap()), ("USERS", users), ("QUOTAGATE_REDIS_TIMEOUT_MS", "60000")];
    let (code, out, err) = run(concat!(env!("CARGO_MANIFEST_DIR"), "/demo.sh"), &[EXCERPT], &settings);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let (generous, tight) = out.split_once("== demo_tight").unwrap();
    (generous.to_owned(), tight.to_owned())
}

/// The cells of the first row of a table that begins with this cell.
#[track_caller]
fn row<'a>(report: &'a str, first: &str) -> Vec<&'a str> {
    let cells = |line: &'a str| -> Vec<&'a str> {
        line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).collect()
    };
    let found = report.lines().map(cells).find(|cells| cells.first() == Some(&first));
    found.unwrap_or_else(|| panic!("no row {first} in {report}"))
}

#[track_caller]
fn figure(report: &str, name: &str) -> u64 {
    row(report, name)[1].replace(',', "").parse().unwrap()
}

#[test]
fn with_generous_quotas_the_demo_commits_exactly_the_tokens_of_the_excerpt() {
    for users in ["1", "10"] {
        let (report, _) = demo(users);

        let figures = ["calls", "allowed", "denied", "context tokens committed", "generated tokens committed"];
        assert_eq!(figures.map(|name| figure(&report, name)), [300, 300, 0, 270_000, 76_870]);
        assert_eq!(row(&report, "demo_tokens"), ["demo_tokens", "tokens", "346,870", "0"]);
        assert_eq!(row(&report, "demo_requests"), ["demo_requests", "count", "300", "0"]);
        // 270,000 × 0.00025 + 76,870 × 0.001 cents.
        assert_eq!(row(&report, "demo_cents"), ["demo_cents", "cents", "144.37", "0"]);
        let compared = "ok: demo_tokens over all users is 346,870, exactly what was committed (346,870)";
        assert!(report.contains(compared), "{report}");
    }
}

#[test]
fn with_tight_quotas_no_user_ends_above_one_and_every_denial_was_due() {
    let (_, report) = demo("10");

    let [calls, allowed, denied] = ["calls", "allowed", "denied"].map(|name| figure(&report, name));
    assert!(allowed > 0 && denied > 0, "{report}");
    assert_eq!((calls, allowed + denied), (300, 300));
    for check in ["ok: no user is above a quota\n", "ok: every denial was justified\n"] {
        assert!(report.contains(check), "{report}");
    }
    // Below the denials stand the groups of the plan and, if there were others than `limit_reached`, the reasons.
    let (_, rest) = report.split_once("denied").unwrap();
    let (reasons, _) = rest.split_once("context tokens").unwrap();
    let reasons = reasons.lines().skip(1).filter(|line| line.contains('┆'));
    assert!(reasons.clone().count() > 0, "{report}");
    assert!(reasons.clone().all(|line| line.contains("by demo_")), "{report}");
}

/// Answers every call as a gateway that does not know the key.
fn refusing_gateway() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The thread ends with the test process.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            refuse(connection.unwrap());
        }
    });
    url
}

fn refuse(mut connection: TcpStream) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let body = r#"{"status": 401, "code": "invalid_key", "detail": "The key does not exist."}"#;
    let head = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
}

#[test]
fn a_replay_that_cannot_begin_fails_in_one_clear_line() {
    let url = refusing_gateway();
    let url = url.as_str();
    for (settings, expected) in [
        ([("QUOTAGATE_URL", url), ("QUOTAGATE_ADMIN_KEY", "ak_x")], "error: no key: set QUOTAGATE_KEY"),
        ([("QUOTAGATE_URL", url), ("QUOTAGATE_KEY", "sk_live_wrong")], "401 invalid_key: The key does not exist."),
        ([("QUOTAGATE_URL", "http://127.0.0.1:1"), ("QUOTAGATE_KEY", "sk_live_x")], "http://127.0.0.1:1"),
        (
            [("QUOTAGATE_URL", "nowhere"), ("QUOTAGATE_KEY", "sk_live_x")],
            "is not an address like http://127.0.0.1:8080",
        ),
    ] {
        let (code, out, err) = run(PROGRAM, &[EXCERPT, "--users", "1"], &settings);

        assert_eq!((code, err.lines().count(), out.as_str()), (Some(1), 1, ""), "{settings:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(expected), "{settings:?}: {err}");
    }
}

#[test]
fn the_readme_lists_every_option() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (code, help, err) = run(PROGRAM, &["--help"], &[]);
    assert_eq!(code, Some(0), "{err}");
    let lines = help.lines().filter_map(|line| line.strip_prefix("      --"));
    let options: Vec<&str> = lines.map(|line| line.split(' ').next().unwrap()).collect();

    assert!(options.len() > 10, "{help}");
    for option in options {
        assert!(readme.contains(&format!("\n| `--{option}")), "README.md lacks --{option}");
    }
}
