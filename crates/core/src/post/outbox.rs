//! The sending side of a link: pieces of letters, kept until the other node has acked them.

use std::collections::VecDeque;

use roomcast_protocol::mutated;

use super::datagram::Piece;
use super::round_trip::RoundTrip;
use super::settings::PostSettings;
use super::{Letter, PostStats};

/// Bytes that a kept piece costs beside its own.
const AROUND_KEPT: usize = 64;

#[derive(Debug)]
pub(super) struct Outbox {
    /// Pieces without an ack, in the order of their numbers. The first has number `acked + 1`.
    kept: VecDeque<Piece<Box<[u8]>>>,
    bytes: usize,
    acked: u64,
    /// The number of the piece that is sent next.
    next: u64,
    /// The highest number that was ever sent.
    sent: u64,
    /// Up to this number pieces are sent as soon as may be.
    urgent: u64,
    /// When the others are sent, if none goes before.
    later_at: Option<u64>,
    /// A letter was refused, and whoever had it waits for room.
    wanted: bool,
    /// When all without an ack is sent again.
    again_at: Option<u64>,
    /// That is for the datagram that the channel is about to take.
    again_is_new: bool,
    /// Microseconds from sending until sending again.
    timeout: u64,
    round_trip: RoundTrip,
    pace: Pace,
    /// The last ack that told of a gap. What follows it was sent again at once, and is not for the same ack.
    gap_told: Option<u64>,
}

/// How much may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    All,
    /// Nothing was acked in time: one datagram, until something is. So a channel that is back after a while does not
    /// get everything again from everybody.
    OneDatagram,
    Nothing,
}

