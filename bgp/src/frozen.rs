//! The frozen form of the machines: what a program hands to the next one, so that sessions live on.
//!
//! ```text
//!   fsm::Peer ──── freeze ──► frozen::Peer ────┐                    ┌──► thaw ──► fsm::Peer
//!   bfd::Session ─ freeze ──► frozen::Session ─┴─ any serde format ─┴──► thaw ──► bfd::Session
//! ```
//!
//! The drivers of `net` have forms of their own around these: [`Speaker`] and [`BfdThread`], with the sockets.
//!
//! TCP sockets survive `execve`, and so does CLOCK_MONOTONIC. A thawed machine gives the same outputs for the same
//! inputs as the machine that was frozen.
//!
//! # The format
//!
//! * It is apart from the machines: plain structs and enums of their own, so that a change of a machine does not change
//!   what an older program wrote. Each kind is an enum with one variant for each version; a reader refuses a variant
//!   that it does not know. A released version never changes.
//! * Times are absolute: nanoseconds of CLOCK_MONOTONIC ([`Instant`]). They mean nothing after a reboot.
//! * Durations are in nanoseconds, octets in hexadecimal, code points in the numbers of their registries.
//! * No field may be absent, an unknown one is refused, and no value must be seen before its type is known. So a format
//!   does not have to carry names.
//!
//! # The thaw
//!
//! A frozen machine comes from a file or a pipe. Every number is checked before the machine is made: a time that is
//! not possible, a counter that would overflow, parts that contradict each other. The result is a whole machine or an
//! [`enum@Error`] with the name of the field, and nothing panics.

pub mod bfd;
pub mod bfd_thread;
pub mod end;
mod octets;
pub mod peer;
pub mod route;
pub mod speaker;

use std::time::Duration;

use thiserror::Error;

pub use self::bfd::Session;
pub use self::bfd_thread::BfdThread;
pub use self::octets::Octets;
pub use self::peer::Peer;
pub use self::speaker::Speaker;
use crate::time::Instant;

/// The reason why a frozen machine cannot be thawed. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// The number is impossible, or leaves no room to count on.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A time of the past is later than now: it was written in another boot, or is damaged.
    #[error("{0} is later than now")]
    Future(&'static str),
    /// A deadline is later than the machine would ever set it.
    #[error("{0} is too far ahead")]
    TooFar(&'static str),
    /// The field contradicts other fields.
    #[error("{0} contradicts other fields")]
    Contradiction(&'static str),
    /// The setting has another value than at the freeze, and a change of it needs a new session.
    #[error("the setting {0} has changed since the freeze")]
    Setting(&'static str),
    /// The set of the caller is not the one of the freeze.
    #[error("the {0} are not those of the freeze")]
    Set(&'static str),
    /// The table of descriptors has no such number.
    #[error("the socket of a {0} is missing")]
    Socket(&'static str),
}

/// A time that has passed.
///
/// # Errors
/// It is later than `now`.
pub fn past(at: Instant, now: Instant, field: &'static str) -> Result<Instant, Error> {
    if at <= now { Ok(at) } else { Err(Error::Future(field)) }
}

/// A deadline that is at most `longest` away.
///
/// # Errors
/// It is further away.
pub fn ahead(at: Instant, now: Instant, longest: Duration, field: &'static str) -> Result<Instant, Error> {
    if at <= now + longest { Ok(at) } else { Err(Error::TooFar(field)) }
}

/// A counter with room to count on.
pub(crate) fn count(count: u64, field: &'static str) -> Result<u64, Error> {
    if count <= u64::MAX / 2 { Ok(count) } else { Err(Error::Range(field)) }
}

/// A number of things in memory.
pub(crate) fn size(size: u64, field: &'static str) -> Result<usize, Error> {
    u32::try_from(size).ok().and_then(|size| usize::try_from(size).ok()).ok_or(Error::Range(field))
}

/// A duration in nanoseconds, at most 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Errs unless the fields agree.
///
/// # Errors
/// They do not.
pub fn agree(agrees: bool, field: &'static str) -> Result<(), Error> {
    if agrees { Ok(()) } else { Err(Error::Contradiction(field)) }
}

/// An enum of the format that has the variants of another enum, with the conversions. For the crates of vipcast.
#[doc(hidden)]
#[macro_export]
macro_rules! __mirror {
    ($(#[$meta:meta])* $name:ident = $of:ty { $($(#[$of_variant:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$of_variant])* $variant,)*
        }

        impl From<$of> for $name {
            fn from(value: $of) -> Self {
                type Of = $of;
                match value {
                    $(Of::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$name> for $of {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }
    };
}
#[doc(hidden)]
pub use __mirror as mirror;
