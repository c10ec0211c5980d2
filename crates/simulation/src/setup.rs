//! What a schedule's server and network are like.

use roomcast_core::driver::Pace;
use roomcast_core::settings::{GatherSettings, Kind, Mode, Settings};

use crate::random::Random;
use crate::server::Setup;
use crate::store::Temper;

/// The rooms that there are: two of a kind, and one of each other kind.
pub(crate) const ROOMS: [&str; 5] = ["chat:1", "chat:2", "arena:1", "crowd:1", "quiet:1"];

/// The rest of what a schedule is like.
#[derive(Debug)]
pub(crate) struct Weather {
    /// Of a thousand steps, in how many the server is killed.
    pub(crate) restarts: u64,
    /// How the way to the store is, where there is one.
    pub(crate) store: Option<Temper>,
    /// Of a thousand steps, in how many the store of several nodes comes back.
    pub(crate) store_restarts: u64,
    /// Of a thousand steps, in how many a node of several is cut off from the store for long.
    pub(crate) long_cuts: u64,
    /// Logs keep everything and the server lives.
    pub(crate) roomy: bool,
    pub(crate) latency: u64,
    pub(crate) windows: (u64, u64),
    pub(crate) peers: u64,
    pub(crate) askers: u64,
}

pub(crate) fn draw(random: &mut Random) -> (Setup, Weather) {
    let roomy = random.chance(250);
    let settings = Settings {
        event_lane: random.pick(&[1_500, 4_000, 12_000, 256 * 1024]),
        publish_window: random.pick(&[2_000, 128 * 1024]),
        link_window: random.pick(&[10_000, 8 << 20]),
        turn_bytes: random.pick(&[4_000, 16 << 20]),
        messages_per_second: random.pick(&[0, 0, 40]),
        burst: 20,
        ping_interval: 5_000,
        pong_timeout: 10_000,
        write_timeout: random.pick(&[0, 3_000, 10_000]),
        session_grace: 4_000 + random.below(4_000),
        goodbye_grace: 1_000,
        behind_timeout: random.pick(&[0, 0, 2_000]),
        inbox_memory: random.pick(&[128 << 20, 128 << 20, 3_000]),
        session_key: key(random),
        unconfirmed: random.pick(&[(1_500, 6_000), (1 << 20, 64 << 20)]),
        patience: random.pick(&[300, 2_000]),
        ..Settings::default()
    };
    // Of something that is drawn anyway: so the rest of a schedule is what it was.
    let gather = match settings.session_key[0] % 4 {
        0 => GatherSettings {
            longest: 40_000,
            busy: 10,
            counts_own: true,
            events: 1_000_000,
            slack: 0,
            times: 20,
        },
        _ => GatherSettings::default(),
    };
    let settings = Settings { gather, ..settings };
    let events = random.pick(&[4, 12, 40, 300]);
    let bytes = random.pick(&[0, 3_000, 20_000]);
    let age = random.pick(&[3_000, 30_000]);
    let kinds = ["chat", "arena", "crowd", "quiet", "asked", "fragile"].map(|name| {
        let mut kind = Kind {
            name: name.to_owned(),
            mode: if name == "arena" {
                Mode::State
            } else {
                Mode::Relay
            },
            no_echo: name == "quiet",
            full_presence_limit: if name == "crowd" { 2 } else { 256 },
            ..Kind::default()
        };
        let retention = &mut kind.retention;
        (retention.events, retention.bytes, retention.age) = match roomy {
            true => (0, 0, 600_000),
            false => (events, bytes, age),
        };
        kind
    });
    let shards = 1 + random.below(3) as u16;
    let setup = Setup {
        shards,
        settings,
        kinds: kinds.into(),
        log_ceiling: if roomy {
            0
        } else {
            // What rooms need to be open is never dropped. Where one shard has all of them it is more: else one of them
            // might never open again.
            random.pick(&[0, 0, if shards == 1 { 20_000 } else { 12_000 }])
        },
        slow_links: random.pick(&[0, 100, 400]),
        pace: Pace {
            read_buffer: random.pick(&[64, 1_000, 64 * 1024]),
            first_reads_a_look: random.pick(&[1, 8]),
            ..Pace::default()
        },
        stopwatch_step: random.pick(&[1, 6_000]),
    };
    let store = random.chance(400).then(|| Temper {
        delay: random.pick(&[0, 2, 20, 100]),
        loses: random.pick(&[0, 50, 200]),
        loses_answer: random.pick(&[0, 50, 200]),
        doubles: random.pick(&[0, 200]),
    });
    let weather = Weather {
        restarts: if roomy && store.is_none() {
            0
        } else {
            random.pick(&[0, 0, 8])
        },
        store,
        store_restarts: 0,
        long_cuts: 0,
        roomy,
        latency: random.pick(&[0, 5, 40, 150]),
        windows: random.pick(&[(300, 3_000), (2_000, 20_000), (64_000, 64_000)]),
        peers: 2 + random.below(3),
        askers: random.pick(&[0, 1, 2, 2]),
    };
    (setup, weather)
}

/// Signs resume tokens.
pub(crate) fn key(random: &mut Random) -> [u8; 32] {
    std::array::from_fn(|_| random.next() as u8)
}
