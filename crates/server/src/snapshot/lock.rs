//! One server writes a snapshot: a second one with the same path would replace what the first has.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Held as long as this is there. It ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, in a file beside the snapshot.
    ///
    /// # Errors
    /// Another process has it, or there can be no file.
    pub(super) fn take(snapshot: &Path) -> Result<Lock, String> {
        let mut name = snapshot
            .file_name()
            .map_or_else(OsString::new, OsString::from);
        name.push(".lock");
        let path = snapshot.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(false).open(&path);
        let file = file.map_err(|error| {
            format!(
                "{}: {error} (its directory has to be there, and to be writable)",
                path.display()
            )
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(format!(
                "{}: another server writes it; give each server a file of its own, or use server.engine = \"redis\"",
                snapshot.display()
            )),
            Err(std::fs::TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
        }
    }
}
