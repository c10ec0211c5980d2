//! The receiving side of a link: what comes in its order is delivered, what comes before its turn is not kept.
//!
//! A channel that loses datagrams loses few of them at a time, and none in its ordinary course. So what follows a gap
//! is sent again, and nothing is stored for it here.

use roomcast_protocol::mutated;

use super::datagram::Piece;
use super::settings::PostSettings;
use super::{Letter, MOST_LETTER, PostStats};

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The number of the last piece that has come.
    last: u64,
    /// A letter whose last piece has not come yet.
    begun: Option<Letter<Vec<u8>>>,
    /// Bytes that have come since the last ack.
    unacked: usize,
    ack_at: Option<u64>,
    gap: bool,
}

/// A letter is larger than any may be: the other node does not do as this one.
#[derive(Debug)]
pub(super) struct TooLarge;

impl Inbox {
    /// When the other node is told at the latest how far its pieces have come.
    pub(super) fn ack_at(&self) -> Option<u64> {
        self.ack_at
    }

    /// That the other node is told at once.
    pub(super) fn answer(&mut self, now: u64) {
        self.ack_at = Some(now);
    }

    /// What the other node is told: the number of the last piece, and whether one behind it has come.
    pub(super) fn ack(&mut self) -> (u64, bool) {
        self.unacked = 0;
        self.ack_at = None;
        let early = u64::from(mutated!("ack_of_what_did_not_come"));
        (self.last + early, std::mem::take(&mut self.gap))
    }

    /// Takes pieces, of which the first has this number, and gives out the letters that are complete.
    pub(super) fn take(
        &mut self,
        now: u64,
        first: u64,
        pieces: &[Piece<&[u8]>],
        settings: &PostSettings,
        stats: &mut PostStats,
        mut deliver: impl FnMut(Letter),
    ) -> Result<(), TooLarge> {
        if pieces.is_empty() {
            return Ok(());
        }
        if first > self.last + 1 && !mutated!("missing_piece_is_passed_over") {
            stats.gaps += 1;
            self.gap = true;
            self.answer(now);
            return Ok(());
        }
        let known = (self.last + 1).saturating_sub(first);
        let known = if mutated!("piece_comes_twice") {
            0
        } else {
            known.min(pieces.len() as u64) as usize
        };
        stats.pieces_repeated += known as u64;
        let fresh = &pieces[known..];
        self.last += fresh.len() as u64;
        for piece in fresh {
            self.unacked += piece.length();
            if let Some(letter) = self.piece(piece)? {
                stats.letters_delivered += 1;
                deliver(letter);
            }
        }
        if fresh.is_empty() || self.unacked >= settings.ack_bytes {
            self.answer(now);
        } else {
            self.ack_at.get_or_insert(now + settings.ack_delay);
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece<&[u8]>) -> Result<Option<Letter>, TooLarge> {
        let begun = self.begun.take();
        if begun.is_none() && !piece.continues {
            return Ok(Some(Letter {
                to_shard: piece.to_shard,
                from_shard: piece.from_shard,
                bytes: piece.bytes.into(),
            }));
        }
        let mut letter = begun.unwrap_or_else(|| Letter {
            to_shard: piece.to_shard,
            from_shard: piece.from_shard,
            bytes: Vec::new(),
        });
        if letter.bytes.len() + piece.bytes.len() > MOST_LETTER {
            return Err(TooLarge);
        }
        letter.bytes.extend_from_slice(piece.bytes);
        if piece.continues {
            self.begun = Some(letter);
            return Ok(None);
        }
        Ok(Some(Letter {
            to_shard: letter.to_shard,
            from_shard: letter.from_shard,
            bytes: letter.bytes.into(),
        }))
    }
}
