//! The header `traceparent` (W3C Trace Context, section 3.2).

use http::HeaderMap;
use roomcast_core::TraceContext;

/// Who asks, and whether it traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) context: TraceContext,
    pub(super) sampled: bool,
}

/// What is no good header counts as none, as the standard says.
pub(super) fn read(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all("traceparent").iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (
        hex(parts.next()?, 2)?,
        hex(parts.next()?, 32)?,
        hex(parts.next()?, 16)?,
        hex(parts.next()?, 2)?,
    );
    // A later version may have more behind it; 255 is none.
    let ends = parts.next().is_none() || version > 0;
    if version == 255 || trace == 0 || span == 0 || !ends {
        return None;
    }
    Some(Parent {
        context: TraceContext {
            trace,
            span: u64::try_from(span).ok()?,
        },
        sampled: flags & 1 == 1,
    })
}

fn hex(text: &str, length: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let good = text.len() == length && text.bytes().all(lower);
    good.then(|| u128::from_str_radix(text, 16).ok())?
}

pub(super) fn write(context: TraceContext) -> String {
    format!("00-{:032x}-{:016x}-01", context.trace, context.span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(text: &'static str) -> Option<Parent> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().unwrap());
        read(&headers)
    }

    #[test]
    fn good_headers_are_read_and_others_are_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = parent(text).unwrap();
        assert!(read.sampled);
        assert_eq!(write(read.context), text);
        let off = parent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        assert!(!off.unwrap().sampled);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-follows";
        assert!(parent(later).is_some());
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
        ] {
            assert_eq!(parent(wrong), None, "{wrong}");
        }
    }
}
