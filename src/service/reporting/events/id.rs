//! The ID of an event, which determines its position among the events of all buckets.

use std::fmt;

use crate::domain::reporting::entry_id::EntryId;
use crate::store::reporting::stream::Stream;

/// A stable ID: `<led|den>_<bucket, 2 hex digits>_<ms>-<number>`. Events are ordered by the time at which Redis
/// recorded them, then by bucket, and a bucket's ledger comes before its denials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    pub at: EntryId,
    pub bucket: u8,
    pub stream: Stream,
}

impl EventId {
    /// None for a text that is not an event's ID.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, rest) = text.split_once('_')?;
        let (bucket, at) = rest.split_once('_')?;
        let stream = match stream {
            "led" => Stream::Ledger,
            "den" => Stream::Denials,
            _ => return None,
        };
        let id = Self { at: EntryId::parse(at)?, bucket: u8::from_str_radix(bucket, 16).ok()?, stream };
        // One event has only one ID: no leading zeros, signs or capitals.
        (id.to_string() == text).then_some(id)
    }

    /// After everything up to and including this millisecond.
    pub fn end_of(time_ms: u64) -> Self {
        Self { at: EntryId { time_ms, number: u64::MAX }, bucket: u8::MAX, stream: Stream::Denials }
    }

    /// The ID in a source's stream after which all entries come after this event.
    pub(super) fn floor(self, bucket: u8, stream: Stream) -> EntryId {
        match (bucket, stream) > (self.bucket, self.stream) {
            true => just_before(self.at),
            false => self.at,
        }
    }

    /// The ID in a source's stream before which all entries come before this event.
    pub(super) fn ceiling(self, bucket: u8, stream: Stream) -> EntryId {
        match (bucket, stream) < (self.bucket, self.stream) {
            true => just_after(self.at),
            false => self.at,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.stream {
            Stream::Ledger => "led",
            Stream::Denials => "den",
        };
        write!(formatter, "{stream}_{:02x}_{}-{}", self.bucket, self.at.time_ms, self.at.number)
    }
}

/// The largest ID before it; before the first one `0-0`, which no entry has.
pub(super) fn just_before(id: EntryId) -> EntryId {
    match (id.number, id.time_ms) {
        (0, 0) => id,
        (0, time_ms) => EntryId { time_ms: time_ms - 1, number: u64::MAX },
        (number, time_ms) => EntryId { time_ms, number: number - 1 },
    }
}

fn just_after(id: EntryId) -> EntryId {
    match id.number.checked_add(1) {
        Some(number) => EntryId { number, ..id },
        None => EntryId { time_ms: id.time_ms.saturating_add(1), number: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids() -> impl Strategy<Value = EventId> {
        let edge = prop_oneof![0..3_u64, any::<u64>(), Just(u64::MAX)];
        let stream = prop_oneof![Just(Stream::Ledger), Just(Stream::Denials)];
        (edge.clone(), edge, any::<u8>(), stream).prop_map(|(time_ms, number, bucket, stream)| EventId {
            at: EntryId { time_ms, number },
            bucket,
            stream,
        })
    }

    #[test]
    fn ids_read_as_documented() {
        let text = "led_2f_1795228329143-0";
        let id = EventId::parse(text).unwrap();
        assert_eq!((id.at.time_ms, id.at.number, id.bucket, id.stream), (1_795_228_329_143, 0, 0x2f, Stream::Ledger));
        for bad in [
            "",
            "led",
            "led_2f",
            "xyz_2f_1-0",
            "led_2F_1-0",
            "led_2f_01-0",
            "led_2f_+1-0",
            "led_123_1-0",
            "led_2f_1-0 ",
        ] {
            assert_eq!(EventId::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_id_comes_back_from_its_text(id in ids(), text in "\\PC*") {
            prop_assert_eq!(EventId::parse(&id.to_string()), Some(id));
            let _ = EventId::parse(&text);
        }

        #[test]
        fn bounds_in_a_stream_divide_it_as_the_order_of_events_does(cut in ids(), entry in ids()) {
            prop_assume!(entry.at > EntryId { time_ms: 0, number: 0 });
            prop_assume!(cut.at.time_ms < u64::MAX || cut.at.number < u64::MAX);
            prop_assert_eq!(entry > cut, entry.at > cut.floor(entry.bucket, entry.stream));
            prop_assert_eq!(entry < cut, entry.at < cut.ceiling(entry.bucket, entry.stream));
        }
    }
}
