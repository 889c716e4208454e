//! TLS from PEM files, for both fronts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::settings::TlsFiles;

#[cfg(test)]
pub(crate) mod tests;

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{path}: no certificate in it (a PEM section `BEGIN CERTIFICATE`)", path = .0.display())]
    NoCertificate(PathBuf),
    /// A file has no key in it.
    #[error("{path}: no private key in it (a PEM section `BEGIN PRIVATE KEY`, not encrypted)", path = .0.display())]
    NoKey(PathBuf),
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("{certificate} and {key}: {source}", certificate = files.certificate.display(), key = files.key.display())]
    Pair {
        /// The two.
        files: TlsFiles,
        /// Why.
        source: rustls::Error,
    },
}

/// What takes connections with the certificate of `files`: TLS 1.2 and 1.3, no client certificates.
///
/// # Errors
///
/// [`TlsError`] that names the file.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = chain(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(files.key.clone()),
        source => TlsError::File { path: files.key.clone(), source },
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let config = config.map_err(|source| TlsError::Pair { files: files.clone(), source })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|source| TlsError::File { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}
