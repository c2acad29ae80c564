//! Imports are free of circles, so a module can be understood without the modules that use it.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::module;
use crate::sources;

type Path = Vec<String>;

fn path(text: &str) -> Path {
    text.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// What a `use` imports: `a::{b, c::D}` is `a::b` and `a::c::D`.
fn imports(tree: &str) -> Vec<Path> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![path(tree.split(" as ").next().unwrap())];
    };
    let mut depth = 0;
    let separate = |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    };
    let inner = rest.rsplit_once('}').unwrap().0;
    let parts = inner.split(separate).filter(|part| !part.trim().is_empty()).flat_map(imports);
    parts.map(|part| [path(prefix), part].concat()).collect()
}

/// Every path of this crate that a file names.
fn named(code: &str) -> Vec<Path> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with("pub") {
            found.extend(imports(code[at + "use ".len()..].split(';').next().unwrap()));
        }
    }
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
            let text: String = code[at..].chars().take_while(|letter| is_part(*letter)).collect();
            let continues = code[..at].chars().next_back().is_some_and(is_part);
            if !continues && !code[..at].ends_with("pub(in ") {
                found.push(path(&text));
            }
        }
    }
    found
}

/// The path from the root of the crate, if `path` begins in it.
fn from_root(path: &Path, own: &Path, modules: &BTreeMap<Path, String>) -> Option<Path> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([own, &path[1..]].concat()),
        "super" => Some([&own[..own.len() - ups], &path[ups..]].concat()),
        name => {
            let child = [own.as_slice(), &[name.to_owned()]].concat();
            modules.contains_key(&child).then(|| [own.as_slice(), path].concat())
        }
    }
}

/// A file and the folder with its name count as one module: their files may import each other.
fn family(module: &[String], modules: &BTreeMap<Path, String>) -> String {
    let has_file = |length: &usize| modules.get(&module[..*length]).is_some_and(|path| !path.ends_with("/mod.rs"));
    let length = (1..=module.len()).find(has_file).unwrap_or(module.len());
    module[..length].join("::")
}

/// The modules below this folder whose imports form circles, each with those that it imports.
fn circles(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let code: Vec<(Path, String, String)> = sources()
        .into_iter()
        .filter(|(path, _)| path.strip_prefix(folder).is_some_and(|rest| rest != "main.rs"))
        .map(|(path, lines)| {
            let code = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
            (module(&path).into_iter().map(str::to_owned).collect(), path, code)
        })
        .collect();
    let modules: BTreeMap<Path, String> = code.iter().map(|(name, path, _)| (name.clone(), path.clone())).collect();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (own, _, code) in &code {
        let paths = named(code).into_iter().filter_map(|path| from_root(&path, own, &modules));
        let targets = paths.filter_map(|path| {
            let length = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
            Some(family(&path[..length], &modules))
        });
        let name = family(own, &modules);
        let others = targets.filter(|target| *target != name);
        arrows.entry(name.clone()).or_default().extend(others);
    }
    // A module without remaining imports, or without remaining importers, is not part of a circle.
    loop {
        let before = arrows.len();
        let names: BTreeSet<String> = arrows.keys().cloned().collect();
        arrows.values_mut().for_each(|targets| targets.retain(|target| names.contains(target)));
        let imported: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        arrows.retain(|name, targets| !targets.is_empty() && imported.contains(name));
        if arrows.len() == before {
            return arrows;
        }
    }
}

#[test]
fn no_imports_lead_back_to_where_they_begin() {
    for folder in ["src/", "crates/replay/src/"] {
        let circles = circles(folder);
        assert!(circles.is_empty(), "{circles:#?}");
    }
}
