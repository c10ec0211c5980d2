//! Opens a file of a folder, and nothing that a link leads to.
//!
//! A path is looked up when it is used: what was a file at one look may be a link at the next. So each name is opened from
//! the handle of its folder, and a link is an error wherever it stands.

use std::fs::File;
use std::io;
use std::path::{Component, Path};

/// Opens a regular file by its path within `directory`, which has names alone.
///
/// # Errors
/// It is no regular file, or a name of the path is a link's. What the system says.
pub(super) fn open(directory: &Path, within: &Path) -> io::Result<File> {
    let mut names = Vec::new();
    for component in within.components() {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    let file = system::open(directory, &names)?;
    // By the handle: what has the name by now may be something else.
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("is not a regular file")),
    }
}

#[cfg(unix)]
mod system {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{Mode, OFlags, open as open_at_root, openat};

    pub(super) fn open(directory: &Path, names: &[&OsStr]) -> io::Result<File> {
        let all = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = open_at_root(directory, all | OFlags::DIRECTORY, Mode::empty())?;
        for (index, name) in names.iter().enumerate() {
            let kind = match index + 1 < names.len() {
                true => OFlags::DIRECTORY,
                // A pipe would be waited for.
                false => OFlags::NONBLOCK | OFlags::NOCTTY,
            };
            at = openat(&at, *name, all | kind, Mode::empty())?;
        }
        Ok(File::from(at))
    }
}

#[cfg(not(unix))]
mod system {
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    pub(super) fn open(directory: &Path, names: &[&OsStr]) -> io::Result<File> {
        let mut path = directory.to_owned();
        for name in names {
            path.push(name);
            if fs::symlink_metadata(&path)?.is_symlink() {
                return Err(io::Error::other("is a link"));
            }
        }
        File::open(path)
    }
}
