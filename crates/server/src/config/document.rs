//! What is written from the table of keys: `docs/configuration.md`, `roomcast.example.toml` and the outcome of `roomcast check`.

use std::fmt::Write as _;

use roomcast_core::settings::Kind;

use super::keys::{KIND_KEYS, Key, SECTIONS};
use super::load::Loaded;
use super::raw::quoted;
use super::source::Source;
use super::{Config, exit};

/// `docs/configuration.md`: every key with its default, what it takes and what it means.
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for (code, meaning) in exit::ALL {
        put(&mut out, format_args!("| {code} | {meaning} |\n"));
    }
    for section in SECTIONS {
        put(
            &mut out,
            format_args!(
                "\n## `[{}]`\n\n{}\n\n{TABLE_HEAD}",
                section.name, section.about
            ),
        );
        for key in section.keys {
            table_row(&mut out, key, &mut Config::default());
        }
    }
    put(
        &mut out,
        format_args!("\n## `[kinds.NAME]`\n\n{ABOUT_KINDS}\n{KINDS_EXAMPLE}\n{TABLE_HEAD}"),
    );
    for key in KIND_KEYS {
        table_row(&mut out, key, &mut Kind::default());
    }
    out
}

/// An annotated `roomcast.toml` with every key and its default, commented out.
pub fn example() -> String {
    let mut out = String::from(EXAMPLE_HEAD);
    for section in SECTIONS {
        put(&mut out, format_args!("\n"));
        comment(&mut out, section.about);
        put(&mut out, format_args!("[{}]\n", section.name));
        for key in section.keys {
            example_key(&mut out, key, &mut Config::default());
        }
    }
    put(&mut out, format_args!("\n"));
    comment(&mut out, ABOUT_KINDS);
    put(&mut out, format_args!("[kinds.default]\n"));
    for key in KIND_KEYS {
        example_key(&mut out, key, &mut Kind::default());
    }
    out
}

impl Loaded {
    /// The effective configuration as TOML, each key with where its value is from. Secrets are not in it.
    pub fn report(&self) -> String {
        let mut out = String::new();
        let mut config = self.config.clone();
        for section in SECTIONS {
            let newline = if out.is_empty() { "" } else { "\n" };
            put(&mut out, format_args!("{newline}[{}]\n", section.name));
            for key in section.keys {
                self.report_key(&mut out, section.name, key, &mut config);
            }
        }
        for kind in &mut config.kinds {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let name = if kind.name.chars().all(plain) {
                kind.name.clone()
            } else {
                quoted(&kind.name)
            };
            put(&mut out, format_args!("\n[kinds.{name}]\n"));
            let table = format!("kinds.{}", kind.name);
            for key in KIND_KEYS {
                self.report_key(&mut out, &table, key, kind);
            }
        }
        out
    }

    fn report_key<T>(&self, out: &mut String, table: &str, key: &Key<T>, target: &mut T) {
        let path = format!("{table}.{}", key.name);
        let inherited = format!("kinds.default.{}", key.name);
        let source = match self.source(&path) {
            Source::Default if table.starts_with("kinds.") => match self.source(&inherited) {
                Source::Default => "default".to_owned(),
                source => format!("kinds.default, {source}"),
            },
            source => source.to_string(),
        };
        let auto = key
            .field
            .auto(target)
            .map_or_else(String::new, |auto| format!("{auto} here; "));
        let value = shown(key, target);
        put(
            out,
            format_args!("{} = {value}  # {auto}{source}\n", key.name),
        );
    }
}

/// A secret is never shown, but that there is none.
pub(super) fn shown<T>(key: &Key<T>, target: &mut T) -> String {
    let value = key.field.show(target);
    if key.secret && value != quoted("") {
        quoted("(not shown)")
    } else {
        value
    }
}

