//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

use std::borrow::Cow;
use std::fmt;

/// One element of the header: an offer in a request, an accepted extension in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The extension's name. Names are compared without regard to case.
    pub name: &'a str,
    /// Its parameters in order; the same one may appear twice.
    pub params: Vec<Param<'a>>,
}

/// A parameter of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// The parameter's name.
    pub name: &'a str,
    /// Its value, without the quotes that it may have had.
    pub value: Option<Cow<'a, str>>,
}

/// A header value that doesn't follow the grammar. The handshake fails because of it (RFC 6455
/// section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionSyntaxError {
    /// Where in the header value, in bytes from its beginning.
    pub at: usize,
}

impl fmt::Display for ExtensionSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Sec-WebSocket-Extensions is malformed at byte {} (RFC 6455, 9.1)",
            self.at
        )
    }
}

impl std::error::Error for ExtensionSyntaxError {}

/// Reads one header line's value. Several lines mean what their values joined by commas mean.
///
/// # Errors
///
/// The value doesn't follow the grammar.
pub fn parse_extensions(value: &[u8]) -> Result<Vec<Extension<'_>>, ExtensionSyntaxError> {
    let mut cursor = Cursor {
        input: value,
        at: 0,
    };
    let mut extensions = Vec::new();
    loop {
        cursor.skip_space();
        match cursor.peek() {
            None => return Ok(extensions),
            // The list rule of RFC 2616 allows for empty elements.
            Some(b',') => cursor.at += 1,
            Some(_) => {
                extensions.push(cursor.extension()?);
                cursor.skip_space();
                match cursor.peek() {
                    None | Some(b',') => {}
                    Some(_) => return Err(cursor.error()),
                }
            }
        }
    }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn extension(&mut self) -> Result<Extension<'a>, ExtensionSyntaxError> {
        let name = self.token()?;
        let mut params = Vec::new();
        loop {
            self.skip_space();
            if self.peek() != Some(b';') {
                return Ok(Extension { name, params });
            }
            self.at += 1;
            self.skip_space();
            params.push(self.param()?);
        }
    }

    fn param(&mut self) -> Result<Param<'a>, ExtensionSyntaxError> {
        let name = self.token()?;
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Ok(Param { name, value: None });
        }
        self.at += 1;
        self.skip_space();
        let value = match self.peek() {
            Some(b'"') => Cow::Owned(self.quoted()?),
            _ => Cow::Borrowed(self.token()?),
        };
        Ok(Param {
            name,
            value: Some(value),
        })
    }

    fn token(&mut self) -> Result<&'a str, ExtensionSyntaxError> {
        let rest = &self.input[self.at..];
        let len = rest.iter().take_while(|octet| is_token(**octet)).count();
        let token = std::str::from_utf8(&rest[..len]).map_err(|_| self.error())?;
        if token.is_empty() {
            return Err(self.error());
        }
        self.at += len;
        Ok(token)
    }

    /// What a quoted string contains has to be a token, once its backslashes are resolved.
    fn quoted(&mut self) -> Result<String, ExtensionSyntaxError> {
        let mut value = String::new();
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'"') if !value.is_empty() => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let octet = self.peek().filter(|octet| is_token(*octet));
                    value.push(char::from(octet.ok_or(self.error())?));
                }
                Some(octet) if is_token(octet) => value.push(char::from(octet)),
                _ => return Err(self.error()),
            }
        }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn error(&self) -> ExtensionSyntaxError {
        ExtensionSyntaxError { at: self.at }
    }
}

/// The octets of a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, usize> {
        let extensions = parse_extensions(value.as_bytes()).map_err(|error| error.at)?;
        let text = extensions.iter().map(|extension| {
            let params = extension.params.iter().map(|param| match &param.value {
                Some(value) => format!("{}={value}", param.name),
                None => param.name.to_owned(),
            });
            format!(
                "{}({})",
                extension.name,
                params.collect::<Vec<_>>().join(" ")
            )
        });
        Ok(text.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_grammar_of_the_rfc() {
        assert_eq!(read("foo"), Ok("foo()".into()));
        assert_eq!(read("foo, bar; baz=2"), Ok("foo() bar(baz=2)".into()));
        assert_eq!(read("bar; baz=\"2\""), Ok("bar(baz=2)".into()));
        assert_eq!(read("bar;baz=\"a\\b\\c\""), Ok("bar(baz=abc)".into()));
        assert_eq!(
            read(" a ; b = c ;d , ,, e\t;f\t"),
            Ok("a(b=c d) e(f)".into())
        );
        assert_eq!(read(""), Ok(String::new()));
        assert_eq!(read(","), Ok(String::new()));
        assert_eq!(read("a;b;b=1"), Ok("a(b b=1)".into()));
    }

    #[test]
    fn what_breaks_it() {
        for value in [
            ";",
            "=",
            "a;",
            "a;;b",
            "a;b=",
            "a b",
            "a;b c",
            "a;b=c d",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c",
            "a;b=\"c d\"",
            "a;b=\"c,d\"",
            "a;b=\"c\\\"",
            "a;b=\"c\"d",
            "a=b",
            "a/b",
            "é",
            "a;b=é",
            "a,;b",
            "a\0",
        ] {
            assert!(read(value).is_err(), "{value:?}");
        }
        assert!(parse_extensions(b"a\xff").is_err());
    }
}
