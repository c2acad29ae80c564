//! What is installed beside the program: completions, man pages, `make install`; and what `--help` says.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::commands::printed;
use crate::gateway::run;
use crate::support::{folder, run as started};

/// All commands, with the words that lead to each.
fn commands() -> Vec<Vec<String>> {
    let mut open = vec![Vec::new()];
    let mut all = Vec::new();
    while let Some(words) = open.pop() {
        let help = help(&words);
        let list =
            help.split("\nCommands:\n").nth(1).map(|rest| rest.split("\n\n").next().unwrap()).unwrap_or_default();
        for name in list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = name.split_whitespace().next().unwrap().to_owned();
            if name != "help" {
                open.push([words.clone(), vec![name]].concat());
            }
        }
        all.push(words);
    }
    all
}

fn help(words: &[String]) -> String {
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
    let (code, out, err) = printed(run(&arguments, &[]));
    assert_eq!(code, Some(0), "{words:?}: {err}");
    out
}

#[test]
fn every_command_says_what_it_does_and_names_only_values_that_it_takes() {
    let all = commands();
    for name in [
        "apply",
        "export-config",
        "explain",
        "top",
        "users",
        "plans",
        "policies",
        "keys",
        "grants",
        "completions",
        "man",
    ] {
        assert!(all.contains(&vec![name.to_owned()]), "{name} in {all:?}");
    }
    assert!(all.contains(&["users", "reset"].map(str::to_owned).to_vec()), "{all:?}");
    for words in all {
        let text = help(&words);
        assert!(!text.starts_with("Usage:"), "{words:?} says what it does: {text}");
        assert!(!text.contains("[possible values: true, false]"), "{words:?}: {text}");
        if text.contains("--url <URL>") {
            assert!(
                text.contains("[env: QUOTAGATE_URL=]") && text.contains("[env: QUOTAGATE_KEY]"),
                "{words:?}: {text}"
            );
        }
    }
    let serve = printed(run(&["serve", "-h"], &[])).1;
    assert!(serve.contains("--webhook-allow-private <0|1>"), "{serve}");
    for (value, taken) in [("0", true), ("1", true), ("maybe", false)] {
        // Refused before it listens: a data directory that cannot be.
        let settings = [("QUOTAGATE_DATA_DIR", "/proc/nowhere"), ("QUOTAGATE_WEBHOOK_ALLOW_PRIVATE", value)];
        let (_, _, err) = printed(run(&["serve"], &settings));
        assert_eq!(!err.contains("must be 0 or 1"), taken, "{err}");
    }
}

#[test]
fn shells_complete_commands_and_options() {
    for (shell, parts) in [
        ("bash", ["complete -F _quotagate", "quotagate__subcmd__users", "--move-to"]),
        ("zsh", ["#compdef quotagate", "export-config", "--move-to"]),
        ("fish", ["complete -c quotagate", "export-config", "move-to"]),
    ] {
        let (code, out, err) = printed(run(&["completions", shell], &[]));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        for part in parts {
            assert!(out.contains(part), "no {part} for {shell}");
        }
    }
    assert_eq!(printed(run(&["completions", "cmd"], &[])).0, Some(2));
    // bash itself.
    let dir = folder();
    let script = dir.path().join("quotagate");
    fs::write(&script, printed(run(&["completions", "bash"], &[])).1).unwrap();
    let complete = format!(
        ". {}; COMP_WORDS=(quotagate users bl); COMP_CWORD=2; _quotagate quotagate bl users; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    assert_eq!(printed(output).1.trim(), "block");
}

#[test]
fn make_install_puts_program_pages_and_completions_under_the_prefix() {
    let dir = folder();
    let prefix = dir.path().join("usr");
    let mut make = Command::new("make");
    make.args([
        "install",
        &format!("PREFIX={}", prefix.display()),
        &format!("BINARY={}", env!("CARGO_BIN_EXE_quotagate")),
    ]);
    let (code, out, err) = printed(started::mark(&mut make).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap());
    assert_eq!(code, Some(0), "{out}{err}");
    let program = prefix.join("bin/quotagate");
    let version = printed(Command::new(&program).arg("--version").output().unwrap()).1;
    assert_eq!(version.trim(), format!("quotagate {}", env!("CARGO_PKG_VERSION")));
    let read = |path: &str| fs::read_to_string(prefix.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (path, shell) in [
        ("share/bash-completion/completions/quotagate", "bash"),
        ("share/zsh/site-functions/_quotagate", "zsh"),
        ("share/fish/vendor_completions.d/quotagate.fish", "fish"),
    ] {
        assert_eq!(read(path), printed(run(&["completions", shell], &[])).1, "{path}");
    }
    for words in commands() {
        let name = [vec!["quotagate".to_owned()], words.clone()].concat().join("-");
        let page = read(&format!("share/man/man1/{name}.1"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
    let one = read("share/man/man1/quotagate-apply.1").replace('\\', "");
    assert!(one.contains("--prune") && one.contains("QUOTAGATE_KEY"), "{one}");
    // A package is made elsewhere.
    let root = dir.path().join("root");
    let mut make = Command::new("make");
    make.args([
        "install",
        "PREFIX=/usr",
        &format!("DESTDIR={}", root.display()),
        &format!("BINARY={}", program.display()),
    ]);
    assert!(make.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap().status.success());
    assert!(Path::new(&root).join("usr/bin/quotagate").exists());
}

#[test]
fn a_release_is_trained_with_calls_that_succeed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut train = Command::new(root.join("scripts/train.py"));
    train.arg(Path::new(env!("CARGO_BIN_EXE_quotagate")).parent().unwrap());
    train.envs([("ROUNDS", "1"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    let (code, out, err) = printed(started::mark(&mut train).output().unwrap());
    assert_eq!(code, Some(0), "{out}{err}");
}
