//! The token in a request's `Authorization` header (RFC 6750 section 2.1).

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use roomcast_core::TokenFault;

use super::response::{Answer, text, unavailable, with_header};
use crate::auth::fault;

/// Why a token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// For people; without any part of the token.
    pub(super) sentence: &'static str,
    challenge: &'static str,
}

impl Fault {
    pub(super) const NOT_SUPPORTED: Fault = Fault {
        sentence: fault::NOT_SUPPORTED,
        challenge: "Bearer",
    };

    /// The keys have not been fetched: nobody can say whether the token is good.
    const NOT_YET: Fault = Fault {
        sentence: fault::NO_KEYS_YET,
        challenge: "",
    };

    /// 401, with what RFC 6750 section 3 asks for; 503 where the token is not at fault.
    pub(super) fn answer(self) -> Answer {
        if self == Fault::NOT_YET {
            return unavailable(self.sentence, 2);
        }
        let answer = text(StatusCode::UNAUTHORIZED, self.sentence);
        let challenge = HeaderValue::from_static(self.challenge);
        with_header(answer, WWW_AUTHENTICATE, challenge)
    }
}

impl From<TokenFault> for Fault {
    fn from(fault: TokenFault) -> Fault {
        match fault {
            TokenFault::Bad(sentence) => Fault {
                sentence,
                challenge: "Bearer error=\"invalid_token\"",
            },
            TokenFault::NotYet => Fault::NOT_YET,
            _ => Fault::NOT_SUPPORTED,
        }
    }
}

/// The token. A header of another scheme is not for us: it may be for a proxy on the way.
///
/// # Errors
/// Several headers, or a `Bearer` with nothing that could be a token.
pub(super) fn token(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    const WRONG: Fault = Fault {
        sentence: fault::HEADER,
        challenge: "Bearer error=\"invalid_request\"",
    };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(WRONG);
    }
    let value = value.to_str().map_err(|_| WRONG)?.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_start();
    if token.is_empty() || token.contains([' ', '\t', ',']) {
        return Err(WRONG);
    }
    Ok(Some(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        let token = token(&headers);
        token
            .map(|token| token.map(str::to_owned))
            .map_err(|fault| fault.sentence)
    }

    #[test]
    fn one_bearer_and_a_token() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["Bearer a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(of(&["bearer   a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(of(&["Basic dTpw"]), Ok(None));
        for wrong in [
            &["Bearer"][..],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a, Bearer b"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(of(wrong), Err(fault::HEADER), "{wrong:?}");
        }
    }
}
