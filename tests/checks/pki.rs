//! Certificates for servers and clients, in the files that these read.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::server::Directory;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority with its certificate in a file.
#[derive(Debug)]
pub(crate) struct Authority<'d> {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: &'d Directory,
    pub(crate) file: PathBuf,
}

/// A certificate and its key, each in a file.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl<'d> Authority<'d> {
    /// Another name is another authority; the same name with another key is an impostor.
    pub(crate) fn new(directory: &'d Directory, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = directory.write("ca.pem", &issuer.pem())?;
        Ok(Self { issuer, directory, file })
    }

    /// For `host`; it was made a year ago, and is good for `lasts` and a minute, or no longer.
    pub(crate) fn issue(&self, host: &str, lasts: Option<Duration>) -> Result<Pair> {
        let now = SystemTime::now();
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = (now - 365 * DAY).into();
        params.not_after = match lasts {
            Some(lasts) => now + lasts + DAY / 1440,
            None => now - DAY,
        }
        .into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let name = format!("{host}-{}", lasts.map_or(0, |lasts| lasts.as_secs()));
        let pair = Pair {
            certificate: self.directory.write(&format!("{name}.pem"), &certificate)?,
            key: self.directory.write(&format!("{name}.key"), &key.serialize_pem())?,
        };
        fs::set_permissions(&pair.key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(pair)
    }
}
