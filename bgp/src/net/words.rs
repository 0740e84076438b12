//! Errors of the system as causes that code can match, and in the operator's words.

use std::io;

use nix::errno::Errno;

use crate::fsm::{CloseReason, DialError};

/// An error as it stands inside a sentence: `connection refused` instead of `Connection refused (os error 111)`.
pub fn io_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        // Not `TLS`, nor any other name in capitals.
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        (_, _) => text.into(),
    }
}

/// The cause of a failed `connect`.
pub(super) fn dial_error(error: &io::Error) -> DialError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => DialError::Refused,
        Some(Errno::ETIMEDOUT) => DialError::TimedOut { dropped: None },
        Some(Errno::EHOSTUNREACH) => DialError::NoRoute,
        Some(Errno::ECONNRESET) => DialError::Reset,
        Some(Errno::ENETUNREACH) => DialError::NetworkUnreachable,
        Some(Errno::ENETDOWN) => DialError::NetworkDown,
        Some(Errno::EADDRNOTAVAIL) => DialError::NoAddress,
        Some(Errno::ENODEV) => DialError::NoDevice,
        Some(_) | None => DialError::Other(io_error(error)),
    }
}

/// The cause of a broken connection.
pub(super) fn close_reason(error: &io::Error) -> CloseReason {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNRESET) => CloseReason::Reset,
        Some(Errno::EPIPE) => CloseReason::BrokenPipe,
        Some(Errno::ETIMEDOUT) => CloseReason::TimedOut { dropped: None },
        Some(Errno::EHOSTUNREACH) => CloseReason::NoRoute,
        Some(_) | None => CloseReason::Other(io_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_part_of_a_sentence() {
        assert_eq!(io_error(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(io_error(&io::Error::from_raw_os_error(24)), "too many open files");
        assert_eq!(io_error(&io::Error::other("TLS is not spoken here")), "TLS is not spoken here");
    }

    #[test]
    fn a_typed_cause_reads_as_the_system_says_it() {
        for number in 1..=133 {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(dial_error(&error).to_string(), io_error(&error));
            assert_eq!(close_reason(&error).to_string(), io_error(&error));
        }
        let unexpected = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(dial_error(&unexpected), DialError::Other("unexpected end of file".to_owned()));
    }

    #[test]
    fn what_this_host_lacks_is_told_from_what_the_network_says() {
        let ours = (1..=133).filter(|number| dial_error(&io::Error::from_raw_os_error(*number)).is_ours());
        let ours: Vec<Errno> = ours.map(Errno::from_raw).collect();
        assert_eq!(ours, [Errno::ENODEV, Errno::EADDRNOTAVAIL, Errno::ENETDOWN, Errno::ENETUNREACH]);
    }
}
