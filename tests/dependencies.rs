//! What is built in: every crate comes from a listed registry with its checksum, under a listed licence, and is not one
//! that is refused. The lists are those of `deny.toml`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The quoted texts of a list in a section of `deny.toml`.
fn list(section: &str, name: &str) -> Vec<String> {
    let text = read("deny.toml");
    let section = text.split(&format!("[{section}]\n")).nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let values = section.split(&format!("{name} = [\n")).nth(1).unwrap().split("\n]").next().unwrap();
    let values: Vec<String> = values.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!values.is_empty(), "{name} is empty");
    values
}

/// The crates of a build on this machine, as cargo has resolved them.
fn packages() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    packages.into_iter().filter(|package| !package["source"].is_null()).collect()
}

/// Is a choice of the expression allowed? Of `OR` (or `/`) one side is enough, of `AND` both are needed.
fn may(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let is_allowed = either(&words, &mut at, allowed);
    is_allowed && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut found = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        found |= both(words, at, allowed);
    }
    found
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut found = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        found &= one(words, at, allowed);
    }
    found
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let found = either(words, at, allowed);
        *at += 1;
        return found;
    }
    // An exception is not on the list, so neither is what it belongs to.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
        return false;
    }
    allowed.iter().any(|licence| licence == word)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 AND ISC OR MIT", true),
        ("GPL-3.0 AND (ISC OR MIT)", false),
        ("GPL-3.0 WITH LLVM-exception OR MIT", true),
        ("", false),
        ("MIT ISC", false),
    ] {
        assert_eq!(may(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_crate_is_under_a_listed_licence_and_from_a_listed_registry_and_none_is_refused() {
    let (licences, refused) = (list("licenses", "allow"), list("bans", "deny"));
    let registries: Vec<String> =
        list("sources", "allow-registry").into_iter().map(|registry| format!("registry+{registry}")).collect();
    let mut offences = Vec::new();
    let packages = packages();
    assert!(packages.len() > 100, "{} crates", packages.len());
    for package in &packages {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        if !may(licence, &licences) {
            offences.push(format!("{name}: licence `{licence}`"));
        }
        if !registries.iter().any(|registry| registry == source) {
            offences.push(format!("{name}: from {source}"));
        }
        if refused.iter().any(|refused| refused == name) {
            offences.push(format!("{name}: refused"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_crate_of_the_lock_file_has_a_checksum() {
    let lock = read("Cargo.lock");
    for package in lock.split("[[package]]\n").skip(1).filter(|package| !package.starts_with("name = \"quotagate\"")) {
        let name = package.lines().next().unwrap();
        assert!(package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"), "{name}");
        assert!(package.contains("\nchecksum = \""), "{name}");
    }
}
