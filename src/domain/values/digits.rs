//! Writes and reads numbers as text. Each metering call writes dozens of them, and folding an entry reads as many, so this
//! avoids the formatter and the general parser.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Appends the digits of a number.
pub fn push_digits(number: u64, text: &mut String) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// The same for a number that may be negative.
pub fn push_signed(number: i64, text: &mut String) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// At most this many digits fit into 63 bits.
const MOST_DIGITS: usize = 18;

/// The number whose decimal digits these are; the same as parsing it, but with fewer instructions for a few digits.
pub fn read_number(text: &str) -> Option<i64> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return text.parse().ok();
    }
    let mut number = 0;
    for byte in digits {
        match byte {
            b'0'..=b'9' => number = 10 * number + i64::from(byte - b'0'),
            _ => return text.parse().ok(),
        }
    }
    Some(number)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Appends a number as lower-case hexadecimal digits, at least `least` of them.
pub fn push_hex(number: u64, least: u32, text: &mut String) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(least);
    for place in (0..digits).rev() {
        let digit = usize::try_from((number >> (4 * place)) & 15).unwrap_or(0);
        text.push(char::from(DIGITS[digit]));
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex_text(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
    String::from_utf8(digits).unwrap_or_default()
}

/// Bytes in base64url without padding.
pub fn base64_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_a_formatter() {
        for number in [0, 7, 10, 1_000, -1, -120, i64::MIN, i64::MAX] {
            let mut text = String::from("x");
            push_signed(number, &mut text);
            assert_eq!(text, format!("x{number}"));
        }
    }

    #[test]
    fn a_number_is_read_as_the_parser_does() {
        for text in [
            "",
            "0",
            "7",
            "00012",
            "-7",
            "+7",
            "-",
            "1.5",
            "1e3",
            " 1",
            "é",
            "999999999999999999",
            "1000000000000000000",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
        ] {
            assert_eq!(read_number(text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_those_of_a_formatter() {
        let number = 0x0123_4567_89ab_cdef_u64;
        assert_eq!(hex_text(&number.to_be_bytes()), format!("{number:016x}"));
        assert_eq!(hex_text(&[]), "");
        for number in [0, 7, 0x10, number, u64::MAX] {
            let mut text = String::from("x");
            push_hex(number, 2, &mut text);
            push_hex(number, 11, &mut text);
            assert_eq!(text, format!("x{number:02x}{number:011x}"));
        }
    }
}
