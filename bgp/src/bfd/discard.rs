//! The reasons to drop a packet, each with a name and a counter.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use thiserror::Error;

/// Declares the enum together with the list of its values.
macro_rules! discards {
    ($($(#[doc = $doc:literal])+ $name:ident = $words:literal,)+) => {
        /// The reason why a packet is dropped (RFC 5880 §6.8.6, RFC 5881 §5, RFC 5883 §4).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
        pub enum Discard {
            $($(#[doc = $doc])+ #[error($words)] $name,)+
        }

        impl Discard {
            /// Every reason.
            pub const ALL: [Self; [$($words),+].len()] = [$(Self::$name),+];

            /// The name of the variant, which is also the name of its counter.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

discards! {
    /// The packet has fewer than 24 octets.
    Truncated = "shorter than a control packet",
    /// The version is not 1.
    Version = "not BFD version 1",
    /// The length field is below 24, or below 26 with authentication.
    LengthTooShort = "its length field is too small",
    /// The length field is larger than the datagram.
    LengthBeyondPayload = "its length field is larger than the datagram",
    /// Detect Mult is 0.
    ZeroMultiplier = "its detection multiplier is 0",
    /// M is set.
    Multipoint = "the multipoint bit is set",
    /// My Discriminator is 0.
    ZeroMyDiscriminator = "its own discriminator is 0",
    /// Your Discriminator is 0 in Init or Up.
    ZeroYourDiscriminator = "it knows no discriminator of ours and is not Down",
    /// A is set; no session here has authentication.
    Authentication = "it is authenticated, and we use no authentication",
    /// The TTL or hop limit is not 255, or below the session's minimum with multihop.
    Ttl = "its TTL is too low: it was sent from further away, or by a sender that does not set TTL 255",
    /// Your Discriminator is not zero and names no session.
    UnknownDiscriminator = "it is for a session that we do not have",
    /// Your Discriminator is zero, and no session has that address.
    NoSession = "no session has its source address",
    /// Your Discriminator names a session with another address.
    WrongSource = "it is for a session with another address",
    /// Your Discriminator names a session on another interface, or towards another address of ours.
    WrongPath = "it arrived on another path than that of its session",
    /// The packet came to the port of single-hop sessions and names a multihop one, or the other way around.
    WrongPort = "it came to the port of the other kind of session",
}

/// The number of dropped packets for each reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// Counts one more.
    pub fn count(&mut self, reason: Discard) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Replaces the number for this reason.
    #[cfg(feature = "net")]
    pub(crate) fn set(&mut self, reason: Discard, number: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count = number;
        }
    }

    /// The number for this reason.
    pub fn of(&self, reason: Discard) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// The reasons that occurred, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// The total.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// In JSON: the names of the reasons that occurred, and their numbers.
impl Serialize for Discards {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in self.iter() {
            map.serialize_entry(reason.name(), &count)?;
        }
        map.end()
    }
}

impl fmt::Display for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (reason, count)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{reason} ({count})")?;
        }
        Ok(())
    }
}
