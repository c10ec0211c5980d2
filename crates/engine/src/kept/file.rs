//! The file of a store in memory: a line that says what it is, frames, and a checksum of all that.
//!
//! Each frame has its length in four bytes before it (little-endian). The first one is the head, those after it are what
//! the store has, and one of length 0 is the last. Behind it are 32 bytes: SHA-256 of all before them.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use roomcast_core::wire::{read_kept, write_kept};
use sha2::{Digest as _, Sha256};

use super::{KeptStore, PARTS};
use crate::model::Place;

/// Begins the first line; the version and a line feed follow.
const MAGIC: &str = "roomcast-snapshot ";
/// The version of the form. A newer one is refused; each older one is read.
const VERSION: u32 = 1;
/// Bytes that are taken out of the store at once, with its part locked.
const SLICE: usize = 256 * 1024;
/// Longest first line.
const LINE: u64 = 64;

/// What a file says of all in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// When it was begun, milliseconds since the Unix epoch.
    pub made_at: u64,
    /// The key of resume tokens, where the server has drawn it itself.
    pub session_key: Option<[u8; 32]>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rooms, sessions and users.
    pub pieces: usize,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a file can't be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The system says so.
    Io(PathBuf, io::Error),
    /// It is none.
    NoSnapshot(PathBuf),
    /// A newer version has written it.
    Newer(PathBuf, u32),
    /// It is not as it was written.
    Damaged(PathBuf, &'static str),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io(path, error) => write!(f, "{}: {error}", path.display()),
            FileError::NoSnapshot(path) => write!(
                f,
                "{} is no snapshot of Roomcast: name another path, or move the file away",
                path.display()
            ),
            FileError::Newer(path, version) => write!(
                f,
                "{} was written by a newer version of Roomcast (form {version}, this one reads up to {VERSION}): start that version, or move the file away to begin without what is in it",
                path.display()
            ),
            FileError::Damaged(path, what) => write!(
                f,
                "{} is damaged ({what}): restore it from a backup, or move it away to begin without what is in it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FileError {}

/// Writes all that a store has, slice by slice: to a file beside `path`, which then takes its place. Whoever reads `path`
/// finds the file of before or the new one, whole, also when the machine stops meanwhile.
///
/// Each room is as it was at one moment, but not all at the same.
///
/// # Errors
/// The system says so. The file of before is as it was.
pub fn write(
    path: &Path,
    store: &KeptStore,
    head: &Head,
    now_ms: impl Fn() -> u64,
) -> Result<Written, FileError> {
    let beside = beside(path);
    let written = write_new(&beside, store, head, now_ms)
        .and_then(|written| {
            fs::rename(&beside, path)?;
            sync_directory(path)?;
            Ok(written)
        })
        .map_err(|error| FileError::Io(beside.clone(), error));
    if written.is_err() {
        // What is left of it is of no use, and may be what fills the disk.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_new(
    path: &Path,
    store: &KeptStore,
    head: &Head,
    now_ms: impl Fn() -> u64,
) -> io::Result<Written> {
    let mut file = Summed {
        to: BufWriter::with_capacity(SLICE, create(path)?),
        digest: Sha256::new(),
        bytes: 0,
    };
    file.put(format!("{MAGIC}{VERSION}\n").as_bytes())?;
    file.frame(&head_bytes(head))?;
    let mut pieces = 0;
    let mut frame = Vec::new();
    for part in 0..PARTS {
        let mut place = Place::Start;
        while place != Place::End {
            let (kept, next) = store.lock(part).kept(now_ms(), &place, SLICE);
            place = next;
            pieces += kept.len();
            for kept in kept {
                frame.clear();
                write_kept(&kept, &mut frame);
                file.frame(&frame)?;
            }
        }
    }
    file.put(&0u32.to_le_bytes())?;
    let sum = file.digest.clone().finalize();
    file.put(&sum)?;
    let bytes = file.bytes;
    let file = file
        .to
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(Written { pieces, bytes })
}

/// It has what users said, and may have the key of their sessions: it is for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// So that the new name outlives a power cut too.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match cfg!(unix) {
        true => File::open(directory)?.sync_all(),
        false => Ok(()),
    }
}

struct Summed<W> {
    to: W,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }
}