impl Outbox {
    pub(super) fn new(settings: &PostSettings) -> Outbox {
        Outbox {
            kept: VecDeque::new(),
            bytes: 0,
            acked: 0,
            next: 1,
            sent: 0,
            urgent: 0,
            later_at: None,
            wanted: false,
            again_at: None,
            again_is_new: false,
            timeout: settings.again,
            round_trip: RoundTrip::default(),
            pace: Pace::All,
            gap_told: None,
        }
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pieces that are kept.
    pub(super) fn pieces(&self) -> usize {
        self.kept.len()
    }

    /// Takes a letter. One that there is no room for is given back; where nothing is kept there is room for any.
    pub(super) fn push(&mut self, letter: Letter, settings: &PostSettings) -> Result<(), Letter> {
        let most = settings.most_piece();
        let pieces = letter.bytes.len().div_ceil(most).max(1);
        let cost = letter.bytes.len() + pieces * AROUND_KEPT;
        let full = self.bytes + cost > settings.window && !mutated!("post_has_no_bound");
        if full && !self.kept.is_empty() {
            self.wanted = true;
            return Err(letter);
        }
        self.bytes += cost;
        let piece = |bytes: Box<[u8]>, continues| Piece {
            to_shard: letter.to_shard,
            from_shard: letter.from_shard,
            continues,
            bytes,
        };
        if pieces == 1 {
            self.kept.push_back(piece(letter.bytes, false));
        } else {
            let parts = letter.bytes.chunks(most).enumerate();
            let parts = parts.map(|(at, part)| piece(part.into(), at + 1 < pieces));
            self.kept.extend(parts);
        }
        Ok(())
    }

    /// All that is kept is sent as soon as may be.
    pub(super) fn hurry(&mut self) {
        self.urgent = self.last();
    }

    /// What was taken last may wait for others until then.
    pub(super) fn may_wait(&mut self, until: u64) {
        self.later_at.get_or_insert(until);
    }

    /// Whether there is room again for whoever was refused. Tells it once.
    pub(super) fn has_room_again(&mut self, settings: &PostSettings) -> bool {
        let room = self.wanted && self.bytes <= settings.window / 2;
        self.wanted &= !room;
        room && !mutated!("room_is_not_told")
    }

    /// When there is something to send.
    pub(super) fn due_at(&self) -> Option<u64> {
        let urgent = self.next <= self.urgent;
        let at = self.later_at.filter(|_| !urgent).unwrap_or(0);
        self.has_more().then_some(at)
    }

    fn has_more(&self) -> bool {
        self.pace != Pace::Nothing && self.next <= self.last()
    }

    /// When everything is sent again.
    pub(super) fn again_at(&self) -> Option<u64> {
        self.again_at
    }

    /// The number of the first piece that [`Outbox::fill`] would write.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Appends pieces to a datagram until it has `most` bytes, and says whether it has taken all.
    pub(super) fn fill(
        &mut self,
        now: u64,
        most: usize,
        out: &mut Vec<u8>,
        stats: &mut PostStats,
    ) -> bool {
        if self.pace == Pace::Nothing {
            return true;
        }
        let first = self.next;
        // Below the number of kept pieces, which are in memory.
        let skipped = (self.next - self.acked - 1) as usize;
        for piece in self.kept.iter().skip(skipped) {
            if out.len() + piece.length() > most {
                break;
            }
            piece.write(out);
            self.next += 1;
        }
        let repeated = (self.sent + 1).clamp(first, self.next) - first;
        stats.pieces_again += repeated;
        stats.pieces_sent += self.next - first - repeated;
        self.sent = self.sent.max(self.next - 1);
        if repeated > 0 {
            self.round_trip.again();
        } else if self.next > first {
            self.round_trip.sent(now, self.sent);
        }
        if self.next > first {
            if self.again_at.is_none() {
                self.again_at = Some(now + self.timeout);
                self.again_is_new = true;
            }
            if self.pace == Pace::OneDatagram {
                self.pace = Pace::Nothing;
            }
        }
        if self.next > self.last() {
            self.later_at = None;
        }
        !self.has_more()
    }

    /// The channel has taken what was written: the time until it is sent again begins.
    pub(super) fn taken(&mut self, now: u64) {
        let new = std::mem::take(&mut self.again_is_new);
        if let Some(again_at) = self.again_at.as_mut().filter(|_| new) {
            *again_at = now + self.timeout;
        }
    }

    /// Sends again what has no ack, where it is time.
    pub(super) fn time(&mut self, now: u64, settings: &PostSettings) {
        if self.again_at.is_none_or(|at| now < at) || mutated!("nothing_is_sent_again") {
            return;
        }
        self.again_at = None;
        self.timeout = (2 * self.timeout).min(settings.again_most);
        self.next = self.acked + 1;
        self.hurry();
        self.pace = Pace::OneDatagram;
        self.gap_told = None;
        self.round_trip.again();
    }

    /// The other node has everything up to `ack`, and with `gap` something behind it that it can't use yet. `false`:
    /// it can't have that.
    pub(super) fn acked(
        &mut self,
        now: u64,
        ack: u64,
        gap: bool,
        settings: &PostSettings,
        stats: &mut PostStats,
    ) -> bool {
        if ack > self.sent {
            return false;
        }
        if ack > self.acked {
            let count = (ack - self.acked) as usize;
            for piece in self.kept.drain(..count.min(self.kept.len())) {
                self.bytes -= piece.bytes.len() + AROUND_KEPT;
            }
            stats.pieces_acked += count as u64;
            self.acked = ack;
            self.next = self.next.max(ack + 1);
            // Else it stays as long as it has become: an ack of what was sent twice does not say when it was.
            if let Some(wait) = self.round_trip.acked(now, ack) {
                let most = settings.again_most.max(settings.again);
                self.timeout = wait.clamp(settings.again, most);
            }
            self.pace = Pace::All;
            self.again_at = (self.next > ack + 1).then_some(now + self.timeout);
        }
        if gap && ack == self.acked && self.gap_told != Some(ack) {
            self.gap_told = Some(ack);
            self.next = ack + 1;
            self.hurry();
            self.pace = Pace::All;
        }
        true
    }

    fn last(&self) -> u64 {
        self.acked + self.kept.len() as u64
    }
}
