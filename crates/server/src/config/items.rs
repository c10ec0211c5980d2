//! The forms of single texts: addresses, origins, networks, log levels, names of kinds.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

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

/// `https://example.com`, `http://localhost:5173`, or `*`; comes out as browsers send it.
pub(super) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let wrong = |what: &str| Err(format!("has {text:?} in it, which {what}"));
    let lower = text.to_ascii_lowercase();
    let Some((scheme, host)) = lower.split_once("://") else {
        return wrong("lacks \"https://\" or \"http://\"");
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if scheme.is_empty() || host.is_empty() {
        return wrong("is not an origin");
    }
    if host.contains(['/', '?', '#', '@']) {
        return wrong("has more than a scheme, a host and a port");
    }
    if host.contains('*') {
        return wrong("has a * in it (only \"*\" alone is known: any origin)");
    }
    if !host.chars().all(allowed) {
        return wrong(
            "is not as browsers send it (a host with other letters begins with \"xn--\")",
        );
    }
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    Ok(format!("{scheme}://{host}"))
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

/// `HS256`, `RS256`, `ES256` or `EdDSA`.
pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(text).ok_or_else(|| format!("has {text:?} in it, which is none of them"))
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
    fn origins_come_out_as_browsers_send_them() {
        assert_eq!(
            origin("HTTPS://Game.Example:443/").unwrap(),
            "https://game.example"
        );
        assert_eq!(
            origin("http://localhost:5173").unwrap(),
            "http://localhost:5173"
        );
        assert_eq!(origin("http://[::1]:80").unwrap(), "http://[::1]");
        assert_eq!(origin("*").unwrap(), "*");
        for wrong in [
            "game.example",
            "https://",
            "https://a/b",
            "https://*.a",
            "https://ä.example",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("proxy").is_err());
    }
}