/// Reads a file into a store. `None`: there is no file.
///
/// # Errors
/// It can't be used. The store may have a part of it then.
pub fn read(path: &Path, store: &KeptStore) -> Result<Option<Head>, FileError> {
    let io = |error| FileError::Io(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let left = file.metadata().map_err(io)?.len();
    let mut reading = Reading {
        path,
        from: BufReader::with_capacity(SLICE, file),
        digest: Sha256::new(),
        left,
    };
    reading.version()?;
    let head = reading.frame()?.and_then(|frame| read_head(&frame));
    let head = head.ok_or_else(|| reading.damaged("it has no head"))?;
    while let Some(frame) = reading.frame()? {
        // What only a newer version knows has no meaning here.
        if let Some(kept) =
            read_kept(&frame).map_err(|_| reading.damaged("a record can't be read"))?
        {
            store.put(kept);
        }
    }
    let sum = reading.digest.clone().finalize();
    if *reading.take(sum.len())? != sum[..] {
        return Err(reading.damaged("its checksum is another"));
    }
    match reading.left {
        0 => Ok(Some(head)),
        _ => Err(reading.damaged("something is behind its end")),
    }
}

struct Reading<'a> {
    path: &'a Path,
    from: BufReader<File>,
    digest: Sha256,
    /// Bytes that the file still has.
    left: u64,
}

impl Reading<'_> {
    fn version(&mut self) -> Result<(), FileError> {
        let none = || FileError::NoSnapshot(self.path.to_owned());
        let mut line = Vec::new();
        let read = (&mut self.from).take(LINE).read_until(b'\n', &mut line);
        read.map_err(|error| FileError::Io(self.path.to_owned(), error))?;
        let text = std::str::from_utf8(&line).ok();
        let text = text.and_then(|it| it.strip_prefix(MAGIC)?.strip_suffix('\n'));
        let version: u32 = text.and_then(|it| it.parse().ok()).ok_or_else(none)?;
        if version > VERSION {
            return Err(FileError::Newer(self.path.to_owned(), version));
        }
        self.digest.update(&line);
        self.left = self.left.saturating_sub(line.len() as u64);
        Ok(())
    }

    /// The next frame; nothing at the end.
    fn frame(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        let length = self.take(4)?;
        self.digest.update(&length);
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        if length == 0 {
            return Ok(None);
        }
        let frame = self.take(length as usize)?;
        self.digest.update(&frame);
        Ok(Some(frame))
    }

    /// So many bytes. A length alone reserves no memory: the file has as many.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, FileError> {
        if length as u64 > self.left {
            return Err(self.damaged("it ends too early"));
        }
        let mut bytes = vec![0; length];
        let read = self.from.read_exact(&mut bytes);
        read.map_err(|error| FileError::Io(self.path.to_owned(), error))?;
        self.left -= length as u64;
        Ok(bytes)
    }

    fn damaged(&self, what: &'static str) -> FileError {
        FileError::Damaged(self.path.to_owned(), what)
    }
}

fn head_bytes(head: &Head) -> Vec<u8> {
    let mut out = head.made_at.to_le_bytes().to_vec();
    out.push(u8::from(head.session_key.is_some()));
    out.extend(head.session_key.iter().flatten());
    out
}

