//! `roomcast pub`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, Write, stdin, stdout};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::http::Api;
use super::{Failure, PubArgs, secret, variable};

pub(super) fn run(args: &PubArgs) -> Result<(), Failure> {
    let url = args.url.clone().or_else(|| variable("ROOMCAST_API_URL"));
    let url = url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let mut api = Api::new(&url, &key(args)?, args.ca.as_deref())?;
    if let Some(message) = &args.message {
        return publish(&mut api, args, message);
    }
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| Failure::new(format!("standard input: {error}")))?;
        publish(&mut api, args, &line)?;
    }
    Ok(())
}

fn key(args: &PubArgs) -> Result<String, Failure> {
    let key = secret("key", args.key_file.as_deref(), "ROOMCAST_API_KEY")?;
    key.ok_or_else(|| {
        Failure::usage("there is no key: give --key-file FILE, or set ROOMCAST_API_KEY_FILE")
    })
}

fn publish(api: &mut Api, args: &PubArgs, message: &str) -> Result<(), Failure> {
    let mut body = json!({ "type": "chat" });
    if let Some(name) = &args.event {
        body["type"] = "event".into();
        body["name"] = name.as_str().into();
    }
    let payload = match args.json {
        // It passes as it is: some of it is no value of ours.
        true => serde_json::from_str::<&RawValue>(message)
            .map_err(|error| Failure::usage(format!("the message is not JSON: {error}")))?
            .get()
            .to_owned(),
        false => {
            body["payload_kind"] = "text".into();
            Value::from(message).to_string()
        }
    };
    if args.ephemeral {
        body["ephemeral"] = true.into();
    }
    let mut body = body.to_string();
    body.pop();
    let body = format!("{body},\"payload\":{payload}}}");
    let path = format!("/api/v1/rooms/{}/messages", encoded(&args.room));
    // Where a connection is lost it is asked again, and published once all the same.
    let once = args.once.clone().unwrap_or_else(random);
    let once = Some(once).filter(|_| !args.ephemeral);
    let (status, answer) = api.post(&path, once.as_deref(), &body)?;
    let told: Value = serde_json::from_str(&answer).unwrap_or_default();
    if status != 200 {
        let detail = told["detail"]
            .as_str()
            .unwrap_or("this is not Roomcast's API");
        let code = told["code"].as_str().unwrap_or("no_api");
        return Err(Failure::new(format!(
            "{detail} ({code}, HTTP status {status})"
        )));
    }
    let place = || Some((told["epoch"].as_str()?, told["offset"].as_u64()?));
    let line = match place() {
        _ if args.json => answer,
        Some((epoch, offset)) => format!("{epoch}:{offset}"),
        // An ephemeral one has no place.
        None => return Ok(()),
    };
    // Whoever reads it may have seen enough.
    let _ = writeln!(stdout(), "{line}");
    Ok(())
}

/// A key that nobody else has.
fn random() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("pub-{:016x}{:016x}", random(), random())
}

/// As one part of a path (RFC 3986 section 2.1).
fn encoded(room: &str) -> String {
    let mut out = String::new();
    for byte in room.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_room_is_one_part_of_the_path() {
        assert_eq!(encoded("chat:a/b c%"), "chat%3Aa%2Fb%20c%25");
        assert_eq!(encoded("räume"), "r%C3%A4ume");
    }
}
