//! The wake-up between threads: one atomic a shard.
//!
//! A system call per message would cost more than the message. So a sender wakes the shard only when it sleeps, and
//! the shard goes to sleep only when nobody has rung since it last looked into its mailbox.

use std::sync::atomic::{AtomicU8, Ordering};

/// The shard is at work and has looked at everything that was there when it last answered.
const AWAKE: u8 = 0;
/// The shard sleeps, or is about to, and needs to be woken.
const ASLEEP: u8 = 1;
/// Something was put into the mailbox since the shard last answered.
const RUNG: u8 = 2;

/// Wakes a shard when it sleeps.
#[derive(Debug)]
pub(super) struct Bell<W = mio::Waker, A = AtomicU8> {
    state: A,
    waker: W,
}

impl<W: Wake, A: State> Bell<W, A> {
    pub(super) fn new(waker: W) -> Bell<W, A> {
        Bell {
            state: A::new(AWAKE),
            waker,
        }
    }

    /// For senders, after they have put something into the mailbox.
    pub(super) fn ring(&self) {
        if self.state.swap(RUNG) == ASLEEP {
            self.waker.wake();
        }
    }

    /// For the shard, before it looks: whether anybody has rung since the last call.
    pub(super) fn answer(&self) -> bool {
        self.state.swap(AWAKE) == RUNG
    }

    /// For the shard, when it has nothing to do: false when somebody has rung since it looked.
    pub(super) fn fall_asleep(&self) -> bool {
        self.state.replace(AWAKE, ASLEEP)
    }
}

/// Ends the sleep of a thread, or keeps its next one from beginning.
pub(super) trait Wake {
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        if let Err(error) = mio::Waker::wake(self) {
            tracing::error!(%error, "a shard could not be woken");
        }
    }
}

/// What the bell needs of an atomic: read-modify-writes that acquire and release, so that whoever sees another's mark
/// sees what that one did before.
pub(super) trait State {
    fn new(value: u8) -> Self;
    fn swap(&self, value: u8) -> u8;
    fn replace(&self, old: u8, new: u8) -> bool;
}

impl State for AtomicU8 {
    fn new(value: u8) -> AtomicU8 {
        AtomicU8::new(value)
    }

    fn swap(&self, value: u8) -> u8 {
        AtomicU8::swap(self, value, Ordering::AcqRel)
    }

    fn replace(&self, old: u8, new: u8) -> bool {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Mutex, Notify};

    use super::*;

    type LoomAtomic = loom::sync::atomic::AtomicU8;

    impl State for LoomAtomic {
        fn new(value: u8) -> LoomAtomic {
            LoomAtomic::new(value)
        }

        fn swap(&self, value: u8) -> u8 {
            LoomAtomic::swap(self, value, Ordering::AcqRel)
        }

        fn replace(&self, old: u8, new: u8) -> bool {
            self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        }
    }

    impl Wake for Arc<Notify> {
        fn wake(&self) {
            self.notify();
        }
    }

    /// Under every interleaving of two senders and a shard with up to three preemptions: all messages arrive, and the
    /// shard never sleeps on one.
    #[test]
    fn nothing_is_slept_through() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let notify = Arc::new(Notify::new());
            let bell = Arc::new(Bell::<_, LoomAtomic>::new(Arc::clone(&notify)));
            let queue = Arc::new(Mutex::new(0));
            let senders = [1, 1].map(|message| {
                let (bell, queue) = (Arc::clone(&bell), Arc::clone(&queue));
                loom::thread::spawn(move || {
                    *queue.lock().unwrap() += message;
                    bell.ring();
                })
            });
            let mut taken = 0;
            while taken < 2 {
                if bell.answer() {
                    taken += std::mem::take(&mut *queue.lock().unwrap());
                }
                // A missed wake-up leaves all threads blocked here, which loom reports.
                if taken < 2 && bell.fall_asleep() {
                    notify.wait();
                }
            }
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
        });
    }

    /// A shard at work is not woken.
    #[test]
    fn a_shard_at_work_costs_no_wake_up() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        loom::model(|| {
            let bell = Bell::<_, LoomAtomic>::new(Count(AtomicUsize::new(0)));
            bell.ring();
            bell.ring();
            assert_eq!(bell.waker.0.load(Ordering::Relaxed), 0);
            assert!(!bell.fall_asleep(), "it has to look first");
            assert!(bell.answer());
            assert!(bell.fall_asleep());
            bell.ring();
            bell.ring();
            assert_eq!(bell.waker.0.load(Ordering::Relaxed), 1, "once is enough");
        });
    }
}
