//! Takes short texts apart: replies, entries of the ledger and rows of rollups have dozens of parts.

/// The parts of a text between separators, as [`str::split`] returns them. A search of its own for each part takes
/// longer than a look at every byte, since parts have few bytes.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Parts<'a> {
    /// `separator`: an ASCII character.
    pub(super) fn of(text: &'a str, separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let (part, rest) = cut(text, self.separator).map_or((text, None), |(part, rest)| (part, Some(rest)));
        self.rest = rest;
        Some(part)
    }
}

/// Splits a text at the first separator, as [`str::split_once`] does. `separator`: an ASCII character.
pub(super) fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| byte == separator)?;
    Some((&text[..end], &text[end + 1..]))
}

/// The same for parts of dozens of bytes, where a search takes less than a look at every byte.
pub(super) fn cut_long(text: &str, separator: u8) -> Option<(&str, &str)> {
    let end = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..end], &text[end + 1..]))
}

/// How many texts are compared with the next one.
const MOST: usize = 16;

/// What was parsed before, by its text.
#[derive(Debug)]
pub(super) struct Parsed<K, T> {
    known: Vec<(K, T)>,
}

impl<K, T> Default for Parsed<K, T> {
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

impl<K: PartialEq, T: Clone> Parsed<K, T> {
    /// A copy of what was parsed before, or else the result of `parse`.
    pub(super) fn get(&mut self, text: K, parse: impl FnOnce(&K) -> Option<T>) -> Option<T> {
        if let Some((_, parsed)) = self.known.iter().find(|(known, _)| *known == text) {
            return Some(parsed.clone());
        }
        let parsed = parse(&text)?;
        if self.known.len() == MOST {
            self.known.clear();
        }
        self.known.push((text, parsed.clone()));
        Some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_those_of_a_split(text in "[a:é ]{0,9}") {
            let expected: Vec<&str> = text.split(':').collect();
            prop_assert_eq!(Parts::of(&text, b':').collect::<Vec<_>>(), expected);
            prop_assert_eq!(cut(&text, b':'), text.split_once(':'));
            prop_assert_eq!(cut_long(&text, b':'), text.split_once(':'));
        }

        #[test]
        fn each_text_is_read_as_if_it_were_the_first(numbers in prop::collection::vec(0..20_u8, 0..60)) {
            let mut parsed: Parsed<String, u8> = Parsed::default();
            for number in numbers {
                let parse = |text: &String| text.parse::<u8>().ok().filter(|number| *number > 2);
                prop_assert_eq!(parsed.get(number.to_string(), parse), Some(number).filter(|number| *number > 2));
            }
        }
    }

    #[test]
    fn a_known_text_is_found() {
        let mut parsed = Parsed::default();
        assert_eq!(parsed.get("a", |_| Some(1)), Some(1));
        assert_eq!(parsed.get("a", |_| Some(2)), Some(1));
        assert_eq!(parsed.get("b", |_| None), None);
        assert_eq!(parsed.get("b", |_| Some(3)), Some(3));
    }
}
