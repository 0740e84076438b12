//! A key that is never shown.

use std::fmt;
use std::sync::Arc;

/// The longest key that the kernel takes, for TCP MD5 (TCP_MD5SIG_MAXKEYLEN) and for TCP-AO (TCP_AO_MAXKEYLEN).
const LONGEST: usize = 80;

/// A key of 1 to 80 octets that both ends of a session share. It can only be compared and handed to the kernel: its
/// `Debug` shows no octet of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

/// The reason why octets are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No octets: the kernel would take that as "no key".
    #[error("it is empty")]
    Empty,
    /// Too long; the length in octets.
    #[error("it has {0} bytes, and the kernel takes {LONGEST} at most")]
    TooLong(usize),
}

impl Secret {
    /// # Errors
    /// It is empty, or longer than 80 octets.
    pub fn new(key: &[u8]) -> Result<Self, SecretError> {
        match key.len() {
            0 => Err(SecretError::Empty),
            1..=LONGEST => Ok(Self(key.into())),
            longer => Err(SecretError::TooLong(longer)),
        }
    }

    #[cfg(feature = "net")]
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"correct-horse").unwrap();
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(…) Some(\n    Secret(…),\n)");
    }

    #[test]
    fn a_key_has_one_to_eighty_octets() {
        assert_eq!(Secret::new(b""), Err(SecretError::Empty));
        assert!(Secret::new(&[7; 80]).is_ok());
        assert_eq!(Secret::new(&[7; 81]), Err(SecretError::TooLong(81)));
    }
}
