//! The PROXY protocol, version 2 (binary): what a TCP load balancer puts before a connection's first byte to say who
//! the client is. <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header begins with; no HTTP request can.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// Longest rest of a header that is read. TLVs (a certificate's names, say) stay well under it.
const MAX_REST: usize = 4096;

/// Reads the header and not one byte more.
///
/// Returns the client's address, or `None` when the proxy speaks for itself (a health check) or doesn't know it. A proxy
/// may say either of any client, so neither is taken for a program on this machine.
///
/// # Errors
/// `InvalidData` when what is there is no such header, or whatever the stream reports.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let header = FixedPart::parse(fixed).map_err(invalid)?;
    let mut rest = vec![0; header.rest];
    stream.read_exact(&mut rest).await?;
    header.address(&rest).map_err(invalid)
}

fn invalid(sentence: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

/// The first 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FixedPart {
    command: Command,
    family: Family,
    /// Bytes that follow.
    rest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// The proxy's own connection.
    Local,
    /// On behalf of the client that the addresses name.
    Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
    /// UNIX sockets, datagrams, unspecified: nothing to take an address from.
    Other,
}

impl FixedPart {
    fn parse(bytes: [u8; FIXED]) -> Result<FixedPart, &'static str> {
        let [signature @ .., version_command, family, high, low] = bytes;
        if signature != SIGNATURE {
            return Err("no PROXY protocol v2 header");
        }
        let command = match version_command {
            0x20 => Command::Local,
            0x21 => Command::Proxy,
            0x22..=0x2f => return Err("unknown PROXY protocol command"),
            _ => return Err("not version 2 of the PROXY protocol"),
        };
        let family = match family {
            0x11 => Family::Inet,
            0x21 => Family::Inet6,
            _ => Family::Other,
        };
        let rest = usize::from(u16::from_be_bytes([high, low]));
        if rest > MAX_REST {
            return Err("PROXY protocol header too long");
        }
        Ok(FixedPart {
            command,
            family,
            rest,
        })
    }

    /// The source address in what follows; the TLVs behind the addresses are passed over.
    fn address(self, rest: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
        const SHORT: &str = "PROXY protocol header cut short";
        if self.command == Command::Local {
            return Ok(None);
        }
        // Source address, destination address, source port, destination port.
        let (ip, ports): (IpAddr, &[u8]) = match self.family {
            Family::Inet => {
                let (source, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
                (Ipv4Addr::from(*source).into(), rest.get(4..8).ok_or(SHORT)?)
            }
            Family::Inet6 => {
                let (source, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
                (
                    Ipv6Addr::from(*source).into(),
                    rest.get(16..20).ok_or(SHORT)?,
                )
            }
            Family::Other => return Ok(None),
        };
        let (port, _) = ports.split_first_chunk::<2>().ok_or(SHORT)?;
        Ok(Some(SocketAddr::new(
            ip.to_canonical(),
            u16::from_be_bytes(*port),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), String> {
        let mut left = bytes;
        let result = futures_block_on(read(&mut left));
        result
            .map(|address| (address, left.len()))
            .map_err(|error| error.to_string())
    }

    fn futures_block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn ipv4_and_what_follows_is_left() {
        let mut bytes = header(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80]);
        bytes.extend(b"GET / HTTP/1.1");
        assert_eq!(
            parse(&bytes),
            Ok((Some("192.0.2.7:8080".parse().unwrap()), 14))
        );
    }

    #[test]
    fn ipv6_with_tlvs() {
        let mut rest = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        rest.extend([0; 16]);
        rest.extend([1, 187, 0, 80]);
        rest.extend([0x20, 0, 3, 1, 2, 3]);
        let expected = "[2001:db8::7]:443".parse().unwrap();
        assert_eq!(parse(&header(0x21, 0x21, &rest)), Ok((Some(expected), 0)));
    }

    #[test]
    fn mapped_ipv4_is_ipv4() {
        let mut rest = "::ffff:192.0.2.7"
            .parse::<Ipv6Addr>()
            .unwrap()
            .octets()
            .to_vec();
        rest.extend([0; 16]);
        rest.extend([0, 1, 0, 80]);
        let expected = "192.0.2.7:1".parse().unwrap();
        assert_eq!(parse(&header(0x21, 0x21, &rest)), Ok((Some(expected), 0)));
    }

    #[test]
    fn local_and_unknown_families_have_no_address() {
        assert_eq!(parse(&header(0x20, 0x00, &[])), Ok((None, 0)));
        assert_eq!(parse(&header(0x20, 0x11, &[9; 12])), Ok((None, 0)));
        assert_eq!(parse(&header(0x21, 0x31, &[0; 216])), Ok((None, 0)));
        assert_eq!(parse(&header(0x21, 0x00, &[])), Ok((None, 0)));
    }

    #[test]
    fn refused() {
        let say = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert!(say(b"GET / HTTP/1.1\r\n\r\n").contains("no PROXY"));
        assert!(say(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n").contains("no PROXY"));
        assert!(say(&header(0x11, 0x11, &[0; 12])).contains("version 2"));
        assert!(say(&header(0x22, 0x11, &[0; 12])).contains("command"));
        assert!(say(&header(0x21, 0x11, &[0; 11])).contains("cut short"));
        assert!(say(&header(0x21, 0x21, &[0; 35])).contains("cut short"));
        assert!(say(&header(0x21, 0x11, &[0; 5000])).contains("too long"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(tail in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend(&tail);
            let _ = parse(&bytes);
            let _ = parse(&tail);
        }
    }
}
