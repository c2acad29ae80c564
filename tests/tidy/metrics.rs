//! The table of metrics is complete, and the documentation lists the same metrics and labels.

use std::collections::BTreeSet;

use quotagate::infra::metrics::METRICS;

use crate::{files, sources};

#[test]
fn every_metric_that_the_code_counts_is_in_the_table_once() {
    let listed: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let mut counted = BTreeSet::new();
    for (_, lines) in sources().into_iter().filter(|(path, _)| path != "src/infra/metrics.rs") {
        let code = lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        for kind in ["counter!(", "gauge!(", "histogram!("] {
            for (at, _) in code.match_indices(kind) {
                let name = code[at..].split('"').nth(1).unwrap_or_default();
                counted.insert(name.to_owned());
            }
        }
    }
    let unique: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(unique.len(), listed.len(), "{listed:?}");
    assert_eq!(counted, unique);
}

/// The words of a text between backquotes.
fn words(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_metric_is_documented_with_its_labels() {
    let (_, page) = files("docs/reference", "md").into_iter().find(|(path, _)| path.ends_with("/metrics.md")).unwrap();
    let items = page.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap().replace("\n  ", " "));
    let mut documented = Vec::new();
    for item in items {
        let (names, _) = item.split_once(": ").unwrap();
        let (names, labels) = names.split_once(" by ").unwrap_or((names, ""));
        documented.extend(words(names).into_iter().map(|name| {
            let labels: Vec<String> = words(labels).into_iter().map(str::to_owned).collect();
            (name.to_owned(), labels)
        }));
    }
    documented.sort();
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let mut listed: Vec<_> = METRICS.iter().map(|it| (it.name.to_owned(), labels(it.labels))).collect();
    listed.sort();
    assert_eq!(documented, listed);
}
