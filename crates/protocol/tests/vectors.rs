//! The golden vectors in `tests/vectors`, both ways. `ROOMCAST_BLESS=1` writes the Protobuf of those that have none;
//! `tests/vectors/check.py` holds them against other Protobuf code.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{bytes, hex, resend, root, text, unhex, vectors};
use roomcast_protocol::client::{decode_server, encode_request};
use roomcast_protocol::{ErrorCode, Format, Limits, MessageType, decode};
use serde_json::Value;

fn request(format: Format, message: &[u8], to: Format) -> Vec<u8> {
    let limits = Limits::default();
    let request = decode(format, message, &limits).unwrap_or_else(|bad| {
        panic!("{bad}: {}", String::from_utf8_lossy(message));
    });
    let mut out = Vec::new();
    encode_request(to, &request, &mut out);
    out
}

fn answer(format: Format, message: &[u8], to: Format) -> Vec<u8> {
    resend(to, &decode_server(format, message).unwrap())
}

/// Fills in what is missing, when asked to. Whoever does so reads the difference afterwards.
fn bless(file: &str, convert: fn(Format, &[u8], Format) -> Vec<u8>) {
    if std::env::var_os("ROOMCAST_BLESS").is_none() {
        return;
    }
    let path = root().join("tests/vectors").join(file);
    let mut parsed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut lines = Vec::new();
    for vector in parsed["vectors"].as_array_mut().unwrap() {
        if text(vector, "protobuf").is_empty() {
            let message = bytes(vector, Format::Json);
            vector["protobuf"] = hex(&convert(Format::Json, &message, Format::Protobuf)).into();
        }
        lines.push(format!("    {}", serde_json::to_string(vector).unwrap()));
    }
    let about = serde_json::to_string(&parsed["about"]).unwrap();
    let written = format!(
        "{{\n  \"about\": {about},\n  \"vectors\": [\n{}\n  ]\n}}\n",
        lines.join(",\n")
    );
    std::fs::write(path, written).unwrap();
}

fn both_ways(file: &str, convert: fn(Format, &[u8], Format) -> Vec<u8>) {
    bless(file, convert);
    for vector in vectors(file) {
        for from in Format::ALL {
            for to in Format::ALL {
                let converted = convert(from, &bytes(&vector, from), to);
                let name = text(&vector, "name");
                let wanted = bytes(&vector, to);
                assert_eq!(
                    String::from_utf8_lossy(&converted),
                    String::from_utf8_lossy(&wanted),
                    "{name}, {from:?} to {to:?}\n{}\n{}",
                    hex(&converted),
                    hex(&wanted)
                );
            }
        }
    }
}

#[test]
fn client_messages_are_the_same_in_both_formats() {
    both_ways("client.json", request);
}

#[test]
fn server_messages_are_the_same_in_both_formats() {
    both_ways("server.json", answer);
}

#[test]
fn what_the_decoder_reads_is_equal_in_both_formats() {
    for vector in vectors("client.json") {
        let (json, protobuf) = (
            bytes(&vector, Format::Json),
            bytes(&vector, Format::Protobuf),
        );
        let limits = Limits::default();
        assert_eq!(
            decode(Format::Json, &json, &limits).unwrap(),
            decode(Format::Protobuf, &protobuf, &limits).unwrap()
        );
    }
    for vector in vectors("server.json") {
        let (json, protobuf) = (
            bytes(&vector, Format::Json),
            bytes(&vector, Format::Protobuf),
        );
        assert_eq!(
            decode_server(Format::Json, &json).unwrap(),
            decode_server(Format::Protobuf, &protobuf).unwrap()
        );
    }
}

#[test]
fn json_of_any_shape_becomes_the_protobuf_of_the_vector() {
    bless("mapping.json", request);
    for vector in vectors("mapping.json") {
        let json = bytes(&vector, Format::Json);
        let converted = request(Format::Json, &json, Format::Protobuf);
        assert_eq!(
            hex(&converted),
            text(&vector, "protobuf"),
            "{}",
            text(&vector, "name")
        );
        let limits = Limits::default();
        assert_eq!(
            decode(Format::Json, &json, &limits).unwrap(),
            decode(Format::Protobuf, &converted, &limits).unwrap()
        );
    }
}

