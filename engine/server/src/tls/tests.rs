//! Files that will do and files that will not.

use std::path::{Path, PathBuf};

use super::acceptor;
use crate::settings::TlsFiles;

/// A certificate for `localhost` and its key, PEM.
pub(crate) fn certificate_and_key() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let pair = pair.expect("a name that is valid");
    (pair.cert.pem(), pair.signing_key.serialize_pem())
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a directory of our own");
    path
}

#[test]
fn every_error_names_its_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = certificate_and_key();
    let good = write(directory.path(), "certificate.pem", &certificate);
    let key_path = write(directory.path(), "key.pem", &key);
    let other = write(directory.path(), "other.pem", &certificate_and_key().1);
    let empty = write(directory.path(), "empty.pem", "");
    let broken = write(directory.path(), "broken.pem", "-----BEGIN CERTIFICATE-----\n?\n");
    let absent = directory.path().join("absent.pem");
    let table = [
        (&good, &key_path, ""),
        (&absent, &key_path, "absent.pem: "),
        (&good, &absent, "absent.pem: "),
        (&empty, &key_path, "empty.pem: no certificate"),
        (&broken, &key_path, "broken.pem: "),
        (&good, &empty, "empty.pem: no private key"),
        (&good, &good, "certificate.pem: no private key"),
        (&good, &other, "other.pem: "),
    ];
    for (certificate, key, expected) in table {
        let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
        let text = acceptor(&files).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text.is_empty(), expected.is_empty(), "{text}");
        assert!(text.contains(expected), "{text} has no {expected}");
    }
}
