//! What the process's exit code says, after `sysexits.h` where it has a name for it.

/// It did what it should, or ended on SIGTERM or SIGINT in good order.
pub const OK: u8 = 0;
/// Something else went wrong.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// An address to listen on is taken, or not this machine's.
pub const CANNOT_BIND: u8 = 69;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
/// SIGINT came a second time: it ended at once. 128 and the signal's number, as a shell would say it.
pub const INTERRUPTED: u8 = 130;
/// The same with SIGTERM.
pub const TERMINATED: u8 = 143;

/// All of them with their meaning, for `--help` and the documents.
pub const ALL: &[(u8, &str)] = &[
    (OK, "done, or ended in good order on SIGTERM or SIGINT"),
    (
        FAILURE,
        "something else went wrong; standard error says what",
    ),
    (USAGE, "the command line is wrong"),
    (
        CANNOT_BIND,
        "an address to listen on is taken or not this machine's",
    ),
    (
        CONFIG,
        "the configuration is wrong; every problem is listed",
    ),
    (INTERRUPTED, "a second signal, SIGINT, ended it at once"),
    (TERMINATED, "a second signal, SIGTERM, ended it at once"),
];
