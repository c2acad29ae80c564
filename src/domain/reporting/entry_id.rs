//! IDs of stream entries.

/// The position of an entry: its time (ms) and its number within that millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    pub time_ms: u64,
    pub number: u64,
}

impl EntryId {
    pub fn parse(text: &str) -> Option<Self> {
        // Without the searcher of `split_once`, since folding parses an ID per entry.
        let dash = text.bytes().rposition(|byte| byte == b'-')?;
        Some(Self { time_ms: text[..dash].parse().ok()?, number: text[dash + 1..].parse().ok()? })
    }

    pub fn text(self) -> String {
        format!("{}-{}", self.time_ms, self.number)
    }
}
