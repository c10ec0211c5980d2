//! Without Redis, with `memory.snapshot_path`: what outlives the process, and what does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use roomcast_client::RoomEvent;
use roomcast_client::session::JoinOptions;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, free_address};
use crate::restart::{all_chats, chats, client, is_as_before};
use crate::{DEADLINE, in_time, ready, start};

fn settings(directory: &TempDir, interval: &str) -> (PathBuf, Vec<String>) {
    let path = directory.path().join("rooms");
    let settings = vec![
        format!("memory.snapshot_path={}", path.display()),
        format!("memory.snapshot_interval={interval}"),
        "server.shards=2".to_owned(),
        "shutdown.delay=0".to_owned(),
        "kinds.chat.log.age=720h".to_owned(),
    ];
    (path, settings)
}

fn stop(server: Process) {
    server.signal(Signal::TERM);
    assert!(server.ended_well());
}

/// Waits until a file is written that was begun from here on.
async fn written(server: &Process) {
    let written = || server.metric("roomcast_snapshots_total{outcome=\"written\"}");
    let (begin, before) = (Instant::now(), written());
    while written() < before + 2 {
        assert!(begin.elapsed() < DEADLINE, "{}", server.log());
        // `/metrics` has to be asked.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_politely_goes_on_as_it_was() {
    let directory = TempDir::new().unwrap();
    let (path, settings) = settings(&directory, "0");
    is_as_before(&settings, None, stop).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_has_lost_what_came_after_the_last_interval_alone() {
    let directory = TempDir::new().unwrap();
    let address = free_address();
    let (_, often) = settings(&directory, "100ms");
    let (_, never) = settings(&directory, "0");
    let server = start(address, &often);
    let ada = client(address);
    let room = ada.room("chat:1");
    let mut hears = room.events();
    in_time(room.join(JoinOptions::default())).await.unwrap();
    let first = in_time(room.chat("one")).await.unwrap();
    assert_eq!(chats(&mut hears, 1).await[0].0, first.offset);
    let id = ada.client_id();
    written(&server).await;
    server.kill();

    // Killed, and nothing that was written before is missing: the same client, no gap.
    let server = start(address, &never);
    ready(&server, true).await;
    let second = in_time(room.chat("two")).await.unwrap();
    assert!(second.offset > first.offset);
    assert_eq!(
        chats(&mut hears, 1).await,
        [(second.offset, "two".to_owned())]
    );
    assert_eq!(ada.client_id(), id);
    server.kill();

    // What came since is gone, and whoever has seen it is told so.
    let server = start(address, &never);
    ready(&server, true).await;
    loop {
        match in_time(hears.next()).await.expect("the client was closed") {
            RoomEvent::Gap { .. } => break,
            RoomEvent::Message(message) => panic!("{message:?}"),
            _ => {}
        }
    }
    in_time(room.chat("three")).await.unwrap();
    assert_eq!(all_chats(address).await, ["one", "three"]);
}

/// Starts a server that should not start, and returns what it says.
fn refused(settings: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.current_dir(std::env::temp_dir());
    let output = command.stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("memory.snapshot_path"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_can_t_be_used_is_refused_and_left_as_it_is() {
    let directory = TempDir::new().unwrap();
    let (path, settings) = settings(&directory, "0");
    let server = start(free_address(), &settings);
    let said = refused(&settings);
    assert!(said.contains("another server"), "{said}");
    stop(server);
    let whole = fs::read(&path).unwrap();
    let cases: [(&[u8], &str); 3] = [
        (&whole[..whole.len() - 1], "damaged"),
        (b"roomcast-snapshot 99\n", "newer version"),
        (b"[server]\n", "no snapshot"),
    ];
    for (bytes, why) in cases {
        fs::write(&path, bytes).unwrap();
        let said = refused(&settings);
        assert!(said.contains(why), "{said}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it was");
    }
    let nowhere = Path::new("/no/such/directory/rooms");
    let nowhere = vec![format!("memory.snapshot_path={}", nowhere.display())];
    assert!(refused(&nowhere).contains("directory"));
    let both = [settings, vec!["server.engine=redis".to_owned()]].concat();
    assert!(refused(&both).contains("take one of the two away"));
}
