//! TLS of client connections: the certificate, and what a handshake agrees to (RFC 8446, RFC 5246).
//!
//! The handshake is made on the HTTP runtime. An upgraded connection takes its keys along to its shard (`shard/tls`).

mod records;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, version};

use crate::config::TlsSettings;
use crate::files::{self, FromFiles};

pub(crate) use records::{Followed, Records};

/// The TLS of a connection on its way to a shard: its keys, and where its records are.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) session: ServerConnection,
    pub(crate) records: Records,
}

/// Makes TLS of accepted connections, with the certificate of the moment.
pub(crate) struct Acceptor {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    settings: TlsSettings,
}

impl Acceptor {
    /// Reads certificate and key. `None`: there are none in the settings.
    ///
    /// # Errors
    /// The setting that is wrong, and a sentence.
    pub(crate) fn load(
        settings: &TlsSettings,
    ) -> Result<Option<Arc<Acceptor>>, (&'static str, String)> {
        if !settings.is_on() {
            return Ok(None);
        }
        let certificate = Arc::new(Certificate(RwLock::new(read(settings)?)));
        let config = config(Arc::clone(&certificate));
        Ok(Some(Arc::new(Acceptor {
            acceptor: TlsAcceptor::from(Arc::new(config.map_err(|it| ("tls", it))?)),
            certificate,
            settings: settings.clone(),
        })))
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

impl FromFiles for Acceptor {
    const WHAT: &'static str = "the certificate and its key";

    fn files(&self) -> Vec<PathBuf> {
        let settings = &self.settings;
        [&settings.certificate_path, &settings.key_path]
            .map(PathBuf::from)
            .into()
    }

    fn interval(&self) -> Duration {
        self.settings.reload_interval
    }

    fn reload(&self) -> Result<(), String> {
        let read = read(&self.settings).map_err(|(_, message)| message)?;
        *self
            .certificate
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// TLS 1.2 and 1.3, HTTP/1.1 alone, and sessions resumed by tickets: so nothing is kept for those who are gone.
fn config(certificate: Arc<Certificate>) -> Result<ServerConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    // A client comes back with one connection.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// The certificate that newcomers are shown.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// What is wrong with the files, if they are named: the setting, and a sentence.
pub(crate) fn problem(settings: &TlsSettings) -> Option<(&'static str, String)> {
    let TlsSettings {
        certificate_path,
        key_path,
        ..
    } = settings;
    match (certificate_path.is_empty(), key_path.is_empty()) {
        (true, true) => None,
        (true, false) => Some((
            "tls.certificate_path",
            "tls.key_path is set and tls.certificate_path is not: TLS needs both".to_owned(),
        )),
        (false, true) => Some((
            "tls.key_path",
            "tls.certificate_path is set and tls.key_path is not: TLS needs both".to_owned(),
        )),
        (false, false) => read(settings).err(),
    }
}

/// Reads certificate and key, and sees that they belong together.
fn read(settings: &TlsSettings) -> Result<Arc<CertifiedKey>, (&'static str, String)> {
    const CERTIFICATE: &str = "tls.certificate_path";
    const KEY: &str = "tls.key_path";
    let (certificate_path, key_path) = (&settings.certificate_path, &settings.key_path);
    let in_certificate = |what: &str| {
        (
            CERTIFICATE,
            format!("{CERTIFICATE} = {certificate_path:?} {what}"),
        )
    };
    let in_key = |what: &str| (KEY, format!("{KEY} = {key_path:?} {what}"));
    let pem = files::read(certificate_path).map_err(|it| in_certificate(&it))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| in_certificate("is not a PEM file"))?;
    if chain.is_empty() {
        return Err(in_certificate(
            "has no certificate in it: it takes PEM, the server's own certificate first",
        ));
    }
    let pem = files::read(key_path).map_err(|it| in_key(&it))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        in_key(
            "has no private key in it: it takes PEM (PKCS#8, PKCS#1 or SEC1), without a password",
        )
    })?;
    let provider = aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
        in_key(&format!(
            "can't be used with the certificate of {CERTIFICATE}: {error}"
        ))
    })?;
    Ok(Arc::new(certified))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn problem_of(certificate: &str, key: &str) -> Option<(&'static str, String)> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        problem(&TlsSettings {
            certificate_path: path("certificate", certificate),
            key_path: path("key", key),
            ..TlsSettings::default()
        })
    }

    #[test]
    fn wrong_files_are_named_with_what_is_wrong() {
        let (certificate, key) = pair("one.example");
        let (_, other) = pair("two.example");
        assert_eq!(problem_of(&certificate, &key), None);
        for (certificate, certificate_key, setting, what) in [
            (
                "",
                &*key,
                "tls.certificate_path",
                "has no certificate in it",
            ),
            (
                &*key,
                &*key,
                "tls.certificate_path",
                "has no certificate in it",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                &*key,
                "tls.certificate_path",
                "not a PEM file",
            ),
            (
                &*certificate,
                "",
                "tls.key_path",
                "has no private key in it",
            ),
            (
                &*certificate,
                &*certificate,
                "tls.key_path",
                "has no private key in it",
            ),
            (
                &*certificate,
                &*other,
                "tls.key_path",
                "can't be used with the certificate",
            ),
        ] {
            let (named, message) = problem_of(certificate, certificate_key).unwrap();
            assert_eq!(named, setting);
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn one_without_the_other_is_a_problem() {
        let only = |certificate_path: &str, key_path: &str| {
            problem(&TlsSettings {
                certificate_path: certificate_path.to_owned(),
                key_path: key_path.to_owned(),
                ..TlsSettings::default()
            })
        };
        assert_eq!(only("", ""), None);
        assert_eq!(only("a", "").unwrap().0, "tls.key_path");
        assert_eq!(only("", "a").unwrap().0, "tls.certificate_path");
    }
}