#[test]
fn every_type_has_a_vector() {
    let all: Vec<Value> = [vectors("client.json"), vectors("server.json")].concat();
    for message_type in MessageType::ALL {
        let quoted = format!("\"type\":\"{}\"", message_type.as_str());
        assert!(
            all.iter()
                .any(|vector| text(vector, "json").contains(&quoted)),
            "{quoted}"
        );
    }
}

#[test]
fn bad_messages_get_their_codes() {
    for vector in vectors("bad.json") {
        let name = text(&vector, "name");
        let (format, data) = match text(&vector, "format") {
            "json" => (Format::Json, text(&vector, "data").as_bytes().to_vec()),
            _ => (Format::Protobuf, unhex(text(&vector, "data"))),
        };
        let bad = match decode(format, &data, &Limits::default()) {
            Err(bad) => bad,
            Ok(message) => panic!("{name}: taken as {message:?}"),
        };
        assert_eq!(bad.code.as_str(), text(&vector, "code"), "{name}: {bad}");
        assert_eq!(bad.seq, vector["seq"].as_u64(), "{name}: seq");
        assert_eq!(
            u64::from(bad.request_id),
            vector["request_id"].as_u64().unwrap_or(0),
            "{name}: request_id"
        );
        assert_eq!(
            bad.room_id.as_deref(),
            vector["room_id"].as_str(),
            "{name}: room"
        );
        assert_eq!(
            bad.request.map(MessageType::as_str),
            vector["request"].as_str(),
            "{name}: type"
        );
        assert!(bad.code.is_offence(), "{name}");
    }
}

#[test]
fn a_page_of_history_has_no_other_inside() {
    let vectors = vectors("server.json");
    let mut pages = vectors
        .iter()
        .filter(|vector| text(vector, "name") == "history");
    let page = pages.next().unwrap();
    let json = format!(
        r#"{{"type":"history","payload":{{"events":[{}]}}}}"#,
        text(page, "json")
    );
    let mut protobuf = bytes(page, Format::Protobuf);
    for key in [0x0a, 0x2a] {
        let length = protobuf.len();
        assert!((128..1 << 14).contains(&length), "a length of two bytes");
        let head = [key, length as u8 | 0x80, (length >> 7) as u8];
        protobuf = [head.as_slice(), &protobuf].concat();
    }
    protobuf = [b"\x08\x12", protobuf.as_slice()].concat();
    for (format, message) in [
        (Format::Json, json.as_bytes()),
        (Format::Protobuf, &protobuf),
    ] {
        let bad = decode_server(format, message).unwrap_err();
        assert_eq!(bad.code, ErrorCode::InvalidValue, "{format:?}: {bad}");
        assert!(bad.message.contains("`events`"), "{bad}");
    }
}

#[test]
fn json_that_is_not_utf8_is_refused() {
    let bad = decode(
        Format::Json,
        b"{\"type\":\"ping\",\"payload\":\"\xff\"}",
        &Limits::default(),
    );
    assert_eq!(bad.unwrap_err().code, ErrorCode::InvalidUtf8);
}

#[test]
fn limits_can_be_switched_off() {
    for vector in vectors("bad.json") {
        let code = text(&vector, "code");
        let nul = text(&vector, "name").contains("with") || text(&vector, "name").contains("half");
        if text(&vector, "format") == "json" && (code == "too_many" || code == "too_large") && !nul
        {
            let data = text(&vector, "data").as_bytes();
            assert!(decode(Format::Json, data, &Limits::OFF).is_ok(), "{vector}");
        }
    }
    let deep = format!(
        "{{\"type\":\"ping\",\"payload\":{}{}}}",
        "[".repeat(254),
        "]".repeat(254)
    );
    assert!(decode(Format::Json, deep.as_bytes(), &Limits::OFF).is_ok());
    let deeper = format!(
        "{{\"type\":\"ping\",\"payload\":{}{}}}",
        "[".repeat(255),
        "]".repeat(255)
    );
    assert_eq!(
        decode(Format::Json, deeper.as_bytes(), &Limits::OFF)
            .unwrap_err()
            .code,
        ErrorCode::TooDeep
    );
}
