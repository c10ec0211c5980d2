//! Requests of the server's own to other servers, with TLS: each with a deadline, and with a bound for its answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::files;

/// Of an answer that nobody needs, so many bytes are read, for so long, to use its connection again.
const LEFT_OVER: usize = 64 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// Connections without work that are kept, for each server.
const IDLE: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// A client for HTTP/1.1, with and without TLS. Cheap to clone. Redirects are not followed: where a request goes is what
/// the settings say.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Outgoing {
    /// Trusts the certificates in a PEM file, or else those that the system trusts.
    ///
    /// # Errors
    /// A sentence about the file.
    pub(crate) fn new(ca_path: &str) -> Result<Outgoing, String> {
        let mut roots = RootCertStore::empty();
        if ca_path.is_empty() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else {
            let pem = files::read(ca_path).map_err(|wrong| format!("{ca_path:?} {wrong}"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let added = certificate.ok().and_then(|it| roots.add(it).ok());
                added.ok_or_else(|| format!("{ca_path:?} has a certificate that is none"))?;
            }
            if roots.is_empty() {
                return Err(format!("{ca_path:?} has no certificate in it"));
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Outgoing(client))
    }

    /// Sends a request, and reads its answer to the end.
    ///
    /// # Errors
    /// A sentence: there is none within `deadline`, or it is larger than `largest` bytes.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        largest: usize,
        deadline: Duration,
    ) -> Result<(response::Parts, Bytes), String> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(cause)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, largest).collect().await;
            let body = body.map_err(|error| format!("the answer can't be read: {error}"))?;
            Ok((head, body.to_bytes()))
        };
        let late = |_| format!("no answer within {deadline:?}");
        tokio::time::timeout(deadline, exchange)
            .await
            .map_err(late)?
    }

    /// Sends a request, and says how it was answered. What the answer has in it counts for nothing: if it ends soon, its
    /// connection is used again.
    ///
    /// # Errors
    /// A sentence: there is no answer within `deadline`.
    pub(crate) async fn notify(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<response::Parts, String> {
        let late = |_| format!("no answer within {deadline:?}");
        let answer = tokio::time::timeout(deadline, self.0.request(request)).await;
        let answer = answer.map_err(late)?.map_err(cause)?;
        let (head, body) = answer.into_parts();
        let rest = Limited::new(body, LEFT_OVER).collect();
        let _ = tokio::time::timeout(LINGER, rest).await;
        Ok(head)
    }
}

/// Why a request failed, in the words of what is below HTTP.
fn cause(error: hyper_util::client::legacy::Error) -> String {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    cause.unwrap_or_else(|| error.to_string())
}

/// Reads a URL that a setting names. What it shows of whoever asks comes from a file and not from it, as logs show URLs.
///
/// # Errors
/// What is wrong with it, to be put behind its name.
pub(crate) fn read_url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "is no URL".to_owned())?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("does not begin with https:// or http://".to_owned());
    }
    let authority = url.authority().map_or("", |it| it.as_str());
    if authority.contains('@') {
        return Err("has a user or a password in it".to_owned());
    }
    // Behind a bracket it is a port. A password with a `/` in it looks like one too.
    let port = authority.rsplit(']').next().unwrap_or_default();
    if port.contains(':') && url.port_u16().is_none() {
        return Err("has a port that is none".to_owned());
    }
    Ok(url)
}

/// Whether a URL names this machine by its address: what goes there needs no TLS.
pub(crate) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(host);
    url.scheme_str() == Some("http") && host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_nobody_who_asks() {
        for url in [
            "http://a",
            "https://a.example:4318/x",
            "http://[::1]:1/",
            "http://[::1]/@",
        ] {
            assert!(read_url(url).is_ok(), "{url}");
        }
        for (url, says) in [
            ("a", "does not begin"),
            ("ftp://a/", "does not begin"),
            ("http://", "no URL"),
            ("http://me@a/", "a user or a password"),
            ("http://me:pass@a/", "a user or a password"),
            ("http://me:pa/ss@a/", "has a port that is none"),
        ] {
            let told = read_url(url).unwrap_err();
            assert!(told.contains(says), "{url}: {told}");
        }
    }
}
