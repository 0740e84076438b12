//! The password of a check: it stands in the configuration, or in a file that is read when it is first needed (`remembered`), and
//! again after a failure, because a new password may be there. Nothing shows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vipcast_node::model::KeyPlace;

use super::context::ProbeContext;
use super::remembered::{LoadFailure, Remembered};
use crate::config::files;

/// A password that is sent to a server. Its `Debug` has no octet of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Arc<[u8]>);

impl Password {
    /// The longest, in bytes; longer than any.
    pub(crate) const LONGEST: usize = 4096;

    /// # Errors
    /// In words, when it is empty or too long.
    pub(crate) fn new(octets: &[u8]) -> Result<Self, &'static str> {
        match octets.len() {
            0 => Err("it is empty"),
            1..=Self::LONGEST => Ok(Self(octets.into())),
            _ => Err("it is longer than 4096 bytes"),
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `password`, `password_file` or `password_credential` of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PasswordSource {
    /// In the configuration itself.
    Written(Password),
    /// Outside of it.
    At(KeyPlace),
}

/// What one check knows of its password.
#[derive(Debug)]
pub(super) struct KnownPassword {
    source: Option<PasswordSource>,
    read: Remembered<Password>,
}

impl KnownPassword {
    pub(super) fn new(source: Option<&PasswordSource>) -> Self {
        Self { source: source.cloned(), read: Remembered::default() }
    }

    /// The password, if the check has one. A file that cannot be read any more leaves the last one.
    ///
    /// Cancel-safe: what has begun to load is loaded to the end, for the next probe.
    ///
    /// # Errors
    /// In words, where it cannot be read.
    pub(super) async fn get(&self, context: ProbeContext<'_>) -> Result<Option<Password>, String> {
        let place = match &self.source {
            None => return Ok(None),
            Some(PasswordSource::Written(password)) => return Ok(Some(password.clone())),
            Some(PasswordSource::At(place)) => place.clone(),
        };
        let load = move || files::password(&place).map_err(|error| LoadFailure::NoAnswer(error.to_string()));
        let ProbeContext { file_reader, owner, limit, .. } = context;
        let found = limit.within(self.read.get(file_reader, owner.service.as_str(), limit, load)).await;
        let found = found.ok_or_else(|| limit.exceeded("the password was not read"))??;
        Ok(Some(Password::clone(&found.what)))
    }

    /// Reads the file anew next time.
    pub(super) fn renew(&self) {
        self.read.renew(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_and_has_a_length() {
        let password = Password::new(b"hush").unwrap();
        let known = KnownPassword::new(Some(&PasswordSource::Written(password)));
        let shown = format!("{known:?}");
        assert!(!shown.contains("hush") && shown.contains("Password(…)"), "{shown}");
        assert_eq!(Password::new(b""), Err("it is empty"));
        assert_eq!(Password::new(&[b'x'; 4097]), Err("it is longer than 4096 bytes"));
        assert!(Password::new(&[b'x'; 4096]).is_ok());
    }
}
