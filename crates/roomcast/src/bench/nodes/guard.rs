//! Ends the processes of a benchmark with it, however it ends.
//!
//! Many processes that nobody ends would hold much of a machine. So one process more waits for the benchmark's end, which it
//! sees at its standard input, and kills what the benchmark has not ended itself.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::bench::error::{Error, Result};

/// The process that waits.
pub(super) struct Guard {
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
}

impl Guard {
    pub(super) fn start() -> Result<Arc<Guard>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "guard"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A signal to the benchmark's group, as a terminal sends it, is not for this one.
            .process_group(0)
            .spawn()?;
        let stdin = Mutex::new(child.stdin.take());
        Ok(Arc::new(Guard { child, stdin }))
    }

    fn tell(&self, line: &str) {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stdin) = &mut *stdin {
            // Without a guard the benchmark still ends them itself.
            let _ = writeln!(stdin, "{line}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.child.wait();
    }
}

/// A process that ends with this value, or with the benchmark.
pub(super) struct Kept {
    pub(super) child: Child,
    guard: Arc<Guard>,
}

impl Kept {
    pub(super) fn start(command: &mut Command, guard: &Arc<Guard>) -> Result<Kept> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        let child = child.map_err(|error| Error::new(format!("{program}: {error}")))?;
        guard.tell(&format!("+{}", child.id()));
        let guard = guard.clone();
        Ok(Kept { child, guard })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(Into::into)
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // One that has ended by itself needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.guard.tell(&format!("-{}", self.child.id()));
    }
}

/// What the process that waits does.
pub(crate) fn guard() {
    let mut running = HashSet::new();
    for line in std::io::stdin()
        .lock()
        .lines()
        .map_while(std::result::Result::ok)
    {
        let (sign, pid) = line.split_at(line.len().min(1));
        let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else {
            continue;
        };
        match sign {
            "+" => running.insert(pid),
            _ => running.remove(&pid),
        };
    }
    for pid in running {
        let _ = kill_process(pid, Signal::KILL);
    }
}
