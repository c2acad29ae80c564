//! Percent-encoding of names from outside: a name in a key, a record or a row cannot change the other parts.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Separators of key names, hash tags and record lines.
pub(super) const RESERVED: &AsciiSet = &CONTROLS.add(b':').add(b'{').add(b'}').add(b'%').add(b' ');

/// Separators within the names of a scope.
const RESERVED_IN_SCOPE: &AsciiSet = &RESERVED.add(b'+');

/// The bytes that are never encoded: letters, digits, and some signs.
static PLAIN: [bool; 256] = plain();

const fn plain() -> [bool; 256] {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'@' | b'/');
        byte += 1;
    }
    plain
}

/// Percent-encodes the characters of a set that contains [`RESERVED`] and none of the plain ones. Most names are plain,
/// and each metering call encodes several.
pub(super) fn encoded_in<'a>(name: &'a str, reserved: &'static AsciiSet) -> Cow<'a, str> {
    match name.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        true => Cow::Borrowed(name),
        false => Cow::from(utf8_percent_encode(name, reserved)),
    }
}

pub(super) fn encoded(name: &str) -> Cow<'_, str> {
    encoded_in(name, RESERVED)
}

pub(super) fn encoded_in_scope(name: &str) -> Cow<'_, str> {
    encoded_in(name, RESERVED_IN_SCOPE)
}

/// Percent-encodes characters with a meaning in a key or a record.
pub fn encode(name: &str) -> String {
    encoded(name).into_owned()
}

/// Decodes what [`encode`] wrote; None for a text that is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    decoded(text).map(Cow::into_owned)
}

/// The same without a copy if nothing is encoded, as in most names.
pub(super) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    match text.bytes().any(|byte| byte == b'%') {
        true => percent_decode_str(text).decode_utf8().ok(),
        false => Some(Cow::Borrowed(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_reserved_is_encoded_in_every_name(name in "\\PC{0,12}|[a-zA-Z0-9:{}% +@/._-]{0,12}|[\\x00-\\x7f]{1,2}") {
            for reserved in [RESERVED, RESERVED_IN_SCOPE] {
                prop_assert_eq!(encoded_in(&name, reserved), utf8_percent_encode(&name, reserved).to_string());
            }
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }
    }

    #[test]
    fn a_plain_byte_is_one_that_no_set_reserves() {
        let others =
            (0..=127_u8).map(char::from).filter(|byte| !byte.is_ascii_alphanumeric() && !"-._@/".contains(*byte));
        for other in others.map(String::from) {
            assert!(!PLAIN[usize::from(other.as_bytes()[0])], "{other:?}");
        }
        assert!(!PLAIN[128..].contains(&true));
        assert_eq!(encoded("u_42@a.b/C-7"), "u_42@a.b/C-7");
    }
}
