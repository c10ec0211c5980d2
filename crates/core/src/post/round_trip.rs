//! How long the other node takes to ack, and so how long to wait before sending again (as RFC 6298 does for TCP).

/// Microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    /// Smoothed, and how far single ones are from it; `None` before the first.
    known: Option<(u64, u64)>,
    /// The piece whose ack is timed, and when it was sent.
    timed: Option<(u64, u64)>,
}

impl RoundTrip {
    /// Pieces up to this one were sent for the first time.
    pub(super) fn sent(&mut self, now: u64, last: u64) {
        self.timed.get_or_insert((last, now));
    }

    /// Something is sent again: which of the two an ack is for can't be told.
    pub(super) fn again(&mut self) {
        self.timed = None;
    }

    /// Pieces up to this one are acked. How long to wait for the next ack, where this one tells.
    pub(super) fn acked(&mut self, now: u64, ack: u64) -> Option<u64> {
        let (_, sent) = self.timed.filter(|(timed, _)| *timed <= ack)?;
        self.timed = None;
        let took = now.saturating_sub(sent);
        let (smooth, off) = match self.known {
            None => (took, took / 2),
            Some((smooth, off)) => {
                let off = (3 * off + smooth.abs_diff(took)) / 4;
                ((7 * smooth + took) / 8, off)
            }
        };
        self.known = Some((smooth, off));
        Some(smooth + 4 * off)
    }
}
