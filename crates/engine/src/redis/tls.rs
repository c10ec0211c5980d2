//! TLS to Redis: rustls, with aws-lc-rs.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::config::Tls;

/// Shakes hands on a new connection to `host`.
pub(crate) async fn shake_hands(
    tcp: TcpStream,
    host: &str,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, String> {
    let config = client_config(tls)?;
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name for TLS"))?;
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, tcp)
        .await
        .map_err(|error| format!("TLS: {error}"))
}

fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let roots = match &tls.ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("a certificate in {}: {error}", path.display()))?;
            }
            Arc::new(roots)
        }
        None => system_roots(),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots);
    match &tls.certificate {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                format!("can't read the private key in {}: {error}", key.display())
            })?;
            let config = config.with_client_auth_cert(chain, key_der);
            config.map_err(|error| {
                format!(
                    "{} and {} don't fit: {error}",
                    certificate.display(),
                    key.display()
                )
            })
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("can't read the certificates in {}: {error}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    match all.is_empty() {
        true => Err(format!("{} has no certificate in PEM", path.display())),
        false => Ok(all),
    }
}

/// Whom the operating system trusts: read once, as there are many.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Arc::clone(roots)
}
