//! `server.static_dir`: the files of a folder, for an application's own page.
//!
//! They are read at start, and again when they change: a request reads no file, so it can name none that is not there.

mod beneath;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use super::pages::{Asset, etag};
use crate::files::FromFiles;

/// How often it is looked whether something has changed.
const LOOK: Duration = Duration::from_secs(2);
/// Files and folders.
const MOST_FILES: usize = 4_096;
/// Bytes of all files together.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Folders within each other.
const MOST_DEPTH: usize = 16;

/// A folder whose files are served.
#[derive(Debug)]
pub(crate) struct Folder {
    directory: PathBuf,
    assets: RwLock<Arc<HashMap<String, Asset>>>,
}

/// What is at a path of a folder.
#[derive(Debug)]
pub(super) enum Found {
    /// A file.
    File(Asset),
    /// A folder with a page, whose own path ends with `/`.
    Elsewhere(HeaderValue),
}

impl Folder {
    /// Reads a folder; `""` is none.
    ///
    /// # Errors
    /// A sentence: it can't be read, or has more than is kept in memory.
    pub(crate) fn load(directory: &str) -> Result<Option<Arc<Folder>>, String> {
        if directory.is_empty() {
            return Ok(None);
        }
        let real =
            fs::canonicalize(directory).map_err(|error| format!("{directory:?}: {error}"))?;
        let assets = scan(&real).and_then(|scanned| read(&real, scanned.files));
        let assets = assets.map_err(|error| format!("{directory:?}: {error}"))?;
        Ok(Some(Arc::new(Folder {
            directory: real,
            assets: RwLock::new(Arc::new(assets)),
        })))
    }

    /// What is at the path of a request.
    pub(super) fn get(&self, path: &str) -> Option<Found> {
        let path = decoded(path)?;
        let assets = self.assets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(asset) = assets.get(&path) {
            return Some(Found::File(asset.clone()));
        }
        let folder = format!("{path}/");
        let has_page = !path.ends_with('/') && assets.contains_key(&folder);
        // Relative, so that it leads nowhere else.
        let name = folder.rsplit('/').nth(1).filter(|_| has_page)?;
        let to = format!("./{}/", encoded(name));
        HeaderValue::from_str(&to).ok().map(Found::Elsewhere)
    }
}

impl FromFiles for Folder {
    const WHAT: &'static str = "the files of server.static_dir";

    fn files(&self) -> Vec<PathBuf> {
        // Folders too: they change when a file comes or goes.
        let scanned = scan(&self.directory).unwrap_or_default();
        let files = scanned.files.into_iter();
        let files = files.map(|(_, within)| self.directory.join(within));
        let all = scanned.folders.into_iter().chain(files);
        [self.directory.clone()].into_iter().chain(all).collect()
    }

    fn interval(&self) -> Duration {
        LOOK
    }

    fn reload(&self) -> Result<(), String> {
        let assets = read(&self.directory, scan(&self.directory)?.files)?;
        let assets = Arc::new(assets);
        *self.assets.write().unwrap_or_else(PoisonError::into_inner) = assets;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Scanned {
    /// The path of a request, and that of the file within the folder.
    files: Vec<(String, PathBuf)>,
    folders: Vec<PathBuf>,
}

/// All files that may be served: none whose name, or whose folder's name, begins with a dot, and none that is elsewhere.
fn scan(directory: &Path) -> Result<Scanned, String> {
    let mut scanned = Scanned::default();
    let mut left = vec![(directory.to_owned(), "/".to_owned(), 0)];
    while let Some((folder, path, depth)) = left.pop() {
        let wrong = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let (path, file) = (format!("{path}{name}"), entry.path());
            let kind = entry.file_type().map_err(wrong)?;
            if kind.is_dir() {
                if depth >= MOST_DEPTH {
                    return Err(format!(
                        "{}: more than {MOST_DEPTH} folders deep",
                        file.display()
                    ));
                }
                scanned.folders.push(file.clone());
                left.push((file, format!("{path}/"), depth + 1));
            } else if let Some(within) = file_within(directory, &file, kind.is_file()) {
                scanned.files.push((path, within));
            }
            if scanned.files.len() + scanned.folders.len() > MOST_FILES {
                return Err(format!(
                    "it has more than {MOST_FILES} files: serve such a folder with a web server"
                ));
            }
        }
    }
    scanned.files.sort_unstable();
    scanned.folders.sort_unstable();
    Ok(scanned)
}

/// Where in the folder a file is, or the one that a link leads to. One that leads out of it is not served, nor is one to a
/// folder or to what begins with a dot.
fn file_within(directory: &Path, file: &Path, is_file: bool) -> Option<PathBuf> {
    let real = match is_file {
        true => file.to_owned(),
        false => fs::canonicalize(file).ok().filter(|real| real.is_file())?,
    };
    let within = real.strip_prefix(directory).ok()?;
    let is_shown = |it: Component<'_>| {
        let name = it.as_os_str().as_encoded_bytes();
        !name.starts_with(b".")
    };
    within.components().all(is_shown).then(|| within.to_owned())
}

