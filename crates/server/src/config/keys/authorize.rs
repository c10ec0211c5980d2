//! `[authorize.NAME]`.

use super::super::field::{Choice, List, Number, Text, Zero};
use super::super::units::Unit;
use super::super::{AuthorizeSettings, Silence, items};
use super::{Key, backend};

/// Each is one backend, with what it decides.
pub(crate) static AUTHORIZE_KEYS: &[Key<AuthorizeSettings>] = &[
    backend::url!(
        AuthorizeSettings,
        "Where the backend is asked, with POST. There is no default. Redirects are not followed.",
        "a URL, such as \"https://shop.example/allow\""
    ),
    backend::secret!(
        AuthorizeSettings,
        "What questions are signed with, as in `[webhooks.NAME]`."
    ),
    backend::secret_path!(
        AuthorizeSettings,
        "A file with one secret or two, as in `[webhooks.NAME]`."
    ),
    backend::ca_path!(AuthorizeSettings),
    backend::kinds!(
        AuthorizeSettings,
        "The kinds of rooms that it decides about. There is no default. Of two tables, one decides about a kind."
    ),
    Key::new(
        "asks",
        "What it decides. There is no default. `join`: who joins. The others: what members send.",
        &List {
            place: |a: &mut AuthorizeSettings| &mut a.asks,
            read: items::asked,
            show: |asked| asked.as_str().to_owned(),
            takes: "a list of \"join\", \"chat\", \"event\" and \"game_action\"",
        },
    ),
    Key::new(
        "timeout",
        "How long an answer is waited for.",
        &Number {
            place: |a: &mut AuthorizeSettings| &mut a.timeout,
            unit: Unit::Micros,
            range: ("10ms", "30s"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "silence",
        "What is done where no answer comes in time, or one that can't be read. `refuse`: it is answered `unavailable`, and \
         may be tried again. `allow`: it is done.",
        &Choice {
            place: |a: &mut AuthorizeSettings| &mut a.silence,
            names: &[("refuse", Silence::Refuse), ("allow", Silence::Allow)],
        },
    ),
    Key::new(
        "most",
        "Questions under way at once. Beyond it: as without an answer.",
        &Number {
            place: |a: &mut AuthorizeSettings| &mut a.most,
            unit: Unit::Count,
            range: ("1", "65536"),
            zero: Zero::Refused,
        },
    ),
    Key::new(
        "max_cache",
        "Longest time for which an answer may be kept that says so.",
        &Number {
            place: |a: &mut AuthorizeSettings| &mut a.max_cache,
            unit: Unit::Micros,
            range: ("1ms", "30d"),
            zero: Zero::Is("none is kept"),
        },
    ),
];
