//! What the core asks of a shard: the frames of RFC 6455, random numbers from the seed, and tokens that name a user.

use std::cell::RefCell;
use std::rc::Rc;

use roomcast_core::log::Epoch;
use roomcast_core::settings::Compression;
use roomcast_core::store::NodeId;
use roomcast_core::{
    Control, Encoding, Grant, Host, Identity, LogNews, Notice, Now, Rights, Rooms, TokenFault,
};
use roomcast_protocol::Format;
use roomcast_websocket::{CloseFrame, Opcode, close, frame};

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::random::Random;

pub(crate) struct SimHost {
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) stopwatch: u64,
    /// Microseconds that pass between two looks at it.
    pub(crate) stopwatch_step: u64,
}

impl Host for SimHost {
    fn frame(&mut self, encoding: Encoding, _: &Compression, message: &[u8], out: &mut Vec<u8>) {
        let opcode = match encoding.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        };
        frame::write_frame(out, opcode, true, false, message, None);
    }

    fn control(&mut self, control: Control<'_>, out: &mut Vec<u8>) {
        match control {
            Control::Ping => frame::write_frame(out, Opcode::Ping, true, false, &[], None),
            Control::Pong(data) => frame::write_frame(out, Opcode::Pong, true, false, data, None),
            Control::Close { code, .. } if code == close::code::NO_STATUS => {
                frame::write_close(out, None, None);
            }
            Control::Close { code, reason } => {
                frame::write_close(out, Some(CloseFrame { code, reason }), None);
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn stopwatch(&mut self) -> u64 {
        self.stopwatch += self.stopwatch_step;
        self.stopwatch
    }

    /// `USER ENDS`: everything is allowed, until `ENDS` in milliseconds since the Unix epoch; with ` none` behind it,
    /// nothing.
    fn verify(&mut self, unix_ms: i64, token: &str) -> Result<Identity, TokenFault> {
        let (user, rest) = token
            .split_once(' ')
            .ok_or(TokenFault::Bad("the token is not good"))?;
        let (ends, nothing) = match rest.strip_suffix(" none") {
            Some(ends) => (ends, true),
            None => (rest, false),
        };
        let expires_at = ends.parse().unwrap_or(0);
        if expires_at <= unix_ms {
            return Err(TokenFault::Bad("the token has expired"));
        }
        let everything = Grant {
            rooms: Rooms::All,
            rights: Rights::ALL,
        };
        Ok(Identity {
            user_id: user.into(),
            name: "".into(),
            grants: if nothing {
                Vec::new()
            } else {
                vec![everything]
            },
            direct: !nothing,
            expires_at,
        })
    }

    fn notice(&mut self, _: Notice<'_>) {}

    fn log_news(&mut self, now: Now, room: &str, epoch: &Epoch, news: LogNews<'_>) {
        let now = self.clock.truth(now);
        let mut ledger = self.ledger.borrow_mut();
        ledger.note(now, self.node, room, epoch, news);
    }
}