/// Reads what was found. A file may have become something else meanwhile: then nothing is taken, and it is looked again.
fn read(directory: &Path, files: Vec<(String, PathBuf)>) -> Result<HashMap<String, Asset>, String> {
    let mut assets = HashMap::new();
    let mut left = MOST_BYTES;
    for (path, within) in files {
        let wrong = |error| format!("{}: {error}", directory.join(&within).display());
        let too_much = || {
            let most = MOST_BYTES / 1024 / 1024;
            format!(
                "its files have more than {most} MiB together: serve such a folder with a web server"
            )
        };
        let file = beneath::open(directory, &within).map_err(wrong)?;
        if file.metadata().map_err(wrong)?.len() > left {
            return Err(too_much());
        }
        let mut content = Vec::new();
        let read = file.take(left + 1).read_to_end(&mut content);
        // It may have grown meanwhile.
        left = left
            .checked_sub(read.map_err(wrong)? as u64)
            .ok_or_else(too_much)?;
        let content = Bytes::from(content);
        let asset = Asset::of_folder(content_type(&path), etag(&content), content);
        if let Some(folder) = path
            .strip_suffix("index.html")
            .filter(|it| it.ends_with('/'))
        {
            assets.insert(folder.to_owned(), asset.clone());
        }
        assets.insert(path, asset);
    }
    Ok(assets)
}

/// By the end of the name; browsers are told to believe it.
fn content_type(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    HeaderValue::from_static(match &*ending.to_ascii_lowercase() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "csv" => "text/csv; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "wasm" => "application/wasm",
        "glb" => "model/gltf-binary",
        "gltf" => "model/gltf+json",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    })
}

/// A path without its percent signs; nothing where it has none of UTF-8.
fn decoded(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

fn encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, Arc<Folder>) {
        let all = TempDir::new().unwrap();
        let directory = all.path().join("site");
        fs::create_dir_all(directory.join("game/art")).unwrap();
        fs::create_dir_all(directory.join(".git")).unwrap();
        for (name, text) in [
            ("site/index.html", "home"),
            ("site/game/index.html", "game"),
            ("site/game/art/a b.PNG", "png"),
            ("site/.env", "SECRET=1"),
            ("site/.git/config", "hidden"),
            ("site/.git/page.html", "hidden"),
            ("secret.txt", "outside"),
        ] {
            fs::write(all.path().join(name), text).unwrap();
        }
        symlink("../secret.txt", directory.join("out.txt")).unwrap();
        symlink("..", directory.join("up")).unwrap();
        symlink("game/index.html", directory.join("in.html")).unwrap();
        symlink(".env", directory.join("env.txt")).unwrap();
        symlink("../.git/page.html", directory.join("game/page.html")).unwrap();
        let folder = Folder::load(directory.to_str().unwrap()).unwrap().unwrap();
        (all, folder)
    }

    fn text(folder: &Folder, path: &str) -> Option<String> {
        match folder.get(path)? {
            Found::File(asset) => Some(String::from_utf8_lossy(asset.content()).into_owned()),
            Found::Elsewhere(to) => Some(format!("-> {}", to.to_str().unwrap())),
        }
    }

    #[test]
    fn files_are_found_by_their_paths_and_nothing_else_is() {
        let (_all, folder) = folder();
        let found = [
            ("/", "home"),
            ("/index.html", "home"),
            ("/game", "-> ./game/"),
            ("/game/", "game"),
            ("/in.html", "game"),
            ("/game/art/a%20b.PNG", "png"),
        ];
        for (path, expected) in found {
            assert_eq!(text(&folder, path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "/.env",
            "/.git/config",
            "/env.txt",
            "/game/page.html",
            "/out.txt",
            "/up/secret.txt",
            "/up",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/game/..%2f..%2fsecret.txt",
            "/game/%2e%2e/index.html",
            "//index.html",
            "/game/art",
            "/%",
            "/%zz",
            "/%ff",
            "/none",
        ] {
            assert_eq!(text(&folder, path), None, "{path}");
        }
    }

    #[cfg(target_os = "linux")]
    /// Between the look at the folder and the reading of a file.
    #[test]
    fn what_has_become_a_link_or_a_pipe_meanwhile_is_not_read() {
        let changes: [fn(&Path); 4] = [
            |site| {
                fs::remove_file(site.join("index.html")).unwrap();
                symlink("../secret.txt", site.join("index.html")).unwrap();
            },
            |site| {
                fs::remove_file(site.join("index.html")).unwrap();
                symlink(".env", site.join("index.html")).unwrap();
            },
            |site| {
                fs::remove_file(site.join("index.html")).unwrap();
                let mode = rustix::fs::Mode::from_bits_truncate(0o600);
                let fifo = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, site.join("index.html"), fifo, mode, 0)
                    .unwrap();
            },
            |site| {
                fs::rename(site.join("game"), site.join("../game")).unwrap();
                symlink("../game", site.join("game")).unwrap();
            },
        ];
        for change in changes {
            let (all, folder) = folder();
            let scanned = scan(&folder.directory).unwrap();
            change(&all.path().join("site"));
            read(&folder.directory, scanned.files).unwrap_err();
        }
    }

    #[test]
    fn what_changes_is_read_anew_and_what_can_t_be_read_stays() {
        let (all, folder) = folder();
        let page = all.path().join("site/index.html");
        let files = folder.files();
        assert!(
            files.iter().any(|it| it.ends_with("index.html")),
            "{files:?}"
        );
        fs::write(page, "new").unwrap();
        folder.reload().unwrap();
        assert_eq!(text(&folder, "/").as_deref(), Some("new"));
        fs::rename(all.path().join("site"), all.path().join("gone")).unwrap();
        assert!(folder.reload().is_err());
        assert_eq!(text(&folder, "/").as_deref(), Some("new"));
    }

    #[test]
    fn a_folder_that_is_not_there_or_too_large_is_refused() {
        let all = TempDir::new().unwrap();
        let load = |path: &Path| Folder::load(path.to_str().unwrap()).map(drop);
        assert!(load(&all.path().join("none")).is_err());
        let large = fs::File::create(all.path().join("large.bin")).unwrap();
        large.set_len(MOST_BYTES + 1).unwrap();
        assert!(load(all.path()).unwrap_err().contains("MiB"));
        assert!(Folder::load("").unwrap().is_none());
    }
}
