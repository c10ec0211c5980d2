//! What a store keeps of a room's log: the events of an append. Formats are as in [`super::room`].

use roomcast_protocol::{Format, MessageType, PayloadKind};

use super::WireError;
use super::bytes::{Reader, Writer};
use super::room::{FORMAT, begin};
use crate::log::{Logged, Record};

/// Writes the events of an entry of a log, one after the other.
pub(crate) struct EventWriter {
    out: Vec<u8>,
    timestamp: i64,
}

impl EventWriter {
    pub(crate) fn new() -> EventWriter {
        let mut out = Vec::new();
        Writer::new(&mut out).u8(FORMAT);
        EventWriter { out, timestamp: 0 }
    }

    /// The next one: its offset is one more than that of the one before.
    pub(crate) fn push(&mut self, event: &Logged<'_>) {
        let Record {
            message_type,
            payload_kind,
            format,
            silent,
            client_id,
            user_id,
            player_num,
            service,
            seq,
            name,
            payload,
        } = event.record;
        // There is never both.
        let is_service = !service.is_empty();
        let author = if is_service { service } else { client_id };
        let since = event.timestamp.wrapping_sub(self.timestamp);
        self.timestamp = event.timestamp;
        Writer::new(&mut self.out).framed(|out| {
            out.u8(message_type.number());
            out.u8(payload_kind as u8);
            out.flags([silent, format == Format::Protobuf, is_service]);
            out.signed(since);
            for text in [author, user_id, name] {
                out.text(text);
            }
            out.varint(player_num);
            out.varint(seq);
            out.bytes(payload);
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Calls `each` for the events of an entry whose last one has the offset `last`, in their order.
pub(crate) fn read_events(
    bytes: &[u8],
    last: u64,
    mut each: impl FnMut(Logged<'_>),
) -> Result<(), WireError> {
    let all = begin(bytes)?;
    // Where it begins is only known when all were counted.
    let (mut counting, mut count) = (all, 0);
    while !counting.is_empty() {
        counting.framed()?;
        count += 1;
    }
    let mut offset = last.checked_sub(count).ok_or(WireError::Range)?;
    let (mut reader, mut timestamp) = (all, 0);
    while !reader.is_empty() {
        let mut event = reader.framed()?;
        offset += 1;
        let record = read_record(&mut event, &mut timestamp)?;
        each(Logged {
            offset,
            timestamp,
            record,
        });
    }
    Ok(())
}

fn read_record<'a>(event: &mut Reader<'a>, timestamp: &mut i64) -> Result<Record<'a>, WireError> {
    let message_type = MessageType::from_number(event.u8()?.into()).ok_or(WireError::Unknown)?;
    let payload_kind = match event.u8()? {
        1 => PayloadKind::Json,
        2 => PayloadKind::Text,
        3 => PayloadKind::Bytes,
        _ => return Err(WireError::Unknown),
    };
    let [silent, protobuf, is_service] = event.flags()?;
    *timestamp = timestamp.wrapping_add(event.signed()?);
    let author = event.text()?;
    let (client_id, service) = if is_service {
        ("", author)
    } else {
        (author, "")
    };
    Ok(Record {
        message_type,
        payload_kind,
        format: if protobuf {
            Format::Protobuf
        } else {
            Format::Json
        },
        silent,
        client_id,
        service,
        user_id: event.text()?,
        name: event.text()?,
        player_num: event.varint()?,
        seq: event.varint()?,
        payload: event.bytes()?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Offset, time, number and payload.
    pub(crate) type Event = (u64, i64, u64, Vec<u8>);

    pub(crate) fn events(bytes: &[u8], last: u64) -> Result<Vec<Event>, WireError> {
        let mut all = Vec::new();
        read_events(bytes, last, |it| {
            let record = it.record;
            all.push((it.offset, it.timestamp, record.seq, record.payload.to_vec()));
        })?;
        Ok(all)
    }

    #[test]
    fn who_sent_an_event_comes_back() {
        let member = Record {
            client_id: "c1",
            user_id: "ann",
            player_num: 7,
            ..Record::default()
        };
        let service = Record {
            user_id: "bob",
            service: "shop",
            ..Record::default()
        };
        for record in [member, service] {
            let mut writer = EventWriter::new();
            let (offset, timestamp) = (3, 1_000);
            writer.push(&Logged {
                offset,
                timestamp,
                record,
            });
            let mut read = Vec::new();
            let bytes = writer.finish();
            let each = |event: Logged<'_>| read.push(format!("{:?}", event.record));
            read_events(&bytes, offset, each).unwrap();
            assert_eq!(read, [format!("{record:?}")]);
        }
    }

    proptest! {
        #[test]
        fn events_come_back(
            all in vec((any::<i64>(), any::<u64>(), vec(any::<u8>(), 0..300)), 0..10),
            before in 0..u64::MAX / 2,
        ) {
            let mut writer = EventWriter::new();
            for (timestamp, seq, payload) in &all {
                let record = Record { seq: *seq, payload, ..Record::default() };
                writer.push(&Logged { offset: 0, timestamp: *timestamp, record });
            }
            let told = all.into_iter().zip(before + 1..).map(|((timestamp, seq, payload), offset)| {
                (offset, timestamp, seq, payload)
            });
            let told: Vec<_> = told.collect();
            prop_assert_eq!(events(&writer.finish(), before + told.len() as u64), Ok(told));
        }
    }
}
