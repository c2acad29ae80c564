//! IDs of stream entries.

/// The position of an entry: its time (ms) and its number within that millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    pub time_ms: u64,
    pub number: u64,
}

impl EntryId {
    pub fn parse(text: &str) -> Option<Self> {
        let (time_ms, number) = text.split_once('-')?;
        Some(Self { time_ms: time_ms.parse().ok()?, number: number.parse().ok()? })
    }

    pub fn text(self) -> String {
        format!("{}-{}", self.time_ms, self.number)
    }
}
