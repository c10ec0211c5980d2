//! Small files that are read whole: keys, secrets.

mod watch;

use std::fs::File;
use std::io::{self, Read as _};

pub(crate) use watch::{FromFiles, watch};

/// A file of keys has a few KiB.
const LARGEST: u64 = 1024 * 1024;

/// Reads a regular file. A pipe would be waited for, perhaps for ever, and a device may have no end.
///
/// # Errors
/// What is wrong with it, to be put behind its name.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err("is a directory: name a file".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?.take(LARGEST + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err("is larger than 1MiB".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("file"), "x").unwrap();
        assert_eq!(read(&path("file")).unwrap(), b"x");
        std::fs::write(path("large"), vec![0; LARGEST as usize + 1]).unwrap();
        assert_eq!(read(&path("large")).unwrap_err(), "is larger than 1MiB");
        assert!(
            read(&path("nothing"))
                .unwrap_err()
                .contains("cannot be read")
        );
        assert!(read(&path("")).unwrap_err().contains("is a directory"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn neither_a_pipe_nor_a_device_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_bits_truncate(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.to_str().unwrap(), "/dev/zero"] {
            assert_eq!(read(path).unwrap_err(), "is not a regular file");
        }
    }
}
