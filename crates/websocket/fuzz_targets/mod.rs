//! What is fuzzed: functions that take any bytes and panic when a promise of the crate is broken.
//! They are called by `tests/fuzz.rs` (stable Rust) and by cargo-fuzz in `fuzz/websocket`.

use roomcast_websocket::handshake::{ClientRequest, accept};
use roomcast_websocket::{
    Deflate, DeflateConfig, DeflateOffer, Event, ProtocolError, Receiver, ReceiverConfig, Role,
    Scratch, parse_extensions,
};

/// A fuzz target.
pub(crate) type Target = fn(&[u8]);

/// All targets by name.
pub(crate) const TARGETS: [(&str, Target); 5] = [
    ("receiver_server", receiver_server),
    ("receiver_client_deflate", receiver_client_deflate),
    ("extensions", extensions),
    ("handshake_request", handshake_request),
    ("handshake_response", handshake_response),
];

/// A server without and with compression, the limits and the chunks taken from the first three
/// octets.
pub(crate) fn receiver_server(data: &[u8]) {
    receiver(Role::Server, data);
}

/// A client: nothing is masked, so that what is mutated is what is decompressed.
pub(crate) fn receiver_client_deflate(data: &[u8]) {
    receiver(Role::Client, data);
}

fn receiver(role: Role, data: &[u8]) {
    let [options, chunk, chunk_step, data @ ..] = data else {
        return;
    };
    let config = config(*options);
    let whole = events(role, &config, data, usize::MAX, 0);
    let limit = config.max_message;
    for event in &whole.0 {
        if let Owned::Text(message) | Owned::Binary(message) = event {
            assert!(
                limit == 0 || message.len() <= limit,
                "a message over the limit"
            );
        }
    }
    let chunk = usize::from(*chunk).max(1);
    let chunked = events(role, &config, data, chunk, usize::from(*chunk_step));
    assert_eq!(
        whole, chunked,
        "whole and in chunks of {chunk} and {chunk_step} more each time"
    );
    assert_eq!(
        whole,
        events(role, &config, data, 1, 0),
        "whole and octet by octet"
    );
}

fn config(options: u8) -> ReceiverConfig {
    let no_context_takeover = options & 8 != 0;
    ReceiverConfig {
        max_message: [0, 5, 300, 5000][usize::from(options & 3)],
        max_skip: if options & 4 != 0 { 20_000 } else { 0 },
        deflate: (options & 16 != 0).then_some(Deflate {
            server_no_context_takeover: no_context_takeover,
            client_no_context_takeover: no_context_takeover,
            server_max_window_bits: 9 + (options >> 5) % 7,
            client_max_window_bits: 9 + (options >> 5) % 7,
        }),
    }
}

/// An event that doesn't borrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    EmptyFragment,
    Close(Option<(u16, String)>),
    TooLarge(u64),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => {
                assert!(std::str::from_utf8(text.as_bytes()).is_ok());
                Self::Text(text.as_bytes().to_vec())
            }
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::EmptyFragment => Self::EmptyFragment,
            Event::Close(close) => {
                Self::Close(close.map(|close| (close.code, close.reason.to_owned())))
            }
            Event::TooLarge { size } => Self::TooLarge(size),
        }
    }
}

/// What a receiver makes of `data` in chunks, each `step` octets larger than the one before: the
/// events, the error, and whether a message is incomplete.
pub(crate) fn events(
    role: Role,
    config: &ReceiverConfig,
    data: &[u8],
    mut chunk: usize,
    step: usize,
) -> (Vec<Owned>, Option<ProtocolError>, bool) {
    let mut scratch = Scratch::with_limits(2, 4096);
    let mut receiver = Receiver::new(role, config);
    let mut events = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(chunk.min(rest.len()));
        rest = behind;
        chunk = chunk.saturating_add(step);
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match receiver.receive(&mut input, &mut scratch) {
                Ok(Some(event)) => events.push(event.into()),
                Ok(None) => break,
                Err(error) => {
                    let again = receiver.receive(&mut input, &mut scratch);
                    assert_eq!(again, Err(error), "an error is final");
                    return (events, Some(error), false);
                }
            }
        }
        assert!(input.is_empty(), "all input is taken");
    }
    (events, None, receiver.is_mid_message())
}

/// The header's grammar, and what each side concludes from it.
pub(crate) fn extensions(data: &[u8]) {
    let parsed = parse_extensions(data);
    for config in [DeflateConfig::default(), DeflateConfig::shared()] {
        let negotiated = config.negotiate([data]);
        assert_eq!(parsed.is_err(), negotiated.is_err());
        let Ok(Some(accepted)) = negotiated else {
            continue;
        };
        // A client that offered everything takes what a server answers, and both mean the same by
        // it.
        let verified = DeflateOffer::default().verify([accepted.response.as_bytes()]);
        let deflate = accepted.deflate;
        assert!((9..=15).contains(&deflate.server_max_window_bits));
        match verified {
            Ok(deflate) => assert_eq!(deflate, Some(accepted.deflate)),
            Err(_) => assert_eq!(deflate.client_max_window_bits, 8, "{}", accepted.response),
        }
    }
    let _ = DeflateOffer::default().verify([data]);
}

/// A request as header lines: method and version in the first octet.
pub(crate) fn handshake_request(data: &[u8]) {
    let [first, data @ ..] = data else { return };
    let method = if first & 1 == 0 { "GET" } else { "POST" };
    let lines = lines(data);
    match accept(method, (1, first >> 1 & 1 ^ 1), lines) {
        Ok(accept) => {
            assert_eq!(accept.accept_key.len(), 28);
            let _ = DeflateConfig::shared().negotiate(accept.extensions.iter().copied());
        }
        Err(error) => assert!([400, 405, 426].contains(&error.status())),
    }
}

/// A response as header lines.
pub(crate) fn handshake_response(data: &[u8]) {
    let request = ClientRequest {
        host: "example.com",
        target: "/",
        nonce: *b"the sample nonce",
        protocols: &["a", "b"],
        deflate: Some(DeflateOffer::default()),
        headers: &[],
    };
    if let Ok(upgraded) = request.verify(101, lines(data)) {
        assert!(
            upgraded
                .protocol
                .is_none_or(|protocol| request.protocols.contains(&protocol))
        );
    }
}

fn lines(data: &[u8]) -> Vec<(&str, &[u8])> {
    data.split(|octet| *octet == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|octet| *octet == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            Some((name, line[colon + 1..].trim_ascii()))
        })
        .collect()
}
