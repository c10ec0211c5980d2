//! What the core asks of a shard: frames, randomness, a stopwatch, log lines.

use std::sync::Arc;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use roomcast_core::authorize::Inquiry;
use roomcast_core::fact::Fact;
use roomcast_core::settings::Compression;
use roomcast_core::{Control, Encoding, Host, Identity, Notice, Span, TokenFault};
use roomcast_protocol::Format;
use roomcast_websocket::{CloseFrame, Deflater, Opcode, close, frame};

use crate::auth::Authority;
use crate::authorize::Asker;
use crate::clock::Clock;
use crate::spans::Tracer;
use crate::webhooks::Intake;

/// Levels of compression that there are, 1 to 9.
const LEVELS: usize = 10;
/// Window bits of every compressed frame: one frame serves all connections that agreed to compression.
const WINDOW_BITS: u8 = 15;

/// The host of one shard.
pub(crate) struct ShardHost {
    clock: Clock,
    /// What tokens are checked with, where that is configured.
    authority: Option<Arc<Authority>>,
    /// Where facts are left, if anybody is told.
    pub(super) intake: Option<Arc<Intake>>,
    /// Where backends are asked, and which shard asks.
    pub(super) asker: Option<(Arc<Asker>, u16)>,
    random: ChaCha12Rng,
    /// One a level, made when it is first needed: each holds about 300 KiB.
    deflaters: [Option<Box<Deflater>>; LEVELS],
    compressed: Vec<u8>,
    pub(crate) compression: CompressionStats,
    notices: super::notices::Notices,
    /// Where steps of messages that are traced go, and as whose.
    tracer: Option<(Tracer, u16)>,
}

/// What compression did, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompressionStats {
    /// Messages compressed, once for all their receivers.
    pub(crate) messages: u64,
    /// Their bytes before.
    pub(crate) bytes_in: u64,
    /// Their bytes after.
    pub(crate) bytes_out: u64,
}

impl ShardHost {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(
        clock: Clock,
        authority: Option<Arc<Authority>>,
        tracer: Option<(Tracer, u16)>,
    ) -> std::io::Result<ShardHost> {
        let random =
            ChaCha12Rng::try_from_rng(&mut rand::rngs::SysRng).map_err(std::io::Error::other)?;
        Ok(ShardHost {
            clock,
            authority,
            intake: None,
            asker: None,
            random,
            deflaters: std::array::from_fn(|_| None),
            compressed: Vec::new(),
            compression: CompressionStats::default(),
            notices: Default::default(),
            tracer,
        })
    }

    /// Sums up in the log what happened more often than it was logged.
    pub(super) fn sum_up(&mut self) {
        self.notices.sum_up(self.clock.micros());
    }

    /// Compresses a message, and says whether that made it smaller.
    fn compress(&mut self, compression: &Compression, message: &[u8]) -> bool {
        let level = compression.level.clamp(1, 9);
        let Some(deflater) = self.deflaters.get_mut(usize::from(level)) else {
            return false;
        };
        let deflater =
            deflater.get_or_insert_with(|| Box::new(Deflater::new(level, WINDOW_BITS, false)));
        self.compressed.clear();
        deflater.compress(message, &mut self.compressed);
        self.compression.messages += 1;
        self.compression.bytes_in += message.len() as u64;
        self.compression.bytes_out += self.compressed.len().min(message.len()) as u64;
        self.compressed.len() < message.len()
    }
}

