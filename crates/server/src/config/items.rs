//! The forms of single texts: addresses, origins, networks, log levels, names of kinds.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{AllowedOrigin, Asked, EventType, HostName, Right, Secret};
use crate::auth::Algorithm;

/// `127.0.0.1:8080`, `[::1]:8080`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let hint = if let Ok(ip) = text.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, 8080);
        format!("has no port (write {:?})", address.to_string())
    } else if text
        .strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
    {
        format!(
            "has no address (write \"127.0.0.1{text}\" for this machine, \"0.0.0.0{text}\" for all)"
        )
    } else if let Ok(port) = text.parse::<u16>() {
        format!(
            "has no address (write \"127.0.0.1:{port}\" for this machine, \"0.0.0.0:{port}\" for all)"
        )
    } else if let Some(port) = text.strip_prefix("localhost:") {
        format!("is a name (write \"127.0.0.1:{port}\" and \"[::1]:{port}\")")
    } else if text.contains("://") {
        "is a URL".to_owned()
    } else {
        "is not an address and port".to_owned()
    };
    Err(format!("has {text:?} in it, which {hint}"))
}

/// `10.0.0.0/8`, `fd00::/8`, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| single());
    network
        .map(|network| network.trunc())
        .map_err(|_| format!("has {text:?} in it, which is not a network"))
}

/// `https://example.com`, `http://localhost:5173`, `null`, an app's `capacitor://localhost`, or `*`.
pub(super) fn origin(text: &str) -> Result<AllowedOrigin, String> {
    text.parse()
        .map_err(|wrong| format!("has {text:?} in it, which {wrong}"))
}

/// `game.example`, without a port.
pub(super) fn host(text: &str) -> Result<HostName, String> {
    text.parse()
        .map_err(|wrong| format!("has {text:?} in it, which {wrong}"))
}

/// A level, and `target=level` for parts of the program.
pub(super) fn log_level(text: &str) -> Result<(), String> {
    crate::log::filter(text)
        .map(|_| ())
        .ok_or_else(|| "is not a level".to_owned())
}

/// A secret: nothing, or too long to guess.
pub(super) fn secret(text: &str) -> Result<(), String> {
    match text.len() {
        0 | 32.. => Ok(()),
        _ => Err("has less than 32 bytes".to_owned()),
    }
}

/// The name of a file. Whether it is there is seen when it is read.
pub(super) fn path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("has an empty name in it".to_owned());
    }
    Ok(text.to_owned())
}

/// An audience or issuer.
pub(super) fn claim(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("has an empty text in it".to_owned());
    }
    Ok(text.to_owned())
}

/// Where Redis is. All of them are read together, once the mode is known. What it says is not repeated: it may have a
/// password.
pub(super) fn redis_url(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("has an empty text in it".to_owned());
    }
    Ok(text.to_owned().into())
}

/// `HS256`, `RS256`, `ES256` or `EdDSA`.
pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(text).ok_or_else(|| format!("has {text:?} in it, which is none of them"))
}

/// What a key of the API may be used for.
pub(super) fn right(text: &str) -> Result<Right, String> {
    Right::from_name(text).ok_or_else(|| format!("has {text:?} in it, which is none of them"))
}

/// What a webhook tells.
pub(super) fn event_type(text: &str) -> Result<EventType, String> {
    EventType::from_name(text).ok_or_else(|| format!("has {text:?} in it, which is none of them"))
}

/// What a backend decides.
pub(super) fn asked(text: &str) -> Result<Asked, String> {
    Asked::from_name(text).ok_or_else(|| format!("has {text:?} in it, which is none of them"))
}

/// A kind of rooms, in a list.
pub(super) fn kind(text: &str) -> Result<String, String> {
    match kind_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(wrong) => Err(format!("has {text:?} in it, which {wrong}")),
    }
}

/// The name of a table that logs show: of a key of the API, of a webhook.
pub(super) fn table_name(name: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match name.len() {
        1..=64 if name.chars().all(plain) => Ok(()),
        1..=64 => Err("has other characters than letters, digits, `_` and `-`"),
        _ => Err("is empty or longer than 64 bytes"),
    }
}

/// The name of a kind: the part of a room's name before the first `:`.
pub(super) fn kind_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > 64 {
        return Err("is longer than 64 bytes");
    }
    if name.contains(':') {
        return Err("has a ':' in it: a kind is the part of a room's name before that");
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("has white space or control characters in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_answered_with_a_right_one() {
        let wrong = |text| address(text).unwrap_err();
        assert_eq!(
            wrong("10.0.0.1"),
            "has \"10.0.0.1\" in it, which has no port (write \"10.0.0.1:8080\")"
        );
        assert_eq!(
            wrong("::1"),
            "has \"::1\" in it, which has no port (write \"[::1]:8080\")"
        );
        assert!(wrong(":9000").contains("\"127.0.0.1:9000\""));
        assert!(wrong("9000").contains("\"0.0.0.0:9000\""));
        assert!(wrong("localhost:9000").contains("\"[::1]:9000\""));
        assert!(wrong("http://127.0.0.1:80/").contains("is a URL"));
        assert!(wrong("127.0.0.1:99999").contains("is not an address and port"));
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("proxy").is_err());
    }
}
