//! How tests run the commands that talk to a gateway.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::gateway::{ADMIN_KEY, Process, quotagate, run};

/// How a command ended: exit code, standard output, standard error.
pub type Printed = (Option<i32>, String, String);

pub fn printed(output: Output) -> Printed {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs a command with a key, without a terminal.
pub fn command(gateway: &Process, key: &str, arguments: &[&str]) -> Printed {
    printed(run(arguments, &[("QUOTAGATE_URL", &gateway.url), ("QUOTAGATE_KEY", key)]))
}

/// Runs a command with the admin key; answers what it printed. It has to succeed without a warning.
#[track_caller]
pub fn done(gateway: &Process, arguments: &[&str]) -> String {
    let (code, out, err) = command(gateway, ADMIN_KEY, arguments);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}: {out}");
    out
}

/// Runs a command that has to fail with one line; answers that line.
#[track_caller]
pub fn refused(gateway: &Process, arguments: &[&str]) -> String {
    let (code, out, err) = command(gateway, ADMIN_KEY, arguments);
    assert_eq!((code, err.trim().lines().count()), (Some(1), 1), "{arguments:?}: {out}{err}");
    err.strip_prefix("error: ").unwrap_or_else(|| panic!("{arguments:?}: {err}")).trim().to_owned()
}

/// Runs a command on a terminal, and answers its question.
pub fn on_terminal(gateway: &Process, answer: &str, arguments: &[&str]) -> Printed {
    printed(terminal(gateway, answer, arguments).output().unwrap())
}

/// The same with the answer `y`, which it gives only after `done` has run.
pub fn on_terminal_after(done: impl FnOnce(), gateway: &Process, arguments: &[&str]) -> Printed {
    let mut terminal = terminal(gateway, "-", arguments);
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "asked\n");
    done();
    child.stdin.as_mut().unwrap().write_all(b"y\n").unwrap();
    printed(child.wait_with_output().unwrap())
}

fn terminal(gateway: &Process, answer: &str, arguments: &[&str]) -> Command {
    let settings = [("QUOTAGATE_URL", gateway.url.as_str()), ("QUOTAGATE_KEY", ADMIN_KEY)];
    let program = quotagate(&[], &settings);
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/terminal.py");
    let mut terminal = Command::new("python3");
    terminal.arg(script).arg(answer).arg(program.get_program()).args(arguments);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal
}

/// A secret key of live mode.
pub async fn secret_key(gateway: &Process) -> String {
    let key = gateway.call("POST", "keys", ADMIN_KEY, &json!({"kind": "secret", "mode": "live"})).await;
    key["key"].as_str().unwrap().to_owned()
}

/// The JSON that a command printed.
#[track_caller]
pub fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
