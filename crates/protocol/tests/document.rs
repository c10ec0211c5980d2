//! `docs/protocol.md` says what is: its examples are read and converted, and its tables hold every type, code and limit.
//! `ROOMCAST_BLESS=1` writes the Protobuf below each example anew.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fmt::Write as _;

use common::{hex, resend, root};
use roomcast_protocol::client::{decode_server, encode_request};
use roomcast_protocol::{CloseCode, ErrorCode, Format, Limits, MessageType, decode};

fn document() -> String {
    std::fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

/// A fenced block: what stands behind the backticks, and its text.
struct Block {
    marker: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in document.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(marker), None) => {
                open = Some(Block {
                    marker: marker.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => writeln!(block.text, "{line}").unwrap(),
            (None, None) => {}
        }
    }
    blocks
}

/// An example in the other format, by the codec.
fn convert(marker: &str, message: &[u8], from: Format, to: Format) -> Vec<u8> {
    if marker.contains("server") {
        return resend(to, &decode_server(from, message).unwrap());
    }
    let limits = Limits::default();
    let message = decode(from, message, &limits)
        .unwrap_or_else(|bad| panic!("{bad}: {}", String::from_utf8_lossy(message)));
    let mut out = Vec::new();
    encode_request(to, &message, &mut out);
    out
}

fn lines_of_hex(bytes: &[u8]) -> String {
    bytes.chunks(56).map(|line| hex(line) + "\n").collect()
}

fn bless() {
    let mut blessed = String::new();
    let mut example: Option<Block> = None;
    let mut lines = document();
    lines.push('\n');
    let mut lines = lines.lines();
    while let Some(line) = lines.next() {
        writeln!(blessed, "{line}").unwrap();
        let Some(marker) = line.strip_prefix("```").filter(|marker| !marker.is_empty()) else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let ("protobuf", Some(example)) = (marker, &example) {
            let json = example.text.trim().as_bytes();
            let protobuf = convert(&example.marker, json, Format::Json, Format::Protobuf);
            blessed.push_str(&lines_of_hex(&protobuf));
        } else {
            text.iter()
                .for_each(|line| writeln!(blessed, "{line}").unwrap());
        }
        blessed.push_str("```\n");
        example = Some(Block {
            marker: marker.to_owned(),
            text: text.join("\n"),
        });
    }
    std::fs::write(
        root().join("docs/protocol.md"),
        blessed.trim_end().to_owned() + "\n",
    )
    .unwrap();
}

#[test]
fn examples_are_messages_and_their_protobuf_is_the_same() {
    if std::env::var_os("ROOMCAST_BLESS").is_some() {
        bless();
    }
    let blocks = blocks(&document());
    let mut examples = 0;
    for pair in blocks.windows(2) {
        let [example, protobuf] = pair else { continue };
        if !example.marker.starts_with("json") {
            continue;
        }
        examples += 1;
        let json = example.text.trim();
        assert_eq!(protobuf.marker, "protobuf", "below {json}");
        let converted = convert(
            &example.marker,
            json.as_bytes(),
            Format::Json,
            Format::Protobuf,
        );
        assert_eq!(protobuf.text, lines_of_hex(&converted), "below {json}");
        if example.marker.contains("server") {
            // As the server writes it, to the byte.
            let written = convert(&example.marker, json.as_bytes(), Format::Json, Format::Json);
            assert_eq!(String::from_utf8(written).unwrap(), json);
        }
    }
    let marked = blocks
        .iter()
        .filter(|block| block.marker.starts_with("json"))
        .count();
    assert_eq!(
        examples, marked,
        "an example at the end has no Protobuf below it"
    );
    assert!(examples > 40, "only {examples} examples");
}

#[test]
fn every_type_has_an_example_and_a_row() {
    let document = document();
    let blocks = blocks(&document);
    for message_type in MessageType::ALL {
        let (name, number) = (message_type.as_str(), message_type.number());
        assert!(
            document.contains(&format!("| `{name}` | {number} |")),
            "no row for {name}"
        );
        let key = format!("\"type\":\"{name}\"");
        let shown = |who: &str| {
            let mut examples = blocks.iter().filter(|block| block.marker.starts_with(who));
            examples.any(|block| block.text.contains(&key))
        };
        assert!(
            !message_type.is_request() || shown("json client"),
            "no example of {name}"
        );
        assert!(
            shown("json client") || shown("json server"),
            "no example of {name}"
        );
    }
}

#[test]
fn every_code_has_its_row() {
    let document = document();
    let again = |yes| if yes { "yes" } else { "no" };
    let (_, errors) = document.split_once("## Errors").unwrap();
    let (offences, others) = errors.split_once("The others are answers").unwrap();
    for code in ErrorCode::ALL {
        let row = format!("| `{}` | {} |", code.as_str(), again(code.retryable()));
        let table = if code.is_offence() { offences } else { others };
        assert!(table.contains(&row), "{row}");
    }
    for code in CloseCode::ALL {
        let row = format!(
            "| {} | `{}` | {} |",
            code.code(),
            code.as_str(),
            again(code.comes_back())
        );
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn every_limit_has_its_row() {
    let document = document();
    let Limits {
        max_nesting,
        max_name,
        max_event_name,
        max_nickname,
        max_id,
        max_params,
        max_presence_keys,
        max_presence,
        max_positions,
        max_capabilities,
        max_token,
    } = Limits::default();
    for (key, value) in [
        ("max_nesting", usize::from(max_nesting)),
        ("max_name", max_name),
        ("max_event_name", max_event_name),
        ("max_nickname", max_nickname),
        ("max_id", max_id),
        ("max_params", max_params),
        ("max_presence_keys", max_presence_keys),
        ("max_presence", max_presence),
        ("max_positions", max_positions),
        ("max_capabilities", max_capabilities),
        ("max_token", max_token),
    ] {
        let number = if value < 1000 {
            value.to_string()
        } else {
            format!("{},{:03}", value / 1000, value % 1000)
        };
        let row = format!("| {number} | `message.{key}` |");
        assert!(document.contains(&row), "{row}");
    }
}
