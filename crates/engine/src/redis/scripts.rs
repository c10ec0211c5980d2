//! The scripts. Each is one change of one room, session or user, all of which is done or nothing.
//! A right that is taken away ends one half-way. The header of a room and the counts of an inbox are written last, and
//! what is not in them does not count: asked again, a script does all of it (`write.lua`).
//!
//! Nodes of two versions may run two texts of one script at the same Redis: each asks for its own, by the digest of its
//! text. So a text may change where what it does to records is what the version before would do. What it does not know of
//! them it leaves as it is: other fields of a hash, and other fields of an entry. A record in another form (the first byte
//! of a room's header) it neither claims nor replaces.
//!
//! The first line says how a script runs. Without `allow-oom` one is refused before it begins if Redis lacks memory, and so
//! has changed nothing; what only frees memory, and what keeps leases, runs all the same.

use super::Script;

macro_rules! script {
    ($name:ident, $file:literal, $first_line:literal $(, $before:literal)?) => {
        pub(super) static $name: Script = Script {
            name: $file,
            template: concat!(
                $first_line,
                "\n",
                $(include_str!(concat!("scripts/", $before, ".lua")),)?
                include_str!(concat!("scripts/", $file, ".lua"))
            ),
        };
    };
}

script!(CLAIM, "claim", "#!lua", "write");
script!(APPEND, "append", "#!lua", "write");
script!(RENEW, "renew", "#!lua", "write");
script!(RELEASE, "release", "#!lua flags=allow-oom");
script!(TAKE, "take", "#!lua flags=allow-oom");
script!(SAVE, "save", "#!lua");
script!(END, "end", "#!lua flags=allow-oom");
script!(INBOX_APPEND, "inbox_append", "#!lua", "write");
script!(INBOX_READ, "inbox_read", "#!lua flags=no-writes");
script!(USER, "user", "#!lua");
script!(BEAT, "beat", "#!lua flags=allow-oom");
script!(WEBHOOK_ADD, "webhook_add", "#!lua");
script!(WEBHOOK_TAKE, "webhook_take", "#!lua flags=allow-oom");
script!(WEBHOOK_HOLD, "webhook_hold", "#!lua flags=allow-oom");

// The same, where only something goes away.
script!(APPEND_FREES, "append", "#!lua flags=allow-oom", "write");
script!(USER_FREES, "user", "#!lua flags=allow-oom");

/// All of them.
pub static SCRIPTS: [&Script; 16] = [
    &CLAIM,
    &APPEND,
    &APPEND_FREES,
    &RENEW,
    &RELEASE,
    &TAKE,
    &SAVE,
    &END,
    &INBOX_APPEND,
    &INBOX_READ,
    &USER,
    &USER_FREES,
    &BEAT,
    &WEBHOOK_ADD,
    &WEBHOOK_TAKE,
    &WEBHOOK_HOLD,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_for_one_store() {
        for script in SCRIPTS {
            assert!(script.template.contains(Script::STORE), "{}", script.name);
            assert!(script.template.starts_with("#!lua"), "{}", script.name);
        }
    }
}
