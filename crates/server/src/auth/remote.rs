//! A key set that an identity provider has at a URL: fetched, fetched again, and the last good one kept.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use rand::TryRng as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::Authority;
use crate::outgoing::{self, Outgoing};

/// A key set has a few KiB.
const LARGEST: usize = 256 * 1024;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two requests at least: anybody can name keys that nobody has.
pub(super) const PACE: Duration = Duration::from_secs(10);
/// Before a request that follows one that failed, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a URL in `auth.jwks_path` has to be. Keys that came without TLS could be anybody's.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_jwks_path(path: &str) -> Result<(), String> {
    if !path.contains("://") {
        return Ok(());
    }
    let url = outgoing::read_url(path)?;
    match url.scheme_str() == Some("https") || outgoing::is_loopback(&url) {
        true => Ok(()),
        false => Err("does not begin with https://".to_owned()),
    }
}

/// Fetches the set for as long as its runtime lives.
pub(crate) async fn follow(authority: Arc<Authority>, outgoing: Outgoing) {
    let mut backoff = BACKOFF.0;
    let mut told = String::new();
    loop {
        let begun = Instant::now();
        match fetch(&authority, &outgoing).await {
            Ok(()) => {
                if !told.is_empty() || backoff != BACKOFF.0 {
                    tracing::info!("the keys of auth.jwks_path were fetched");
                }
                (backoff, told) = (BACKOFF.0, String::new());
                let refresh = begun + authority.settings.jwks_refresh;
                sleep_until(begun + PACE.min(authority.settings.jwks_refresh)).await;
                tokio::select! {
                    () = sleep_until(refresh) => {}
                    () = authority.unknown_key.notified() => {}
                }
            }
            Err(error) => {
                if told != error {
                    tracing::warn!("the keys of auth.jwks_path were not fetched: {error}");
                    told = error;
                }
                // Those who wait for the same provider do not ask it together.
                let random = rand::rngs::SysRng.try_next_u32().unwrap_or_default();
                let spread = f64::from(random) / f64::from(u32::MAX);
                sleep(backoff.mul_f64(0.5 + spread / 2.0)).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }
}

async fn fetch(authority: &Authority, outgoing: &Outgoing) -> Result<(), String> {
    let at = std::time::Instant::now();
    let request = Request::get(&authority.settings.jwks_path)
        .header("accept", "application/jwk-set+json, application/json")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let (head, body) = outgoing.send(request, LARGEST, PATIENCE).await?;
    if head.status != StatusCode::OK {
        return Err(format!("the answer is {}", head.status));
    }
    authority.take_fetched(at, body)
}

#[cfg(test)]
mod tests {
    use super::check_jwks_path;

    #[test]
    fn keys_come_with_tls_or_from_this_machine() {
        for good in [
            "",
            "/etc/jwks.json",
            "jwks.json",
            "https://id.example/.well-known/jwks.json",
            "http://127.0.0.1:9000/jwks.json",
            "http://[::1]:9000/jwks.json",
        ] {
            assert_eq!(check_jwks_path(good), Ok(()), "{good}");
        }
        for wrong in [
            "http://id.example/jwks.json",
            "ftp://id.example/jwks.json",
            "https://",
            "https://user:password@id.example/jwks.json",
            "http://localhost.example/jwks.json",
        ] {
            assert!(check_jwks_path(wrong).is_err(), "{wrong}");
        }
    }
}
