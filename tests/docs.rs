//! House rules of the documentation: links lead somewhere, files that are named are there, lines and paragraphs are
//! short, and the reference is complete. `tests/process/guides.rs` runs the commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use quotagate::domain::metering::reason::Reason;

const MOST_CHARACTERS: usize = 100;
const MOST_PARAGRAPH_LINES: usize = 5;
/// Where a path may begin that a page names without its beginning.
const ROOTS: [&str; 5] = ["", "src", "tests", "tests/faults", "docs"];
/// Endings by which a page names a file of the repository.
const ENDINGS: [&str; 10] = [".rs", ".lua", ".py", ".sh", ".js", ".mjs", ".ts", ".md", ".toml", ".yaml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn add_files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Paths from the root, and texts.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    add_files(&root().join(folder), ending, &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The pages that this project writes for its readers.
fn pages() -> Vec<(String, String)> {
    let mut pages = files("docs", ".md");
    assert!(pages.len() > 20, "{} pages", pages.len());
    for page in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"] {
        pages.push((page.to_owned(), read(page)));
    }
    pages
}

/// Numbered lines outside of fences.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut in_fence = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The targets of links: `[text](target)`.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// As GitHub names the place of a heading.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        })
        .collect()
}

#[track_caller]
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut offences = Vec::new();
    let others =
        ["sdk/typescript/README.md", "sdk/python/README.md", "examples/demo/README.md", "crates/replay/README.md"];
    let others = others.map(|page| (page.to_owned(), read(page)));
    for (page, text) in pages().into_iter().chain(others) {
        for (number, line) in prose(&text) {
            for link in links(line).into_iter().filter(|link| !link.contains("://")) {
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => root().join(&page),
                    path => root().join(&page).parent().unwrap().join(path),
                };
                let is_there = match anchor {
                    "" => target.exists(),
                    anchor => fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
                };
                if !is_there {
                    offences.push(format!("{page}:{number}: {link}"));
                }
            }
        }
    }
    none(&offences);
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut offences = Vec::new();
    // The changelog names files that are gone.
    for (page, text) in pages().into_iter().filter(|(page, _)| page != "CHANGELOG.md") {
        for (number, line) in prose(&text) {
            for name in line.split('`').skip(1).step_by(2) {
                let is_file = name.contains('/') && ENDINGS.iter().any(|ending| name.ends_with(ending));
                let is_plain = !name.contains(['*', ' ', '<', '{', '…', '$']) && !name.starts_with(['/', '.']);
                // What commands make, and files of other projects.
                let is_ours = !["target/", "data/", "degraded/", "backup/"].iter().any(|other| name.starts_with(other));
                if is_file && is_plain && is_ours && !ROOTS.iter().any(|place| root().join(place).join(name).exists()) {
                    offences.push(format!("{page}:{number}: {name}"));
                }
            }
        }
    }
    none(&offences);
}

/// Does an entry of a numbered list begin here?
fn is_numbered(line: &str) -> bool {
    line.trim_start().split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok())
}

#[test]
fn every_picture_is_shown_on_a_page() {
    let shown: BTreeSet<String> = pages()
        .iter()
        .flat_map(|(_, text)| prose(text).into_iter().flat_map(|(_, line)| links(line)).collect::<Vec<_>>())
        .filter_map(|link| link.rsplit_once("dashboard/").map(|(_, name)| name.to_owned()))
        .collect();
    let pictures = fs::read_dir(root().join("docs/dashboard")).unwrap();
    let pictures: BTreeSet<String> = pictures.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();

    assert!(!pictures.is_empty());
    none(&pictures.difference(&shown).cloned().collect::<Vec<_>>());
}

#[test]
fn lines_and_paragraphs_are_short() {
    let mut offences = Vec::new();
    for (page, text) in pages() {
        let mut length = 0;
        for (number, line) in prose(&text) {
            // A list's entry is a paragraph too.
            let begins = line.trim_start().starts_with(['-', '|', '#', '!']) || is_numbered(line);
            length = if line.trim().is_empty() { 0 } else { 1 + if begins { 0 } else { length } };
            if line.chars().count() > MOST_CHARACTERS {
                offences.push(format!("{page}:{number}: {} characters", line.chars().count()));
            }
            if length == MOST_PARAGRAPH_LINES + 1 && page != "CHANGELOG.md" && page != "docs/reference/cli.md" {
                offences.push(format!("{page}:{number}: a paragraph of more than {MOST_PARAGRAPH_LINES} lines"));
            }
        }
    }
    none(&offences);
}

#[test]
fn every_page_is_in_the_list_of_pages() {
    let list = read("docs/README.md");
    let pages = files("docs", ".md").into_iter().map(|(page, _)| page);
    let left_out: Vec<String> = pages
        .filter(|page| page != "docs/README.md")
        .filter(|page| !list.contains(&format!("({})", page.strip_prefix("docs/").unwrap())))
        .collect();
    none(&left_out);
}

/// Words that begin with `prefix`, of these letters.
fn words(text: &str, prefix: &str, is_letter: impl Fn(char) -> bool + Copy) -> BTreeSet<String> {
    let parts = text.split(|letter: char| !is_letter(letter));
    parts.filter(|word| word.starts_with(prefix) && *word != prefix).map(str::to_owned).collect()
}

#[test]
fn the_page_of_the_configuration_lists_every_variable_and_no_other() {
    let is_letter = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let settings = read("src/config.rs");
    let read_there = settings.lines().filter(|line| line.contains("env = \""));
    let variables: BTreeSet<String> = read_there.flat_map(|line| words(line, "QUOTAGATE_", is_letter)).collect();

    let page = read("docs/reference/configuration.md");
    let entries = page.lines().filter(|line| line.starts_with("- `QUOTAGATE_"));
    let documented: BTreeSet<String> = entries.map(|line| line.split('`').nth(1).unwrap().to_owned()).collect();

    assert!(variables.len() > 15, "{variables:?}");
    assert_eq!(documented, variables);
}

#[test]
fn the_page_of_errors_lists_every_code_and_reason_and_no_other_code() {
    let problems = read("src/http/wire/problem.rs");
    let statuses = problems.split("StatusCode::").skip(1);
    let mut codes: BTreeSet<String> = statuses
        .filter_map(|rest| rest.split_once(", \"").filter(|(status, _)| !status.contains([')', '\n'])))
        .map(|(_, rest)| rest.split('"').next().unwrap().to_owned())
        .filter(|code| !code.contains(' '))
        .collect();
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    codes.extend(words(&read("src/http/middleware/limits.rs"), "too_many_", is_letter));

    let page = read("docs/reference/errors.md");
    let rows = |heading: &str| -> BTreeSet<String> {
        let section = page.split(&format!("## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
    };

    assert!(codes.len() > 15, "{codes:?}");
    assert_eq!(rows("Codes"), codes);
    assert_eq!(rows("Denial reasons"), Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect());
}

#[test]
fn the_page_of_the_command_line_is_what_help_says() {
    let program = env!("CARGO_BIN_EXE_quotagate");

    let output = Command::new("python3").args(["scripts/cli-page.py", program]).current_dir(root()).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page == read("docs/reference/cli.md"), "run `make generate`");
}
