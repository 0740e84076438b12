//! What a server begins with: Protocol::HandshakeV10.
//!
//! ```text
//!   10 | version NUL | thread 4 | scramble 8 | 0 | capabilities 2 | charset 1 | status 2 | capabilities 2
//!      | length 1 | reserved 10 | scramble, at least 13 | plugin NUL
//! ```

use super::message::{CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_SSL, MessageBytes};
use crate::check::quoted::quoted;

const VERSION: u8 = 10;
/// What MariaDB says before its version, for old replicas, which compare it.
const DISGUISE: &str = "5.5.5-";

/// The parts of it that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    version: Vec<u8>,
    capabilities: u32,
    /// What the proof of the password is made with.
    pub(super) scramble: Vec<u8>,
    /// How the server would like it.
    pub(super) plugin: Vec<u8>,
}

impl Greeting {
    /// `None`: it is none, or of a server from before 2004.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut bytes = MessageBytes(message);
        if bytes.byte()? != VERSION {
            return None;
        }
        let version = bytes.until_nul()?.to_vec();
        let _thread = bytes.take(4)?;
        let mut scramble = bytes.take(8)?.to_vec();
        let _filler = bytes.byte()?;
        let low = bytes.u16()?;
        let _charset_and_status = bytes.take(3)?;
        let capabilities = u32::from(low) | u32::from(bytes.u16()?) << 16;
        let length = usize::from(bytes.byte()?);
        let _reserved = bytes.take(10)?;
        if capabilities & CLIENT_PROTOCOL_41 == 0 || capabilities & CLIENT_SECURE_CONNECTION == 0 {
            return None;
        }
        let more = bytes.take(length.saturating_sub(8).max(13))?;
        scramble.extend_from_slice(more.strip_suffix(&[0]).unwrap_or(more));
        // Some old ones leave the NUL out.
        let plugin = bytes.until_nul().unwrap_or(bytes.0).to_vec();
        Some(Self { version, capabilities, scramble, plugin })
    }

    pub(super) fn has_tls(&self) -> bool {
        self.capabilities & CLIENT_SSL != 0
    }

    /// The version as it is shown; quoted where it has what no version has.
    pub(super) fn version(&self) -> String {
        const LONGEST: usize = 60;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-+~_:".contains(byte);
        match std::str::from_utf8(&self.version) {
            Ok(version) if (1..=LONGEST).contains(&version.len()) && version.bytes().all(|b| plain(&b)) => {
                version.strip_prefix(DISGUISE).unwrap_or(version).to_owned()
            }
            Ok(_) | Err(_) => quoted(&self.version),
        }
    }
}
