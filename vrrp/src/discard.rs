//! The reasons to drop a packet, each with a name and a counter.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use thiserror::Error;

/// Declares the enum together with the list of its values.
macro_rules! discards {
    ($($(#[doc = $doc:literal])+ $name:ident = $words:literal,)+) => {
        /// The reason why a packet is dropped (RFC 9568 §7.1, RFC 3768 §7.1).
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
    /// The TTL or hop limit is below the least that the receiver accepts, 255 on its own link.
    Ttl = "its TTL is too low: it was sent from further away, or by a sender that does not set TTL 255",
    /// The packet has fewer than 8 octets.
    Truncated = "shorter than the header of an advertisement",
    /// The version is neither 2 nor 3.
    UnknownVersion = "neither VRRP version 2 nor 3",
    /// Version 2 over IPv6.
    VersionOverIpv6 = "version 2 over IPv6, where only version 3 exists",
    /// The type is not 1.
    Type = "its type is not ADVERTISEMENT",
    /// The packet ends before its addresses, or before the authentication data of version 2.
    Incomplete = "it ends before its last field",
    /// The packet goes on behind its last field.
    TrailingOctets = "it goes on behind its last field (keepalived's auth_hmac adds such a trailer)",
    /// The checksum is wrong, with and without a pseudo-header.
    Checksum = "its checksum is wrong",
    /// The VRID is 0.
    ZeroVrid = "its VRID is 0",
    /// The number of addresses is 0.
    NoAddresses = "it names no address",
    /// The interval is 0.
    ZeroInterval = "its advertisement interval is 0",
    /// The authentication type is neither 0 nor 1.
    AuthenticationType = "its authentication type is neither none nor a password",
    /// Another virtual router than this.
    OtherVrid = "it is for a VRID that we do not have",
    /// Another version than this instance has.
    OtherVersion = "it has the other version of VRRP",
    /// Another address family than this instance has.
    OtherFamily = "it is of the other address family",
    /// The source is our own address.
    OwnSource = "it comes from our own address: looped back, or another router has our address",
    /// The instance has unicast peers, and the source is none of them.
    NotAPeer = "its source is not one of the peers",
    /// Version 2: another password, or one where the other side has none.
    Authentication = "its password is not ours",
    /// Version 2: the interval is not ours (RFC 3768 §7.1).
    OtherInterval = "its advertisement interval is not ours, and version 2 cannot learn it",
    /// Both own the addresses (RFC 9568 §7.1).
    SecondOwner = "another router has priority 255, as we do",
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
