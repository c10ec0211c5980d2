//! Whether every message reached every member once and in order.
//!
//! Each receiver keeps the next number it expects from each sender of its rooms: four bytes and one comparison per
//! delivery. Only when a number is wrong is anything else remembered.

use std::collections::HashSet;

use super::plan::Shape;
use super::stamp::Stamp;

/// Missing numbers remembered one by one; past it only their count is kept.
const MAX_REMEMBERED: usize = 1 << 20;

/// What went wrong with deliveries. All zero is what a benchmark's figures need to mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries that came more than once.
    pub(crate) twice: u64,
    /// Deliveries that came after a later one of the same sender.
    pub(crate) disordered: u64,
    /// Deliveries to a connection that is not in that room, or with a number that was never sent.
    pub(crate) misdelivered: u64,
    /// Deliveries that the protocol's decoder refused (a sample is decoded).
    pub(crate) undecodable: u64,
    /// `error` messages from the server.
    pub(crate) errors: u64,
    /// Connections that the server ended, or that broke.
    pub(crate) closed: u64,
}

impl Faults {
    /// Whether nothing went wrong.
    pub(crate) fn none(&self) -> bool {
        *self == Faults::default()
    }
}

/// The state of the check.
pub(crate) struct Checker {
    shape: Shape,
    /// By membership, then by the sender's place in the room.
    expected: Vec<u32>,
    missing: HashSet<(u64, u32)>,
}

impl Checker {
    pub(crate) fn new(shape: Shape) -> Checker {
        let size = shape.memberships() as usize * shape.senders as usize;
        Checker {
            shape,
            expected: vec![0; size],
            missing: HashSet::new(),
        }
    }

    /// Checks a delivery. `sent` is how many messages this sender has sent.
    #[inline]
    pub(crate) fn delivered(&mut self, conn: u32, stamp: Stamp, sent: u32, faults: &mut Faults) {
        let Some(index) = self.index(conn, stamp.sender) else {
            faults.misdelivered += 1;
            return;
        };
        let expected = &mut self.expected[index];
        if stamp.counter == *expected && stamp.counter < sent {
            *expected += 1;
            return;
        }
        self.unexpected(index, stamp.counter, sent, faults);
    }

    /// Counts what is still missing when no more will come.
    pub(crate) fn finish(&mut self, sent: &[u32], skip: impl Fn(u32) -> bool, faults: &mut Faults) {
        for membership in 0..self.shape.memberships() {
            if skip(self.shape.conn_of(membership)) {
                continue;
            }
            let room = membership / self.shape.members;
            for slot in 0..self.shape.senders {
                let index = (membership * self.shape.senders + slot) as usize;
                let sender = (room * self.shape.senders + slot) as usize;
                faults.lost += u64::from(sent[sender].saturating_sub(self.expected[index]));
            }
        }
    }

    #[inline]
    fn index(&self, conn: u32, sender: u32) -> Option<usize> {
        let (room, slot) = (sender / self.shape.senders, sender % self.shape.senders);
        let membership = self.shape.membership(conn, room)?;
        Some((membership * self.shape.senders + slot) as usize)
    }

    #[cold]
    fn unexpected(&mut self, index: usize, counter: u32, sent: u32, faults: &mut Faults) {
        let expected = self.expected[index];
        if counter >= sent {
            faults.misdelivered += 1;
        } else if counter > expected {
            faults.lost += u64::from(counter - expected);
            let room = MAX_REMEMBERED.saturating_sub(self.missing.len());
            self.missing.extend(
                (expected..counter)
                    .take(room)
                    .map(|lost| (index as u64, lost)),
            );
            self.expected[index] = counter + 1;
        } else if self.missing.remove(&(index as u64, counter)) {
            faults.lost -= 1;
            faults.disordered += 1;
        } else {
            faults.twice += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(counters: &[u32], sent: u32) -> Faults {
        let mut checker = Checker::new(Shape {
            rooms: 2,
            members: 3,
            senders: 2,
            connections: 6,
        });
        let mut faults = Faults::default();
        for &counter in counters {
            checker.delivered(
                4,
                Stamp {
                    sender: 3,
                    counter,
                    due: 0,
                },
                sent,
                &mut faults,
            );
        }
        // Only sender 3, and of its room only connection 4, are part of this.
        checker.finish(&[0, 0, 0, sent], |conn| conn != 4, &mut faults);
        faults
    }

    #[test]
    fn each_kind_of_fault_is_told_from_the_others() {
        let none = Faults::default();
        assert_eq!(run(&[0, 1, 2, 3], 4), none);
        assert_eq!(run(&[0, 1], 4), Faults { lost: 2, ..none });
        assert_eq!(run(&[0, 3], 4), Faults { lost: 2, ..none });
        assert_eq!(run(&[0, 1, 1, 2], 3), Faults { twice: 1, ..none });
        assert_eq!(
            run(&[0, 2, 1], 3),
            Faults {
                disordered: 1,
                ..none
            }
        );
        assert_eq!(
            run(&[0, 2, 1, 1], 3),
            Faults {
                disordered: 1,
                twice: 1,
                ..none
            }
        );
        assert_eq!(
            run(&[0, 7], 1),
            Faults {
                misdelivered: 1,
                ..none
            }
        );
    }

    #[test]
    fn a_delivery_to_somebody_outside_the_room_is_a_fault() {
        let mut checker = Checker::new(Shape {
            rooms: 2,
            members: 3,
            senders: 2,
            connections: 6,
        });
        let mut faults = Faults::default();
        checker.delivered(
            1,
            Stamp {
                sender: 3,
                counter: 0,
                due: 0,
            },
            1,
            &mut faults,
        );
        checker.delivered(
            1,
            Stamp {
                sender: 99,
                counter: 0,
                due: 0,
            },
            1,
            &mut faults,
        );
        assert_eq!(faults.misdelivered, 2);
    }
}