fn read_head(bytes: &[u8]) -> Option<Head> {
    let (made_at, bytes) = bytes.split_first_chunk()?;
    let (has_key, bytes) = bytes.split_first()?;
    let session_key = match has_key {
        0 => None,
        _ => Some(*bytes.first_chunk()?),
    };
    Some(Head {
        made_at: u64::from_le_bytes(*made_at),
        session_key,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::sync::Arc;

    use roomcast_core::ClientId;
    use roomcast_core::log::Epoch;
    use roomcast_core::store::{
        Answer, Claim, HomeName, InboxAppend, InboxAppended, InboxRead, NodeId, Request, Save,
        SessionRecord, StoreId, UserChange,
    };
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn filled(rooms: u64) -> KeptStore {
        let store = KeptStore::new(StoreId(1), 0);
        for number in 0..rooms {
            let claim = Claim {
                room: Arc::from(format!("room-{number}")),
                home: HomeName {
                    node: NodeId(1),
                    lease: 1,
                },
                store: StoreId(1),
                dead: None,
                settled: true,
                epoch: Epoch::parse("abc").unwrap(),
                timestamp: 1,
                has: None,
                // Every third one has ended when it is written.
                ends_after: if number % 3 == 0 { 1 } else { 100_000 },
                only_existing: false,
            };
            store.apply(NOW, &Request::Claim(claim)).unwrap();
            let client = ClientId::from_random([number, 1]);
            let record = SessionRecord {
                turn: 1,
                node: NodeId(1),
                value: vec![7; 100].into(),
            };
            let save = Save {
                client,
                record,
                known: None,
                ends_after: 100_000,
            };
            store.apply(NOW, &Request::Save(save)).unwrap();
            let change = UserChange {
                user: format!("user-{number}").into(),
                add: Some(client),
                remove: Vec::new(),
                most: 0,
                ends_after: 100_000,
            };
            store.apply(NOW, &Request::User(change)).unwrap();
        }
        store
    }

    fn head() -> Head {
        Head {
            made_at: NOW,
            session_key: Some([9; 32]),
        }
    }

    /// A directory with a file of 100 rooms.
    fn saved() -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("rooms");
        write(&path, &filled(100), &head(), || NOW + 2).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_written_is_read_again_but_for_what_has_ended() {
        let (_directory, path) = saved();
        let again = KeptStore::new(StoreId(2), 0);
        assert_eq!(read(&path, &again).unwrap(), Some(head()));
        assert_eq!(again.len(), (66, 100));
        again.sweep(NOW + 2);
        assert_eq!(again.len(), (66, 100));
        let size = again.held();
        again.sweep(NOW + 200_000);
        assert_eq!((again.len(), again.held()), ((0, 0), 0), "{size}");
    }

    #[test]
    fn a_file_is_for_its_owner_alone_and_nothing_is_left_beside_it() {
        let (directory, path) = saved();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let nowhere = directory.path().join("no/such/directory");
        assert!(write(&nowhere, &filled(1), &head(), || NOW).is_err());
    }

    #[test]
    fn a_file_that_was_changed_or_cut_is_refused_and_says_what_to_do() {
        let (directory, path) = saved();
        let whole = fs::read(&path).unwrap();
        let try_bytes = |bytes: &[u8]| {
            let path = directory.path().join("bad");
            fs::write(&path, bytes).unwrap();
            read(&path, &KeptStore::new(StoreId(2), 0))
        };
        assert!(try_bytes(&whole).is_ok());
        for at in (0..whole.len()).step_by(97) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            let error = try_bytes(&changed).unwrap_err().to_string();
            assert!(error.contains("move"), "{at}: {error}");
            let error = try_bytes(&whole[..at]).unwrap_err().to_string();
            assert!(error.contains("move"), "{at}: {error}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(try_bytes(&longer).is_err());
        let newer = [b"roomcast-snapshot 2\n", &whole[20..]].concat();
        let error = try_bytes(&newer).unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
        assert!(matches!(
            try_bytes(b"[server]\n"),
            Err(FileError::NoSnapshot(_))
        ));
        let none = read(
            &directory.path().join("none"),
            &KeptStore::new(StoreId(2), 0),
        );
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn a_full_store_takes_nothing_that_grows_and_drops_what_nobody_is_in() {
        let store = filled(100);
        let (directory, path) = saved();
        // All rooms are nobody's in a file.
        let small = KeptStore::new(StoreId(2), store.held() / 2);
        read(&path, &small).unwrap();
        let before = small.len();
        small.sweep(NOW + 2);
        assert!(small.len().0 < before.0, "rooms have gone");
        assert_eq!(small.len().1, before.1, "sessions stay");
        drop(directory);
    }

    #[test]
    fn full_inboxes_give_way_and_say_what_they_lack() {
        let mut store = filled(100);
        store.most = store.held() + (1 << 20);
        let client = |number: u64| ClientId::from_random([number % 100, 1]);
        let append = |number: u64| InboxAppend {
            to: client(number),
            from: client(0),
            seq: number + 1,
            message: vec![7; 10_000].into(),
            most: 64,
            most_bytes: 64 << 10,
        };
        let mut sent = 0;
        while store
            .apply(NOW, &Request::InboxAppend(append(sent)))
            .is_ok()
        {
            sent += 1;
        }
        assert!(sent > 90, "{sent}");
        store.sweep(NOW + 2);
        assert!(store.held() < store.most);
        let again = store.apply(NOW + 2, &Request::InboxAppend(append(sent)));
        assert!(matches!(
            again,
            Ok(Answer::Inbox(InboxAppended::Stored { .. }))
        ));
        let lacking = (0..100).filter(|number| {
            let read = InboxRead {
                client: client(*number),
                after: 0,
                most_bytes: 1 << 20,
            };
            let answer = store.apply(NOW + 2, &Request::InboxRead(read)).unwrap();
            matches!(answer, Answer::InboxSlice(it) if it.first > 1 && it.last > 0)
        });
        assert!(lacking.count() > 0);
    }
}
