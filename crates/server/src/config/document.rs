//! What is written from the table of keys: `docs/configuration.md`, `roomcast.example.toml` and the outcome of `roomcast check`.

use std::fmt::Write as _;

use roomcast_core::settings::Kind;

use super::keys::{KIND_KEYS, Key, Named, SECTIONS};
use super::load::Loaded;
use super::raw::quoted;
use super::source::Source;
use super::{ApiKey, AuthorizeSettings, Config, WebhookSettings, exit};

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
    named_reference::<ApiKey>(&mut out, ABOUT_API_KEYS, API_KEYS_EXAMPLE);
    named_reference::<WebhookSettings>(&mut out, ABOUT_WEBHOOKS, WEBHOOKS_EXAMPLE);
    named_reference::<AuthorizeSettings>(&mut out, ABOUT_AUTHORIZE, AUTHORIZE_EXAMPLE);
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
    put(&mut out, format_args!("\n"));
    comment(&mut out, ABOUT_CHAT);
    put(&mut out, format_args!("{CHAT}"));
    named_example::<ApiKey>(&mut out, ABOUT_API_KEYS);
    named_example::<WebhookSettings>(&mut out, ABOUT_WEBHOOKS);
    named_example::<AuthorizeSettings>(&mut out, ABOUT_AUTHORIZE);
    out
}

fn named_reference<T: Named>(out: &mut String, about: &str, example: &str) {
    put(
        out,
        format_args!(
            "\n## `[{}.NAME]`\n\n{about}\n{example}\n{TABLE_HEAD}",
            T::TABLE
        ),
    );
    for key in T::keys() {
        table_row(out, key, &mut T::default());
    }
}

fn named_example<T: Named>(out: &mut String, about: &str) {
    put(out, format_args!("\n"));
    comment(out, about);
    put(out, format_args!("# [{}.shop]\n", T::TABLE));
    for key in T::keys() {
        put(out, format_args!("\n"));
        comment(out, key.about);
        comment(out, &format!("Takes {}.", key.field.takes()));
        let default = key.field.show(&mut T::default());
        put(out, format_args!("# {} = {default}\n", key.name));
    }
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
        self.report_named::<ApiKey>(&mut out, &mut config);
        self.report_named::<WebhookSettings>(&mut out, &mut config);
        self.report_named::<AuthorizeSettings>(&mut out, &mut config);
        out
    }

    fn report_named<T: Named>(&self, out: &mut String, config: &mut Config) {
        for target in T::all(config) {
            let table = format!("{}.{}", T::TABLE, target.name());
            put(out, format_args!("\n[{table}]\n"));
            for key in T::keys() {
                self.report_key(out, &table, key, target);
            }
        }
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
    if key.secret && value != quoted("") && value != "[]" {
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

const ABOUT_KINDS: &str = "Kinds of rooms. A room's kind is the part of its name before the first `:`. So `arena:42` is \
of kind `arena`, and a room whose name has no `:` is of kind `default`. A kind takes from `[kinds.default]` what it does not \
set. A kind that is not in the file takes all of it from there, unless `rooms.refuse_unknown_kinds` is set. `log` is here \
the log of a room: its newest events.";

const ABOUT_CHAT: &str = "Rooms `chat:…`, for instance: what members say is passed on, and nobody has a state. Their history \
has 30 days, in at most 4 MiB a room.";

const CHAT: &str = "\
# [kinds.chat]
# mode = \"relay\"
# log.age = \"720h\"
# log.bytes = \"4MiB\"
# log.events = 0
";

const ABOUT_API_KEYS: &str = "Keys for the API: who may use it, and for what. NAME is what logs call the key. Give each \
backend a key of its own: two keys may be valid while one is replaced by the other. See docs/api.md.";

const API_KEYS_EXAMPLE: &str = "
```text
[api_keys.shop]
key_path = \"/etc/roomcast/shop.key\"
rights = [\"publish\"]
```
";

const ABOUT_WEBHOOKS: &str = "Webhooks: whom the server tells what happens. NAME is what logs and metrics call the receiver. \
See docs/webhooks.md.";

const WEBHOOKS_EXAMPLE: &str = "
```text
[webhooks.shop]
url = \"https://shop.example/roomcast\"
secret_path = \"/etc/roomcast/shop.whsec\"
events = [\"room.opened\", \"room.emptied\", \"message\"]
kinds = [\"chat\"]
```
";

const ABOUT_AUTHORIZE: &str = "Backends that decide who joins, and what is sent. NAME is what logs and metrics call the backend. \
The rights of tokens are looked at first. See docs/webhooks.md.";

const AUTHORIZE_EXAMPLE: &str = "
```text
[authorize.shop]
url = \"https://shop.example/allow\"
secret_path = \"/etc/roomcast/shop.whsec\"
kinds = [\"chat\"]
asks = [\"join\"]
```
";

const KINDS_EXAMPLE: &str = "
```toml
[kinds.arena]
max_players = 16
state.max_speed = 12.5

[kinds.chat]
mode = \"relay\"
presence = \"count\"
log.age = \"720h\"
log.bytes = \"4MiB\"
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

Roomcast needs no configuration. Without any it listens on loopback, with its limits on. The words of this page, such as
*session* or *lagging*, are explained in [protocol.md](protocol.md#words).

A value can be set in four places. A later one overrides those before it:

1. the defaults below,
2. a file: the one that `--config FILE` or `ROOMCAST_CONFIG` names, or else `roomcast.toml` in the working directory,
3. environment variables: `ROOMCAST_SECTION_KEY`, for instance `ROOMCAST_LIMITS_MAX_MESSAGE` for `limits.max_message`,
4. flags: `--set KEY=VALUE` for any key, and the flags that the tables name.

The server checks the whole configuration before it opens an address. If something is wrong it does not start, and lists
every problem with the file and line, the variable or the flag that it comes from. A key that does not exist is a problem
too.

| command | what it does |
|---|---|
| `roomcast check` | checks the configuration and prints what is in effect, and where each value comes from. If `redis.urls` is set, it connects to Redis and says what Roomcast lacks there: version, rights, eviction, persistence |
| `roomcast check --offline` | the same without a connection |
| `roomcast check --defaults` | prints a `roomcast.toml` with every key, its meaning and its default |
| `roomcast check --redis URL` | looks at this Redis |

## Values

- **Sizes** are a number of bytes, or a number with `B`, `KiB`, `MiB` or `GiB`: `65536`, `\"64KiB\"`.
- **Times** are a number with a unit: `ms`, `s`, `m`, `h` or `d`, for some keys also `us`: `\"100ms\"`, `\"30s\"`. Only 0
  needs no unit.
- **0** switches a limit off, where the table says so.
- **Files** are looked for from the folder in which the server is started, not from that of the configuration file.
- **In variables and flags** write values without quotes, and separate the items of a list by commas:
  `ROOMCAST_SERVER_ORIGINS=https://a.example,https://b.example`. An empty variable counts as not set.
- **From a file**: `ROOMCAST_SECTION_KEY_FILE` names a file that holds the value. Container platforms hand over secrets in
  this way.
- **Keys of a kind** are `ROOMCAST_KINDS_NAME_KEY` and `--set kinds.NAME.KEY=VALUE`. The name of a kind that a variable sets
  is in lower case. So it is with `[api_keys.NAME]`, `[webhooks.NAME]` and
  `[authorize.NAME]`.

## Load tests

A load test from one address soon reaches the limits that protect a server. This file switches them off:

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
