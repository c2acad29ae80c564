//! What people call a user: a display name and tags. Nothing is decided by them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::values::field_error::FieldError;

const MOST_NAME_CHARS: usize = 128;
const MOST_TAGS: usize = 16;
const MOST_TAG_CHARS: usize = 32;

/// A user's display name and tags, shown and searched in the dashboard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserProfile)]
pub struct Profile {
    /// At most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// At most 16, each of 1 to 32 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Profile {
    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.tags.is_empty()
    }

    /// The text is part of the name or of a tag, in any case. `lower` is in lower case.
    pub fn contains(&self, lower: &str) -> bool {
        self.name.iter().chain(&self.tags).any(|text| text.to_lowercase().contains(lower))
    }

    /// All faults.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let is_text =
            |text: &str, most: usize| (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if self.name.as_ref().is_some_and(|name| !is_text(name, MOST_NAME_CHARS)) {
            let message = format!("must have 1 to {MOST_NAME_CHARS} characters, and no control characters");
            faults.push(FieldError::new("name", message));
        }
        if self.tags.len() > MOST_TAGS {
            faults.push(FieldError::new("tags", format!("must have at most {MOST_TAGS} values")));
        }
        for (place, tag) in self.tags.iter().enumerate() {
            if !is_text(tag, MOST_TAG_CHARS) || self.tags.iter().take(place).any(|other| other == tag) {
                let message =
                    format!("must have 1 to {MOST_TAG_CHARS} characters, no control characters, and occur only once");
                faults.push(FieldError::new(format!("tags[{place}]"), message));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, tags: &[&str]) -> Profile {
        Profile { name: Some(name.to_owned()), tags: tags.iter().map(|tag| (*tag).to_owned()).collect() }
    }

    #[test]
    fn names_and_tags_are_found_by_any_part_in_any_case() {
        let known = profile("Ada Lovelace", &["VIP", "beta"]);
        for (text, found) in [("lovel", true), ("vip", true), ("a l", true), ("ada vip", false), ("x", false)] {
            assert_eq!(known.contains(text), found, "{text}");
        }
        assert!(!Profile::default().contains("a") && Profile::default().is_empty());
    }

    #[test]
    fn each_fault_is_named() {
        let fields = |profile: &Profile| profile.faults().iter().map(|fault| fault.field.clone()).collect::<Vec<_>>();
        assert!(fields(&profile(&"ä".repeat(128), &["x"; 1])).is_empty());
        assert_eq!(fields(&profile("", &["a", "", "a", "b\n"])), ["name", "tags[1]", "tags[2]", "tags[3]"]);
        assert_eq!(fields(&profile(&"x".repeat(129), &[&"y".repeat(33)])), ["name", "tags[0]"]);
        let many: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        assert_eq!(fields(&Profile { name: None, tags: many }), ["tags"]);
    }
}
