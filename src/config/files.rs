//! Files that the configuration names: certificates, private keys, and keys of sessions. They are read when the
//! configuration is looked at, and again by what uses them, with the same rules: a secret that others may read is none.
//!
//! Reading may hang (a dead NFS server), so it is never done on the main thread or on that of the probes. Opening does not
//! wait for the other end of a pipe.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use vipcast_bgp::secret::{Secret, SecretError};
use vipcast_bgp::transport::Authentication;

use super::file;
use super::model::{KeyPlace, KeySource};
use crate::check::password::Password;

/// The access that others may have to a file: reading or writing.
const OTHERS: u32 = 0o006;
/// Read at most of a password, in bytes: one more than any, and the end of its line.
const LARGEST_PASSWORD: u64 = 4096 + 3;
/// Read at most of a private key, in bytes; its certificates may stand beside it.
const LARGEST_KEY: u64 = 256 * 1024;
/// No bundle of certificates is larger.
const LARGEST_BUNDLE: u64 = 16 << 20;
/// Where systemd says which directory has the credentials of the unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    /// It is not there, or may not be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: String, is_forbidden: bool },
    /// A directory, a pipe.
    #[error("`{}` is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A secret that is none.
    #[error("`{}` holds a {what}, and everyone may read or write it", path.display())]
    Exposed { path: PathBuf, what: &'static str, then: &'static str },
    /// More than a password.
    #[error("`{}` has more than one line", .0.display())]
    ManyLines(PathBuf),
    /// A password that no server has.
    #[error("the password in `{}` cannot be used: {cause}", path.display())]
    NoPassword { path: PathBuf, cause: &'static str },
    /// A password that the kernel does not take.
    #[error("the password in `{}` cannot be used: {cause}", path.display())]
    Password { path: PathBuf, cause: SecretError },
    /// No PEM, or of something else.
    #[error("`{}` holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// No PEM, or of something else.
    #[error("`{}` holds no private key that can be used", path.display())]
    NoKey { path: PathBuf, is_encrypted: bool },
    /// The key of another certificate, or of a kind that we cannot use.
    #[error("`{}` cannot be used with the certificate: {cause}", path.display())]
    Unfitting { path: PathBuf, cause: &'static str },
    /// The unit has no credentials.
    #[error("there are no credentials: {CREDENTIALS} is not set")]
    NoCredentials(String),
}

impl FileError {
    /// The remedy.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { is_forbidden: true, .. } => {
                "the user that vipcast runs as must be able to read it".to_owned()
            }
            Self::Unreadable { .. } | Self::NotAFile(_) => return None,
            Self::Exposed { path, then, .. } => format!("`chmod o-rw {}`, and {then}", path.display()),
            Self::ManyLines(_) => "the password is the only line of its file".to_owned(),
            Self::NoPassword { .. } => "leave the key out where the server wants no password".to_owned(),
            Self::Password { cause, .. } => without_password(cause)?.to_owned(),
            Self::NoCertificate(_) => {
                "a PEM file with `-----BEGIN CERTIFICATE-----` in it is needed".to_owned()
            }
            Self::NoKey { is_encrypted: true, .. } => {
                "it is encrypted, and nobody is there to type the passphrase: `openssl pkey` decrypts it"
                    .to_owned()
            }
            Self::NoKey { is_encrypted: false, .. } => {
                "a PEM file with `-----BEGIN PRIVATE KEY-----` in it is needed".to_owned()
            }
            Self::Unfitting { .. } => "the key must be the one that the certificate was made for".to_owned(),
            Self::NoCredentials(name) => format!(
                "systemd sets it with `LoadCredential={name}:/path` in the unit; to check by hand, set it to a directory \
                 with the file `{name}`"
            ),
        })
    }
}

/// The remedy for a password that cannot be used.
pub(super) fn without_password(cause: &SecretError) -> Option<&'static str> {
    (*cause == SecretError::Empty).then_some("leave the key out for a session without a password")
}

/// The certificates in a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let (_, pem) = read(path, LARGEST_BUNDLE)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(FileError::NoCertificate(path.into())),
    }
}

/// The private key in a PEM file, which is a secret.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let pem = read_secret(path, "private key", "replace the key", LARGEST_KEY)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| FileError::NoKey {
        path: path.into(),
        is_encrypted: String::from_utf8_lossy(&pem).contains("ENCRYPTED"),
    })
}

/// `client_cert_file:` and `client_key_file:`, which belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// PEM file with our certificate, and those of the authorities between it and one that the server knows.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// A certificate with those between it and an authority, and its key.
pub(crate) fn identity(files: &ClientFiles) -> Result<CertifiedKey, FileError> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds errors; few of them are about keys")]
        let cause = match error {
            rustls::Error::InconsistentKeys(_) => "it belongs to another one",
            rustls::Error::InvalidCertificate(_) => "the certificate is damaged",
            _ => "it is of a kind that vipcast cannot use (it knows RSA, ECDSA with P-256 and P-384, and Ed25519)",
        };
        FileError::Unfitting { path: files.key.clone(), cause }
    })
}

/// Reads the key of a session.
pub(crate) fn read_key(source: &KeySource) -> Result<Authentication, FileError> {
    let path = path_of(&source.place)?;
    let secret = Secret::new(&only_line(&path)?).map_err(|cause| FileError::Password { path, cause })?;
    Ok(source.purpose.with(secret))
}

/// Reads the password of a check.
pub(crate) fn password(place: &KeyPlace) -> Result<Password, FileError> {
    let path = path_of(place)?;
    Password::new(&only_line(&path)?).map_err(|cause| FileError::NoPassword { path, cause })
}

fn path_of(place: &KeyPlace) -> Result<PathBuf, FileError> {
    match place {
        KeyPlace::File(path) => Ok(path.clone()),
        KeyPlace::Credential(name) => {
            let directory = std::env::var_os(CREDENTIALS).filter(|directory| !directory.is_empty());
            let directory = directory.ok_or_else(|| FileError::NoCredentials(name.clone()))?;
            Ok(PathBuf::from(directory).join(name))
        }
    }
}

/// The content of a file of one line that holds a password.
fn only_line(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = read_secret(path, "password", "choose a new password", LARGEST_PASSWORD)?;
    // The line end that `echo` and editors add.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.contains(&b'\n') {
        return Err(FileError::ManyLines(path.into()));
    }
    Ok(bytes)
}

/// The content of a file that holds a `what`, unless others can read it; then the hint says to do `then`, because they
/// may have read it.
fn read_secret(
    path: &Path,
    what: &'static str,
    then: &'static str,
    largest: u64,
) -> Result<Vec<u8>, FileError> {
    let (metadata, bytes) = read(path, largest)?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(FileError::Exposed { path: path.into(), what, then });
    }
    Ok(bytes)
}

/// The metadata and the content of a file.
fn read(path: &Path, largest: u64) -> Result<(Metadata, Vec<u8>), FileError> {
    let (metadata, bytes) = file::read(path, largest).map_err(|error| FileError::Unreadable {
        path: path.into(),
        cause: vipcast_bgp::net::words::io_error(&error),
        is_forbidden: error.kind() == ErrorKind::PermissionDenied,
    })?;
    match metadata.is_file() {
        true => Ok((metadata, bytes)),
        false => Err(FileError::NotAFile(path.into())),
    }
}
