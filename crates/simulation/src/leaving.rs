//! What leaves the server, looked at while it leaves: nothing that the store has not confirmed.

use roomcast_protocol::Format;
use roomcast_protocol::client::{ServerBody, ServerMessage, decode_server};

use crate::ledger::Ledger;
use crate::store::Cloud;

/// The bytes of one socket, put together to messages.
#[derive(Default)]
pub(crate) struct Leaving(Vec<u8>);

impl Leaving {
    /// These bytes leave.
    pub(crate) fn look(&mut self, bytes: &[u8], cloud: &Cloud, truth: &mut Ledger) {
        self.0.extend_from_slice(bytes);
        let mut rest = &self.0[..];
        while let Some((opcode, start, end)) = frame(rest) {
            let format = match opcode {
                1 => Some(Format::Json),
                2 => Some(Format::Protobuf),
                _ => None,
            };
            if let Some(format) = format {
                let message = decode_server(format, &rest[start..end]);
                check(&message.expect("a message"), cloud, truth);
            }
            rest = &rest[end..];
        }
        let done = self.0.len() - rest.len();
        self.0.drain(..done);
    }
}

/// The first whole frame: its opcode, and where its payload is. Servers mask nothing.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (bytes.first()? & 15, *bytes.get(1)?);
    let (start, length) = match length {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            (10, u64::from_be_bytes(length) as usize)
        }
        length => (2, usize::from(length)),
    };
    (bytes.len() >= start + length).then_some((opcode, start, start + length))
}

fn check(message: &ServerMessage<'_>, cloud: &Cloud, truth: &mut Ledger) {
    let room = &*message.room_id;
    if room.is_empty() {
        return;
    }
    let mut offset = |epoch: &str, offset: u64| {
        let own = cloud.confirmed(room, epoch);
        // The log may have got another name before it was confirmed.
        let names = truth.logs.iter().filter(|log| log.room == room);
        let later = names.filter(|log| truth.goes_on(room, (epoch, offset), &log.epoch));
        let later = later.map(|log| cloud.confirmed(room, &log.epoch));
        let confirmed = match offset <= own {
            true => own,
            false => later.max().unwrap_or(own),
        };
        assert!(
            offset <= confirmed,
            "{offset} of {room} leaves, and {confirmed} is confirmed: {message:?}"
        );
        truth.told(room, epoch, offset);
    };
    if message.offset > 0 {
        offset(&message.epoch, message.offset);
    }
    match &message.body {
        ServerBody::Joined(joined) => {
            offset(&joined.epoch, joined.offset);
            let player = joined.player_num;
            assert!(
                cloud.had_player(room, player),
                "player {player} of {room} is told to be in, and is in no record"
            );
        }
        ServerBody::History { events, epoch, .. } => {
            for event in events {
                offset(epoch, event.offset);
            }
        }
        ServerBody::Ack(pairs) => {
            let confirmed = cloud.confirmed_in(room);
            let newest = pairs.iter().map(|(_, offset)| *offset).max();
            assert!(
                newest.unwrap_or(0) <= confirmed,
                "{pairs:?} of {room} are acked, and {confirmed} is confirmed"
            );
        }
        _ => {}
    }
}