impl Host for ShardHost {
    fn frame(
        &mut self,
        encoding: Encoding,
        compression: &Compression,
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        let opcode = match encoding.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        };
        let wanted =
            encoding.deflate && compression.enabled && message.len() >= compression.threshold;
        if wanted && self.compress(compression, message) {
            frame::write_frame(out, opcode, true, true, &self.compressed, None);
        } else {
            frame::write_frame(out, opcode, true, false, message, None);
        }
    }

    fn control(&mut self, control: Control<'_>, out: &mut Vec<u8>) {
        match control {
            Control::Ping => frame::write_frame(out, Opcode::Ping, true, false, &[], None),
            Control::Pong(data) => frame::write_frame(out, Opcode::Pong, true, false, data, None),
            // The answer to a close frame without a code has none either.
            Control::Close {
                code: close::code::NO_STATUS,
                ..
            } => {
                frame::write_close(out, None, None);
            }
            Control::Close { code, reason } => {
                frame::write_close(out, Some(CloseFrame { code, reason }), None);
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.random.random()
    }

    fn stopwatch(&mut self) -> u64 {
        self.clock.micros()
    }

    fn verify(&mut self, unix_ms: i64, token: &str) -> Result<Identity, TokenFault> {
        match &self.authority {
            Some(authority) => authority.verify(unix_ms, token),
            None => Err(TokenFault::NotSupported),
        }
    }

    fn fact(&mut self, fact: Fact) {
        if let Some(intake) = &self.intake {
            intake.put(fact);
        }
    }

    fn facts_lost(&mut self, count: u64) {
        if let Some(intake) = &self.intake {
            intake.lose(count);
        }
    }

    fn ask(&mut self, inquiry: Inquiry) {
        if let Some((asker, shard)) = &self.asker {
            asker.ask(*shard, inquiry);
        }
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.notices.log(self.clock.micros(), notice);
    }

    fn span(&mut self, span: Span) {
        if let Some((tracer, shard)) = &self.tracer {
            tracer.step(span, *shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> ShardHost {
        ShardHost::new(Clock::start(), None, None).unwrap()
    }

    fn framed(message: &[u8], deflate: bool, compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        let encoding = Encoding {
            format: Format::Json,
            deflate,
        };
        host().frame(encoding, &compression, message, &mut out);
        out
    }

    #[test]
    fn only_long_messages_that_shrink_are_compressed() {
        let compressible = vec![b'a'; 256];
        let mut random = host();
        let incompressible: Vec<u8> = (0..400).map(|_| random.random() as u8).collect();
        let rsv1 = |frame: Vec<u8>| frame[0] & 0x40 != 0;
        let on = Compression::default();
        let off = Compression {
            enabled: false,
            ..on
        };
        assert!(rsv1(framed(&compressible, true, on)));
        assert!(!rsv1(framed(&compressible, false, on)), "not agreed");
        assert!(!rsv1(framed(&compressible, true, off)), "off for the kind");
        assert!(
            !rsv1(framed(&compressible[..255], true, on)),
            "below the threshold"
        );
        assert!(
            !rsv1(framed(&incompressible, true, on)),
            "would not get smaller"
        );
    }

    #[test]
    fn tokens_in_messages_are_checked_with_the_same_keys() {
        use crate::auth::testing::{NOW, SECRET, hs256};
        let token = hs256(&serde_json::json!({"sub": "u7", "exp": NOW + 60}));
        let without = host().verify(NOW * 1_000, &token);
        assert_eq!(without, Err(TokenFault::NotSupported));
        let settings = crate::config::AuthSettings {
            hs256_secret: SECRET.to_owned().into(),
            ..Default::default()
        };
        let authority = Authority::load(&settings, &Default::default()).unwrap();
        let mut host = ShardHost::new(Clock::start(), authority, None).unwrap();
        let identity = host.verify(NOW * 1_000, &token).unwrap();
        assert_eq!(&*identity.user_id, "u7");
        // With the time that the core gives, not that of a clock.
        let late = host.verify(identity.expires_at, &token);
        assert!(matches!(late, Err(TokenFault::Bad(sentence)) if sentence.contains("expired")));
    }

    #[test]
    fn an_unstated_close_code_is_answered_by_none() {
        let mut out = Vec::new();
        host().control(
            Control::Close {
                code: 1005,
                reason: "x",
            },
            &mut out,
        );
        assert_eq!(out, [0x88, 0]);
        out.clear();
        host().control(
            Control::Close {
                code: 4000,
                reason: "x",
            },
            &mut out,
        );
        assert_eq!(out, [0x88, 3, 0x0f, 0xa0, b'x']);
    }
}
