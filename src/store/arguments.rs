//! What a call gives to a function.

use redis::Cmd;

use crate::domain::values::digits::{push_digits, push_signed};

/// The arguments of a call: one text after the other, so that a call with fifty of them does not allocate fifty
/// times.
#[derive(Debug)]
pub(in crate::store) struct Arguments {
    pub(in crate::store) texts: String,
    /// The end of each argument.
    pub(in crate::store) ends: Vec<usize>,
}

impl Default for Arguments {
    /// With capacity for those of a metering call.
    fn default() -> Self {
        Self { texts: String::with_capacity(512), ends: Vec::with_capacity(24) }
    }
}

impl Arguments {
    pub(in crate::store) fn text(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.texts.push_str(text.as_ref());
        self.ends.push(self.texts.len());
        self
    }

    pub(in crate::store) fn int(&mut self, number: impl std::fmt::Display) -> &mut Self {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(self.texts, "{number}");
        self.ends.push(self.texts.len());
        self
    }

    /// [`Self::int`] without a formatter.
    pub(in crate::store) fn digits(&mut self, number: u64) -> &mut Self {
        self.numbers(&[number])
    }

    /// The same for a number that may be negative.
    pub(in crate::store) fn signed(&mut self, number: i64) -> &mut Self {
        push_signed(number, &mut self.texts);
        self.ends.push(self.texts.len());
        self
    }

    /// Several numbers in one argument, separated by spaces.
    pub(in crate::store) fn numbers(&mut self, numbers: &[u64]) -> &mut Self {
        for (place, number) in numbers.iter().enumerate() {
            self.texts.push_str(if place == 0 { "" } else { " " });
            push_digits(*number, &mut self.texts);
        }
        self.ends.push(self.texts.len());
        self
    }

    pub(in crate::store) fn flag(&mut self, flag: bool) -> &mut Self {
        self.text(if flag { "1" } else { "0" })
    }

    /// The call of a registered function.
    pub(in crate::store) fn command(&self, registered: &str, keys: &[String]) -> Cmd {
        // With capacity for everything, so that it does not reallocate.
        let bytes = keys.iter().map(String::len).sum::<usize>() + self.texts.len() + registered.len();
        let mut command = Cmd::with_capacity(keys.len() + self.ends.len() + 3, bytes + 16);
        command.arg("FCALL").arg(registered).arg(keys.len()).arg(keys);
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        for (begin, end) in begins.zip(&self.ends) {
            command.arg(&self.texts[begin..*end]);
        }
        command
    }
}