fn table_row<T>(out: &mut String, key: &Key<T>, defaults: &mut T) {
    let (name, default, takes) = (key.name, key.field.show(defaults), key.field.takes());
    let flag = key
        .flag
        .map_or_else(String::new, |flag| format!(" Flag: `{flag}`."));
    put(
        out,
        format_args!(
            "| `{name}` | `{default}` | {takes} | {}{flag} |\n",
            key.about
        ),
    );
}

fn example_key<T>(out: &mut String, key: &Key<T>, defaults: &mut T) {
    put(out, format_args!("\n"));
    comment(out, key.about);
    comment(out, &format!("Takes {}.", key.field.takes()));
    put(
        out,
        format_args!("#{} = {}\n", key.name, key.field.show(defaults)),
    );
}

/// `text` as comment lines of at most 100 characters.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            put(out, format_args!("{line}\n"));
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    put(out, format_args!("{line}\n"));
}

/// Writing to a `String` cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

const TABLE_HEAD: &str = "| key | default | takes | meaning |\n|---|---|---|---|\n";

const ABOUT_KINDS: &str = "Kinds of rooms. A room's kind is the part of its name before the first `:` (`arena:42` is \
of kind `arena`); a name without one is of kind `default`. What a kind does not set it takes from `[kinds.default]`, and \
so does a kind that is not here, unless `rooms.refuse_unknown_kinds` is set.";

const KINDS_EXAMPLE: &str = "
```toml
[kinds.arena]
max_players = 16
state.max_speed = 12.5

[kinds.chat]
mode = \"relay\"
presence = \"count\"
```
";

const EXAMPLE_HEAD: &str = "\
# roomcast.toml: every key with its default. Take out the # to change one.
# `roomcast check` says whether a file is right and what is in effect.
";

const INTRODUCTION: &str = "\
<!-- Generated from the table of keys in crates/server/src/config/keys; do not edit. To generate it anew:
     UPDATE_DOCUMENTS=1 cargo test -p roomcast-server --test documents -->

# Configuration

Roomcast needs no configuration: without any it listens on loopback with its limits on. What is set is taken from, each
overriding the ones before:

1. the defaults below,
2. a file: the one given by `--config FILE` or `ROOMCAST_CONFIG`, else `roomcast.toml` in the working directory if there
   is one,
3. environment variables: `ROOMCAST_SECTION_KEY`, so `limits.max_message` is `ROOMCAST_LIMITS_MAX_MESSAGE`,
4. flags: those that the table names, and `--set KEY=VALUE` for any key.

Everything is read and checked before an address is opened. What is wrong is listed, all of it, with the file and line,
the variable or the flag that it comes from, and the server does not start. A key that does not exist is an error.

| command | what it does |
|---|---|
| `roomcast check` | checks the configuration and prints what is in effect, and where each value comes from |
| `roomcast check --defaults` | prints a `roomcast.toml` with every key, its meaning and its default |

## Values

- **Sizes** are a number of bytes or a number with `B`, `KiB`, `MiB` or `GiB`: `65536`, `\"64KiB\"`.
- **Times** have a unit, `us` (some keys), `ms`, `s`, `m`, `h` or `d`: `\"100ms\"`, `\"30s\"`. Only 0 needs none.
- **0** switches a limit off where the table says so.
- In variables and flags nothing is quoted, and commas separate the items of a list:
  `ROOMCAST_SERVER_ORIGINS=https://a.example,https://b.example`. An empty variable counts as not set.
- `ROOMCAST_SECTION_KEY_FILE` names a file to read the value from, as secrets are handed to containers.
- The keys of a kind are `ROOMCAST_KINDS_NAME_KEY` (the name comes out in lower case) and `--set kinds.NAME.KEY=VALUE`.

## Load tests

A load test from one address meets the limits that protect a server. This file switches them off:

```toml
[limits]
connections = 0
connections_per_address = 0
memory = 0
messages_per_second = 0
max_offences = 0
```

## Exit codes

| code | meaning |
|---|---|
";
