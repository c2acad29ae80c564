//! Every module belongs to a layer and an area, and imports only lower layers.

use std::collections::BTreeMap;

use crate::{files, layer, names, only_named_where, sources};

/// Each layer may import those before it.
const LAYERS: [&str; 10] =
    ["domain", "infra", "store", "service", "http", "workers", "config", "cli", "startup", "main"];

/// The module folders that all layers share; a layer need not have all of them.
const AREAS: [&str; 8] =
    ["access", "accounts", "configuration", "metering", "nodes", "reporting", "simulation", "webhooks"];

/// Rooms that only one layer has.
const OWN_AREAS: [(&str, &[&str]); 4] = [
    ("domain", &["time", "values"]),
    ("http", &["middleware", "wire"]),
    ("service", &["degraded"]),
    ("store", &["client"]),
];

/// Modules beside the areas, which several areas need.
const SHARED: [(&str, &[&str]); 4] = [
    ("domain", &[]),
    ("http", &["dashboard", "openapi"]),
    ("service", &["error", "gateway", "tenant"]),
    ("store", &["arguments", "encoding", "error", "keys", "parts", "reading", "reply"]),
];

/// The programs beside the product.
const PROGRAMS: [&str; 1] = ["replay"];

/// What those programs use of the product: what its own commands use to call a gateway.
const USED_BY_PROGRAMS: [&str; 5] = [
    "quotagate::cli::remote::",
    "quotagate::cli::trace",
    "quotagate::cli::{print, trace}",
    "quotagate::config::Secret",
    "quotagate::infra::http_client",
];

const MOST_FILES: usize = 15;

fn of<'a>(table: &[(&str, &'a [&'a str])], layer: &str) -> Option<&'a [&'a str]> {
    table.iter().find(|(name, _)| *name == layer).map(|(_, list)| *list)
}

/// `src/store/keys.rs` is `store::keys`, `src/store/mod.rs` is `store`; so for the `src` of another program.
pub fn module(path: &str) -> Vec<&str> {
    let (_, path) = path.split_once("src/").unwrap();
    let parts = path.strip_suffix(".rs").unwrap().split('/');
    parts.filter(|part| !["mod", "lib"].contains(part)).collect()
}

#[test]
fn every_module_belongs_to_a_known_layer_and_area() {
    let mut offences = Vec::new();
    for (path, _) in files("src", "rs") {
        let module = module(&path);
        let known = match module[..] {
            [] => true,
            [layer] => LAYERS.contains(&layer),
            [layer, area] if of(&SHARED, layer).is_some() => {
                let shared = of(&SHARED, layer).unwrap().contains(&area);
                shared || (is_area(layer, area) && path.ends_with("/mod.rs"))
            }
            [layer, area, ..] if of(&SHARED, layer).is_some() => is_area(layer, area),
            [layer, ..] => LAYERS.contains(&layer),
        };
        if !known {
            offences.push(path);
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

fn is_area(layer: &str, area: &str) -> bool {
    AREAS.contains(&area) || of(&OWN_AREAS, layer).is_some_and(|areas| areas.contains(&area))
}

#[test]
fn programs_beside_the_product_are_clients_of_a_gateway() {
    for (path, _) in files("crates", "rs") {
        let program = path.split('/').nth(1).unwrap();
        assert!(PROGRAMS.contains(&program), "{path}");
    }
    let mut offences = Vec::new();
    for (path, lines) in sources().into_iter().filter(|(path, _)| layer(path) == "crates") {
        for (number, line) in lines.iter().filter(|(_, line)| names(line, "quotagate::")) {
            if !USED_BY_PROGRAMS.iter().any(|used| line.contains(used)) {
                offences.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn tests_of_the_api_have_the_areas_of_the_api() {
    for (path, _) in files("tests/api", "rs") {
        let area = path.strip_prefix("tests/api/").unwrap().split('/').next().unwrap();
        assert!(area == "main.rs" || area == "wire" || AREAS.contains(&area), "{path}");
    }
}

#[test]
fn at_most_15_files_lie_side_by_side() {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    let all = ["src", "crates", "tests/api"].into_iter().flat_map(|folder| files(folder, "rs"));
    for (path, _) in all {
        let (folder, _) = path.rsplit_once('/').unwrap();
        *folders.entry(folder.to_owned()).or_default() += 1;
    }
    folders.retain(|_, files| *files > MOST_FILES);
    assert!(folders.is_empty(), "{folders:?}");
}

#[test]
fn layers_import_only_what_lies_beneath_them() {
    let mut offences = Vec::new();
    let product = |path: &str| path.starts_with("src/") && path != "src/lib.rs";
    for (path, lines) in sources().into_iter().filter(|(path, _)| product(path)) {
        let own = LAYERS.iter().position(|name| *name == layer(&path)).unwrap();
        for (number, line) in lines {
            for above in &LAYERS[own + 1..] {
                if names(&line, &format!("crate::{above}::")) || names(&line, &format!("crate::{above};")) {
                    offences.push(format!("{path}:{number}: {line}"));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn http_names_nothing_of_the_store() {
    only_named_where(&["crate::store"], |path| layer(path) != "http");
}

#[test]
fn only_infra_and_commands_touch_files_and_processes() {
    let words = ["std::fs", "tokio::fs", "File::open", "OpenOptions", "std::process", "tokio::process"];
    // Commands use files that their caller names; a starting node reads its configuration file and the host's name.
    let may = |path: &str| matches!(layer(path), "infra" | "cli" | "startup" | "main" | "crates");
    only_named_where(&words, may);
}
