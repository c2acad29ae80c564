//! Event patterns: exact names, or names with `*` for any run of characters, including none.

/// Whether the pattern matches the whole text. Linear in practice, at worst pattern × text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        if at < pattern.len() && pattern[at] == b'*' {
            retry = Some((at, position));
            at += 1;
        } else if at < pattern.len() && pattern[at] == text[position] {
            at += 1;
            position += 1;
        } else if let Some((star, taken)) = retry {
            // The last star takes one more character.
            retry = Some((star, taken + 1));
            at = star + 1;
            position = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether any text matches both patterns.
pub fn overlap(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    // reach[j]: the prefixes left[..i] and right[..j] have a text in common.
    let mut reach = vec![false; right.len() + 1];
    reach[0] = true;
    for j in 0..right.len() {
        reach[j + 1] = reach[j] && right[j] == b'*';
    }
    for byte in left {
        let mut next = vec![false; right.len() + 1];
        next[0] = reach[0] && *byte == b'*';
        for j in 0..right.len() {
            next[j + 1] = if *byte == b'*' || right[j] == b'*' {
                // A star takes nothing, or one more character of the other side.
                reach[j + 1] || next[j]
            } else {
                reach[j] && *byte == right[j]
            };
        }
        reach = next;
    }
    reach[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (pattern, text, expected) in [
            ("image.render", "image.render", true),
            ("image.render", "image.renderx", false),
            ("image.*", "image.render", true),
            ("image.*", "image.", true),
            ("image.*", "imag", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*.refund", "a.b.refund", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXcYYb", false),
            ("", "", true),
            ("", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn patterns_overlap_if_one_text_fits_both() {
        for (left, right, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a*", "*b", true),
            ("a*", "b*", false),
            ("llm.*", "llm.chat", true),
            ("llm.*", "image.*", false),
            ("*", "x", true),
            ("*x", "*y", false),
            ("a*c", "ab*", true),
            ("*", "*", true),
        ] {
            assert_eq!(overlap(left, right), expected, "{left} {right}");
            assert_eq!(overlap(right, left), expected, "{right} {left}");
        }
    }

    proptest! {
        #[test]
        fn patterns_that_match_one_text_overlap(left in "[ab*]{0,6}", right in "[ab*]{0,6}", text in "[ab]{0,6}") {
            if matches(&left, &text) && matches(&right, &text) {
                prop_assert!(overlap(&left, &right));
            }
        }

        #[test]
        fn a_pattern_that_overlaps_a_text_matches_it(pattern in "[ab*]{0,6}", text in "[ab]{0,6}") {
            prop_assert_eq!(overlap(&pattern, &text), matches(&pattern, &text));
        }
    }
}
