//! JSON strings and numbers, in and out.

use std::borrow::Cow;

use super::scan::plain;
use crate::error::{ErrorCode, Fault};

/// Whether a value is `null`, which means "unset" wherever the payload is ours.
pub(crate) fn is_null(value: &str) -> bool {
    value.starts_with('n')
}

/// The text of a string value; `""` for `null`.
pub(crate) fn read_str(value: &str) -> Result<Cow<'_, str>, Fault> {
    if is_null(value) {
        return Ok(Cow::Borrowed(""));
    }
    match value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if inner.contains('\\') => unescape(inner).map(Cow::Owned),
        Some(inner) => Ok(Cow::Borrowed(inner)),
        None => Err(Fault::field(ErrorCode::WrongType, "must be a string")),
    }
}

fn unescape(inner: &str) -> Result<String, Fault> {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        text.push_str(plain);
        let mut chars = escape.chars();
        chars.next();
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (c, length) = unicode(escape)?;
                text.push(c);
                rest = escape.get(length..).unwrap_or_default();
                continue;
            }
            // A quote, a backslash or a slash: the scanner lets nothing else pass.
            Some(c) => text.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    Ok(text)
}

/// The character of `\uXXXX`, or of two of them that are a surrogate pair, and the length of the escape.
fn unicode(escape: &str) -> Result<(char, usize), Fault> {
    let unit = |from: usize| -> Option<u32> {
        let digits = escape.get(from..)?.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let half = || Fault::field(ErrorCode::InvalidUtf8, "has half of a surrogate pair");
    let first = unit(0).ok_or_else(half)?;
    if let Some(c) = char::from_u32(first) {
        return Ok((c, 6));
    }
    match (first, unit(6)) {
        (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
            let c = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(c).map(|c| (c, 12)).ok_or_else(half)
        }
        _ => Err(half()),
    }
}

pub(crate) fn read_bool(value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(Fault::field(ErrorCode::WrongType, "must be true or false")),
    }
}

/// A finite number; 0 for `null`.
pub(crate) fn read_f64(value: &str) -> Result<f64, Fault> {
    if is_null(value) {
        return Ok(0.0);
    }
    match value.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => {}
        _ => return Err(Fault::field(ErrorCode::WrongType, "must be a number")),
    }
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(Fault::field(
            ErrorCode::InvalidValue,
            "is not a finite number",
        )),
    }
}

/// An integer from 0; `1.0` and `1e3` are integers too, as in JavaScript.
pub(crate) fn read_u64(value: &str) -> Result<u64, Fault> {
    if let Ok(number) = value.parse::<u64>() {
        return Ok(number);
    }
    let number = integer(value)?;
    u64::try_from(number).map_err(|_| out_of_range())
}

pub(crate) fn read_i64(value: &str) -> Result<i64, Fault> {
    match value.parse::<i64>() {
        Ok(number) => Ok(number),
        Err(_) => integer(value),
    }
}

pub(crate) fn read_i32(value: &str) -> Result<i32, Fault> {
    i32::try_from(read_i64(value)?).map_err(|_| out_of_range())
}

/// An integer that is written with a fraction or an exponent; exact up to 2^53.
fn integer(value: &str) -> Result<i64, Fault> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = read_f64(value)?;
    if number.fract() != 0.0 || number.abs() > EXACT {
        return Err(out_of_range());
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an integer of at most 2^53"
    )]
    Ok(number as i64)
}

fn out_of_range() -> Fault {
    Fault::field(ErrorCode::InvalidValue, "must be an integer, and in range")
}

/// Appends a string value. Escapes what RFC 8259 requires and no more.
pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x8 => out.extend_from_slice(b"\\b"),
            0xc => out.extend_from_slice(b"\\f"),
            _ => {
                let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

pub(crate) fn write_u64(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(crate) fn write_i64(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a number in ECMAScript's form (ECMA-262, Number::toString); what is not finite as 0.
pub(crate) fn write_f64(number: f64, out: &mut Vec<u8>) {
    let number = if number.is_finite() { number } else { 0.0 };
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_read() {
        assert_eq!(
            read_str(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83c\udfaez""#).unwrap(),
            "a\"\\/\u{8}\u{c}\n\r\té🎮z"
        );
        for half in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800x""#,
            r#""\ud800\u0041""#,
            r#""\ud800\ud800""#,
        ] {
            assert_eq!(
                read_str(half).unwrap_err().code,
                ErrorCode::InvalidUtf8,
                "{half}"
            );
        }
    }

    #[test]
    fn integers_are_in_their_range_and_may_look_like_doubles() {
        assert_eq!(read_u64("1.0").unwrap(), 1);
        assert_eq!(read_u64("1e3").unwrap(), 1000);
        assert_eq!(read_i32("-2147483648").unwrap(), i32::MIN);
        assert_eq!(read_u64("-0").unwrap(), 0);
        for bad in ["-1", "1.5", "1e300", "18446744073709551616"] {
            assert_eq!(
                read_u64(bad).unwrap_err().code,
                ErrorCode::InvalidValue,
                "{bad}"
            );
        }
        assert_eq!(
            read_i32("2147483648").unwrap_err().code,
            ErrorCode::InvalidValue
        );
        for bad in ["true", "\"1\"", "[]", "{}"] {
            assert_eq!(
                read_u64(bad).unwrap_err().code,
                ErrorCode::WrongType,
                "{bad}"
            );
        }
        assert_eq!(read_f64("1e999").unwrap_err().code, ErrorCode::InvalidValue);
    }

    #[test]
    fn doubles_are_in_ecmascript_s_form() {
        for (number, text) in [
            (1.0, "1"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1e-7, "1e-7"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
            (123.456, "123.456"),
        ] {
            let mut out = Vec::new();
            write_f64(number, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn strings_come_back(text in any::<String>()) {
            let mut out = Vec::new();
            write_str(&text, &mut out);
            let written = String::from_utf8(out).unwrap();
            prop_assert_eq!(&serde_json::from_str::<String>(&written).unwrap(), &text);
            prop_assert_eq!(read_str(&written).unwrap(), text.as_str());
        }

        #[test]
        fn doubles_come_back(number in any::<f64>()) {
            let mut out = Vec::new();
            write_f64(number, &mut out);
            let read = read_f64(std::str::from_utf8(&out).unwrap()).unwrap();
            prop_assert_eq!(read, if number.is_finite() { number } else { 0.0 });
        }
    }
}
