//! Match rules: which events a limit group counts.

use std::collections::BTreeMap;

use super::measure::Measure;
use crate::domain::values::glob;
use crate::domain::values::metadata::Metadata;

/// An event pattern and metadata filters that must all match; each filter lists the values it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRule {
    pub event: String,
    pub metadata: BTreeMap<String, Vec<String>>,
    /// Overrides the group's measure.
    pub measure: Option<Measure>,
}

/// Why a rule does not match an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// The event's name does not match the pattern.
    Event,
    Missing {
        field: &'a str,
        wanted: &'a [String],
    },
    Value {
        field: &'a str,
        found: &'a str,
        wanted: &'a [String],
    },
}

impl MatchRule {
    pub fn matches(&self, event: &str, metadata: &Metadata) -> bool {
        self.mismatches(event, metadata).next().is_none()
    }

    /// All reasons why the rule does not match; none if it matches. Evaluated lazily.
    pub fn mismatches<'a>(&'a self, event: &str, metadata: &'a Metadata) -> impl Iterator<Item = Mismatch<'a>> {
        let event = (!glob::matches(&self.event, event)).then_some(Mismatch::Event);
        let filters = self.metadata.iter().filter_map(|(field, wanted)| match metadata.get(field) {
            None => Some(Mismatch::Missing { field, wanted }),
            Some(found) if wanted.iter().any(|text| text == found) => None,
            Some(found) => Some(Mismatch::Value { field, found, wanted }),
        });
        event.into_iter().chain(filters)
    }

    /// Whether any event matches both rules.
    pub fn overlaps(&self, other: &Self) -> bool {
        glob::overlap(&self.event, &other.event)
            && self.metadata.iter().all(|(name, accepted)| {
                other.metadata.get(name).is_none_or(|others| accepted.iter().any(|value| others.contains(value)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(event: &str, filters: &[(&str, &[&str])]) -> MatchRule {
        let metadata = filters
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
            .collect();
        MatchRule { event: event.to_owned(), metadata, measure: None }
    }

    #[test]
    fn all_filters_must_match_and_a_list_is_any_of() {
        let rule = rule("image.*", &[("variant", &["1k", "2k"]), ("paid", &["true"])]);
        for (event, metadata, expected) in [
            ("image.a", json!({"variant": "1k", "paid": true}), true),
            ("image.a", json!({"variant": "2k", "paid": "true", "more": 1}), true),
            ("image.a", json!({"variant": "4k", "paid": true}), false),
            ("image.a", json!({"variant": "1k"}), false),
            ("video.a", json!({"variant": "1k", "paid": true}), false),
        ] {
            let metadata: Metadata = serde_json::from_value(metadata).unwrap();
            assert_eq!(rule.matches(event, &metadata), expected, "{event} {metadata:?}");
        }
    }

    #[test]
    fn rules_with_disjoint_filters_do_not_overlap() {
        let one = rule("llm.*", &[("model", &["a", "b"])]);
        assert!(one.overlaps(&rule("llm.chat", &[("model", &["b"])])));
        assert!(one.overlaps(&rule("*", &[("team", &["x"])])));
        assert!(!one.overlaps(&rule("llm.chat", &[("model", &["c"])])));
        assert!(!one.overlaps(&rule("image.*", &[])));
    }
}
