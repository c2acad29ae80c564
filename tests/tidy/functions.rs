//! Functions take few arguments, each with a name of its own.

use crate::{code, files, names, sources};

const MOST_ARGUMENTS: usize = 5;

/// Tuples hide the meaning of arguments, and their number from the lint.
#[test]
fn functions_take_no_tuples_apart() {
    let mut offences = Vec::new();
    for (path, lines) in sources() {
        for (number, line) in lines {
            let line = line.trim();
            let is_argument = line.starts_with('(') && line.contains("): (") && line.ends_with(',');
            let is_only_argument = line.contains("fn ") && line.contains("((") && line.contains("): (");
            if is_argument || is_only_argument || line.contains("Result<Result<") || line.contains("too_many_arguments")
            {
                offences.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// The arguments of the function whose list begins `code`.
fn arguments(code: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found, mut before) = (0, 0, Vec::new(), ' ');
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if before == '-' => {}
            ')' if depth == 0 => {
                found.push(&code[start..at]);
                break;
            }
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&code[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = letter;
    }
    let is_own = |argument: &&str| !argument.is_empty() && !names(argument.split(':').next().unwrap(), "self");
    found.into_iter().map(str::trim).filter(is_own).collect()
}

#[test]
fn functions_take_at_most_five_arguments() {
    // A handler names an extractor for each part of the request that it needs.
    let handlers = ["stream_usage"];
    let mut offences = Vec::new();
    for (path, lines) in sources() {
        let code = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        for (at, _) in code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(char::is_alphanumeric)) {
            let rest = &code[at + "fn ".len()..];
            let name = rest.split(['(', '<']).next().unwrap();
            let mut generics = 0;
            let opens = rest.char_indices().find(|(_, letter)| {
                generics += i32::from(*letter == '<') - i32::from(*letter == '>');
                *letter == '(' && generics == 0
            });
            let count = opens.map_or(0, |(opens, _)| arguments(&rest[opens + 1..]).len());
            if count > MOST_ARGUMENTS && !handlers.contains(&name) {
                offences.push(format!("{path}: {name} takes {count}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn lua_functions_take_at_most_five_arguments() {
    let mut offences = Vec::new();
    for (path, text) in files("lua", "lua") {
        for line in code(&text).lines() {
            for rest in line.split("function").skip(1) {
                let list = rest.split_once('(').map_or("", |(_, list)| list.split(')').next().unwrap());
                if list.split(',').count() > MOST_ARGUMENTS {
                    offences.push(format!("{path}: {line}"));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}
