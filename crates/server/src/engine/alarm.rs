//! A timer that counts microseconds.
//!
//! A link gathers letters for some hundred of them. tokio's timers count milliseconds: with them each link would wait for
//! one or two.

use std::io;
use std::time::Duration;

/// Rings once, after a time that may be changed until then.
#[derive(Debug)]
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: tokio::net::unix::pipe::Receiver,
}

/// Below this the precise timer is worth its system calls.
const PRECISE: Duration = Duration::from_millis(10);

#[cfg(target_os = "linux")]
impl Alarm {
    /// Call it within the runtime.
    ///
    /// # Errors
    /// The system has no timer for it.
    pub(super) fn new() -> io::Result<Alarm> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use tokio::net::unix::pipe::Receiver;

        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // It is read as a pipe is, and tokio asks for no more.
        let timer = Receiver::from_owned_fd_unchecked(timer)?;
        Ok(Alarm { timer })
    }

    /// Waits so long. It may be given up at any await.
    pub(super) async fn sleep(&mut self, time: Duration) {
        if time >= PRECISE || self.set(time).is_err() {
            return tokio::time::sleep(time).await;
        }
        while self.timer.readable().await.is_ok() {
            // It may be ready of a time that was given up.
            match self.timer.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    fn set(&mut self, time: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Zero would switch it off.
        let after = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(time.subsec_nanos().max(1)),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: after,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// See above.
    ///
    /// # Errors
    /// None.
    pub(super) fn new() -> io::Result<Alarm> {
        Ok(Alarm {})
    }

    /// See above.
    pub(super) async fn sleep(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_rings_each_time_and_never_early() {
        let mut alarm = Alarm::new().unwrap();
        for micros in [0, 1, 300, 2_000, 12_000] {
            let time = Duration::from_micros(micros);
            // One that is given up does not ring for the next.
            tokio::select! {
                biased;
                () = alarm.sleep(Duration::from_micros(1)) => {}
                () = std::future::ready(()) => {}
            }
            let begin = Instant::now();
            alarm.sleep(time).await;
            assert!(begin.elapsed() >= time, "{:?} of {time:?}", begin.elapsed());
        }
    }
}
