//! Errors of the system in words that operators use.

use std::io;

/// `connection refused` instead of `Connection refused (os error 111)`.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
