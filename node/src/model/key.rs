//! Keys of sessions that are not in the configuration itself.

use std::path::PathBuf;

use vipcast_bgp::secret::Secret;
use vipcast_bgp::transport::{AoAlgorithm, AoKey, Authentication};

/// The source of a session's key: `password_file:` and similar keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// The place of the key.
    pub place: KeyPlace,
    /// The use of the key.
    pub purpose: KeyPurpose,
}

/// The place of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// This file; absolute.
    File(PathBuf),
    /// The systemd credential with this name.
    Credential(String),
}

/// The use of a key.
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
        /// The algorithm of the MAC.
        algorithm: AoAlgorithm,
    },
}

impl KeyPurpose {
    /// The authentication with this key.
    pub fn with(self, secret: Secret) -> Authentication {
        match self {
            Self::Md5 => Authentication::Md5(secret),
            Self::Ao { send_id, receive_id, algorithm } => {
                Authentication::Ao(AoKey { secret, send_id, receive_id, algorithm })
            }
        }
    }
}
