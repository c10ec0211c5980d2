//! An event as a log keeps it: what is needed to tell it again, in any format.

use std::collections::VecDeque;

use roomcast_protocol::{Format, MessageType, PayloadKind, Sender};

/// An event on its way into a room's log, or out of it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `PLAYER_JOINED`, `PLAYER_LEFT`, `CHAT`, `EVENT` or `GAME_ACTION`.
    pub message_type: MessageType,
    /// What the payload is.
    pub payload_kind: PayloadKind,
    /// The form of an action's payload.
    pub format: Format,
    /// The sender does not get it back.
    pub silent: bool,
    /// Whose it is, by session; empty for the room's own, and for a service's.
    pub client_id: &'a str,
    /// That one's user, or the user that the service names; empty where there is none.
    pub user_id: &'a str,
    /// That one's number in the room; 0 where there is none.
    pub player_num: u32,
    /// The service that sent it; empty where a client did, or the room itself.
    pub service: &'a str,
    /// The sender's number for it; 0 for none.
    pub seq: u64,
    /// An event's name; the nickname of one who joined.
    pub name: &'a str,
    /// The payload; the presence of one who joined.
    pub payload: &'a [u8],
}

impl Default for Record<'_> {
    fn default() -> Self {
        Record {
            message_type: MessageType::Event,
            payload_kind: PayloadKind::Json,
            format: Format::Json,
            silent: false,
            client_id: "",
            user_id: "",
            player_num: 0,
            service: "",
            seq: 0,
            name: "",
            payload: &[],
        }
    }
}

/// A record with its place in a room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// From 1, without gaps.
    pub offset: u64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The event.
    pub record: Record<'a>,
}

/// Type, flags, `player_num`, `seq`, and the lengths of three texts.
const HEADER: usize = 2 + 4 + 8 + 3 * 2;
const SILENT: u8 = 1 << 7;
const PROTOBUF: u8 = 1 << 6;
/// The first text is not a client's id but a service's name: there is never both.
const SERVICE: u8 = 1 << 5;

impl<'a> Record<'a> {
    /// Who it is from.
    pub fn sender(&self) -> Sender<'a> {
        Sender {
            client_id: self.client_id,
            user_id: self.user_id,
            player_num: self.player_num,
            service: self.service,
        }
    }

    pub(super) fn write(&self, out: &mut VecDeque<u8>) {
        let mut header = [0; HEADER];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(place) = header.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        let silent = if self.silent { SILENT } else { 0 };
        let protobuf = if self.format == Format::Protobuf {
            PROTOBUF
        } else {
            0
        };
        let (service, author) = if self.service.is_empty() {
            (0, self.client_id)
        } else {
            (SERVICE, self.service)
        };
        put(&[
            self.message_type as u8,
            silent | protobuf | service | self.payload_kind as u8,
        ]);
        put(&self.player_num.to_le_bytes());
        put(&self.seq.to_le_bytes());
        let texts = [author, self.user_id, self.name];
        for text in texts {
            put(&length(text).to_le_bytes());
        }
        let needed = texts.iter().fold(HEADER + self.payload.len(), |sum, text| {
            sum + usize::from(length(text))
        });
        if out.capacity() - out.len() < needed {
            // By a half, not by doubling: most rooms are small, and say little.
            out.reserve_exact(needed.max(out.len() / 2));
        }
        out.extend(&header);
        for text in texts {
            let length = usize::from(length(text));
            out.extend(text.as_bytes().get(..length).unwrap_or_default());
        }
        out.extend(self.payload);
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (header, mut rest) = bytes.split_at_checked(HEADER)?;
        let message_type = *header.first()?;
        let flags = *header.get(1)?;
        let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let player_num = u32::from_le_bytes(header.get(2..6)?.try_into().ok()?);
        let seq = u64::from_le_bytes(header.get(6..14)?.try_into().ok()?);
        let mut text = |at: usize| {
            let (text, after) = rest.split_at_checked(usize::from(number(at)))?;
            rest = after;
            std::str::from_utf8(text).ok()
        };
        let (author, user_id, name) = (text(14)?, text(16)?, text(18)?);
        let (client_id, service) = match flags & SERVICE {
            0 => (author, ""),
            _ => ("", author),
        };
        Some(Record {
            message_type: MessageType::from_number(u64::from(message_type))?,
            payload_kind: match flags & 3 {
                2 => PayloadKind::Text,
                3 => PayloadKind::Bytes,
                _ => PayloadKind::Json,
            },
            format: if flags & PROTOBUF == 0 {
                Format::Json
            } else {
                Format::Protobuf
            },
            silent: flags & SILENT != 0,
            client_id,
            user_id,
            player_num,
            service,
            seq,
            name,
            payload: rest,
        })
    }
}

/// Names are bounded far below this where they are read.
fn length(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let record = Record {
            message_type: MessageType::GameAction,
            payload_kind: PayloadKind::Bytes,
            format: Format::Protobuf,
            silent: true,
            client_id: "client",
            user_id: "ünser",
            player_num: 70_000,
            service: "",
            seq: 1 << 53,
            name: "name",
            payload: b"\0payload",
        };
        let of_a_service = Record {
            client_id: "",
            service: "shop",
            ..record
        };
        for record in [record, of_a_service, Record::default()] {
            let mut bytes = VecDeque::new();
            record.write(&mut bytes);
            assert_eq!(Record::read(bytes.make_contiguous()), Some(record));
        }
    }
}
