use roomcast_core::Now;
use roomcast_core::engine::{Completion, Engine, Epoch, LogId, Opened, Record, Submitted};

/// Orders events in this process's memory; each submission completes at once.
///
/// A log lives as long as its room; one opened again has a new epoch.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    logs: slab::Slab<Log>,
}

#[derive(Debug)]
struct Log {
    offset: u64,
    timestamp: i64,
}

impl MemoryEngine {
    /// An engine without rooms.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// Logs that are open.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether no log is open.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }
}

impl Engine for MemoryEngine {
    fn open(&mut self, now: Now, _room: &str, random: u64) -> Opened {
        let log = self.logs.insert(Log {
            offset: 0,
            timestamp: now.unix_ms,
        });
        Opened {
            log: LogId(log as u32),
            epoch: Epoch::from_random(random),
            offset: 0,
        }
    }

    fn submit(&mut self, now: Now, log: LogId, _record: Record<'_>) -> Submitted {
        let Some(log) = self.logs.get_mut(log.0 as usize) else {
            return Submitted::Unavailable { retry_after_ms: 0 };
        };
        log.offset += 1;
        // The wall clock may step back; a room's time may not.
        log.timestamp = log.timestamp.max(now.unix_ms);
        Submitted::Done(Completion {
            offset: log.offset,
            timestamp: log.timestamp,
        })
    }

    fn poll(&mut self, _now: Now) -> Option<(LogId, Submitted)> {
        None
    }

    fn close(&mut self, _now: Now, log: LogId) {
        self.logs.try_remove(log.0 as usize);
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::{MessageType, PayloadKind};

    use super::*;

    fn submit(engine: &mut MemoryEngine, log: LogId, unix_ms: i64) -> Completion {
        let record = Record {
            message_type: MessageType::Chat,
            client_id: "a",
            seq: 0,
            name: "",
            payload_kind: PayloadKind::Text,
            payload: b"hi",
        };
        match engine.submit(Now { micros: 0, unix_ms }, log, record) {
            Submitted::Done(completion) => completion,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn offsets_count_and_time_never_falls() {
        let mut engine = MemoryEngine::new();
        let log = engine.open(Now::default(), "room", 7).log;
        let first = submit(&mut engine, log, 1_000);
        let second = submit(&mut engine, log, 900);
        assert_eq!((first.offset, first.timestamp), (1, 1_000));
        assert_eq!((second.offset, second.timestamp), (2, 1_000));
    }

    #[test]
    fn a_closed_log_leaves_nothing() {
        let mut engine = MemoryEngine::new();
        let log = engine.open(Now::default(), "room", 7).log;
        engine.close(Now::default(), log);
        assert!(engine.is_empty());
    }
}
