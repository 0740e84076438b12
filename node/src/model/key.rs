//! Keys of sessions that do not stand in the configuration itself.

use std::path::PathBuf;

use vipcast_bgp::secret::Secret;
use vipcast_bgp::transport::{AoAlgorithm, AoKey, Authentication};

/// `password_file:` and its kin: where the key of a session is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// Where it stands.
    pub place: KeyPlace,
    /// What is made of it.
    pub purpose: KeyPurpose,
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// In this file; absolute.
    File(PathBuf),
    /// In the credential of systemd that has this name.
    Credential(String),
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// TCP MD5 (RFC 2385).
    Md5,
    /// TCP-AO (RFC 5925).
    Ao {
        /// Our key's id.
        send_id: u8,
        /// The peer's key's id.
        receive_id: u8,
        /// What makes the MAC.
        algorithm: AoAlgorithm,
    },
}

impl KeyPurpose {
    /// What signs a session with this key.
    pub fn with(self, secret: Secret) -> Authentication {
        match self {
            Self::Md5 => Authentication::Md5(secret),
            Self::Ao { send_id, receive_id, algorithm } => {
                Authentication::Ao(AoKey { secret, send_id, receive_id, algorithm })
            }
        }
    }
}
