//! The clock on the wall of other processes.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Its seconds.
pub(crate) const HOUR: i64 = 3_600;

/// It can be set, for processes that are started with its variables. How much time has passed is another matter, which it
/// does not change.
pub(crate) struct Clock {
    dir: TempDir,
    file: fs::File,
}

impl Clock {
    pub(crate) fn new(ahead: i64) -> Clock {
        let dir = TempDir::new().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/wall_clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        let compiled = compiler
            .arg(dir.path().join("clock.so"))
            .arg(source)
            .status();
        assert!(compiled.unwrap().success());
        let file = fs::File::create(dir.path().join("ahead")).unwrap();
        let clock = Clock { dir, file };
        clock.set(ahead);
        clock
    }

    /// Seconds that it is ahead.
    pub(crate) fn set(&self, ahead: i64) {
        self.file.write_all_at(&ahead.to_ne_bytes(), 0).unwrap();
    }

    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let path = |file| {
            PathBuf::from(self.dir.path())
                .join(file)
                .to_str()
                .unwrap()
                .to_owned()
        };
        vec![
            ("LD_PRELOAD".to_owned(), path("clock.so")),
            ("CLOCK_AHEAD".to_owned(), path("ahead")),
        ]
    }
}
