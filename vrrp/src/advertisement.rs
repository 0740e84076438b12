//! An advertisement to octets and back (RFC 9568 §5.2, RFC 3768 §5.3).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |Version| Type  |     VRID      |   Priority    | Address Count |
//! +-------+-------+---------------+---------------+---------------+
//! | Rsvd  | Interval, 1/100 s     |           Checksum            |   version 3
//! | Auth Type     | Interval, s   |           Checksum            |   version 2
//! +---------------+---------------+-------------------------------+
//! |                     Addresses, 4 or 16 octets each            |
//! +---------------------------------------------------------------+
//! |                     Authentication Data, 8 octets             |   version 2 alone
//! +---------------------------------------------------------------+
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::checksum::{Coverage, checksum, is_right};
use crate::discard::Discard;
use crate::endpoints::Endpoints;
use crate::iana::{self, ADVERTISEMENT, MAX_INTERVAL_CENTISECONDS};
use crate::values::{AddressList, Addresses, Authentication, Interval, Priority, Seconds, Vrid};

/// The octets before the addresses.
pub const HEADER_LEN: usize = 8;

/// The octets of the authentication data of version 2.
const AUTHENTICATION_LEN: usize = 8;

/// An advertisement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advertisement {
    /// The virtual router.
    pub vrid: Vrid,
    /// The sender's priority; `None` is 0: it was Active, and has stopped.
    pub priority: Option<Priority>,
    /// The part in which the versions differ.
    pub form: Form,
}

/// The part in which the versions differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// RFC 3768, IPv4 alone.
    V2 {
        /// The interval; all routers have the same.
        interval: Seconds,
        /// A password, or none.
        authentication: Authentication,
        /// The addresses of the virtual router.
        addresses: AddressList<Ipv4Addr>,
    },
    /// RFC 9568.
    V3 {
        /// The longest time between two advertisements of this sender. Backup Routers learn it.
        interval: Interval,
        /// The addresses of the virtual router.
        addresses: Addresses,
    },
}

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

/// In JSON: 2 or 3.
impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::V2 => iana::version::TWO,
            Self::V3 => iana::version::THREE,
        })
    }
}

impl Form {
    /// The version.
    pub fn version(&self) -> Version {
        match self {
            Self::V2 { .. } => Version::V2,
            Self::V3 { .. } => Version::V3,
        }
    }

    /// The interval.
    pub fn interval(&self) -> Duration {
        match self {
            Self::V2 { interval, .. } => Duration::from_secs(u64::from(interval.get())),
            Self::V3 { interval, .. } => interval.duration(),
        }
    }

    /// The addresses.
    pub fn addresses(&self) -> Addresses {
        match self {
            Self::V2 { addresses, .. } => Addresses::V4(addresses.clone()),
            Self::V3 { addresses, .. } => addresses.clone(),
        }
    }

    /// Whether it goes over IPv6.
    pub fn is_v6(&self) -> bool {
        match self {
            Self::V2 { .. } | Self::V3 { addresses: Addresses::V4(_), .. } => false,
            Self::V3 { addresses: Addresses::V6(_), .. } => true,
        }
    }

    /// What the checksum covers, where it is not a choice.
    fn coverage(&self, over_ipv4: Coverage) -> Coverage {
        match self {
            Self::V2 { .. } => Coverage::Message,
            Self::V3 { addresses: Addresses::V4(_), .. } => over_ipv4,
            Self::V3 { addresses: Addresses::V6(_), .. } => Coverage::PseudoHeader,
        }
    }
}

/// A received advertisement, and what the IP header and the checksum tell of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The contents.
    pub advertisement: Advertisement,
    /// The addresses of the IP header.
    pub endpoints: Endpoints,
    /// What its checksum covers.
    pub coverage: Coverage,
}

impl Packet {
    /// Decodes the payload of an IP packet. `ttl` is the TTL or hop limit of the IP header, and `least_ttl` the smallest that
    /// is accepted: 255, unless the sender is a unicast peer behind routers.
    ///
    /// # Errors
    /// The first rule that the packet breaks, in the order of [`Discard::ALL`].
    pub fn decode(payload: &[u8], endpoints: Endpoints, ttl: u8, least_ttl: u8) -> Result<Self, Discard> {
        if ttl < least_ttl {
            return Err(Discard::Ttl);
        }
        let (header, rest) = payload.split_first_chunk::<HEADER_LEN>().ok_or(Discard::Truncated)?;
        let &[first, vrid, priority, count, fifth, sixth, ..] = header;
        let version = match (first >> 4, &endpoints) {
            (iana::version::TWO, Endpoints::V4 { .. }) => Version::V2,
            (iana::version::TWO, Endpoints::V6 { .. }) => return Err(Discard::VersionOverIpv6),
            (iana::version::THREE, Endpoints::V4 { .. } | Endpoints::V6 { .. }) => Version::V3,
            (_, Endpoints::V4 { .. } | Endpoints::V6 { .. }) => return Err(Discard::UnknownVersion),
        };
        if first & 0x0F != ADVERTISEMENT {
            return Err(Discard::Type);
        }
        let (addresses, data) = split(rest, &endpoints, version, usize::from(count))?;
        let coverage = coverage(payload, &endpoints, version).ok_or(Discard::Checksum)?;
        let vrid = Vrid::new(vrid).ok_or(Discard::ZeroVrid)?;
        let form = match version {
            Version::V2 => {
                let addresses = AddressList::new(v4(addresses)).ok_or(Discard::NoAddresses)?;
                let interval = Seconds::new(sixth).ok_or(Discard::ZeroInterval)?;
                Form::V2 { interval, authentication: authentication(fifth, data)?, addresses }
            }
            Version::V3 => {
                let addresses = match endpoints {
                    Endpoints::V4 { .. } => AddressList::new(v4(addresses)).map(Addresses::V4),
                    Endpoints::V6 { .. } => AddressList::new(v6(addresses)).map(Addresses::V6),
                };
                let addresses = addresses.ok_or(Discard::NoAddresses)?;
                let centiseconds = u16::from_be_bytes([fifth, sixth]) & MAX_INTERVAL_CENTISECONDS;
                let interval = Interval::from_centiseconds(centiseconds).ok_or(Discard::ZeroInterval)?;
                Form::V3 { interval, addresses }
            }
        };
        let advertisement = Advertisement { vrid, priority: Priority::new(priority), form };
        Ok(Self { advertisement, endpoints, coverage })
    }
}

impl Advertisement {
    /// The payload of an IP packet between `endpoints`, whose family must be that of the addresses. `over_ipv4` is what the
    /// checksum of version 3 covers over IPv4.
    pub fn encode(&self, endpoints: &Endpoints, over_ipv4: Coverage) -> Vec<u8> {
        let (version, count, fields) = match &self.form {
            Form::V2 { interval, authentication, addresses } => {
                let kind = match authentication {
                    Authentication::None => iana::authentication::NONE,
                    Authentication::Password(_) => iana::authentication::PASSWORD,
                };
                (iana::version::TWO, addresses.count(), [kind, interval.get()])
            }
            Form::V3 { interval, addresses } => {
                let count = match addresses {
                    Addresses::V4(list) => list.count(),
                    Addresses::V6(list) => list.count(),
                };
                (iana::version::THREE, count, interval.centiseconds().to_be_bytes())
            }
        };
        let [fifth, sixth] = fields;
        let priority = self.priority.map_or(iana::priority::RELEASED, Priority::get);
        let head = [version << 4 | ADVERTISEMENT, self.vrid.get(), priority, count, fifth, sixth];
        let mut tail = Vec::new();
        match &self.form {
            Form::V2 { authentication, addresses, .. } => {
                addresses.as_slice().iter().for_each(|address| tail.extend(address.octets()));
                tail.extend(match authentication {
                    Authentication::None => [0; AUTHENTICATION_LEN],
                    Authentication::Password(password) => *password,
                });
            }
            Form::V3 { addresses: Addresses::V4(list), .. } => {
                list.as_slice().iter().for_each(|address| tail.extend(address.octets()));
            }
            Form::V3 { addresses: Addresses::V6(list), .. } => {
                list.as_slice().iter().for_each(|address| tail.extend(address.octets()));
            }
        }
        let blank = [&head[..], &[0, 0], &tail].concat();
        let sum = checksum(&blank, endpoints, self.form.coverage(over_ipv4));
        [&head[..], &sum.to_be_bytes(), &tail].concat()
    }
}

/// The octets of the addresses, and of the authentication data.
fn split<'a>(
    rest: &'a [u8],
    endpoints: &Endpoints,
    version: Version,
    count: usize,
) -> Result<(&'a [u8], &'a [u8]), Discard> {
    let each = match endpoints {
        Endpoints::V4 { .. } => 4,
        Endpoints::V6 { .. } => 16,
    };
    let data_len = match version {
        Version::V2 => AUTHENTICATION_LEN,
        Version::V3 => 0,
    };
    let (addresses, rest) = rest.split_at_checked(count * each).ok_or(Discard::Incomplete)?;
    let (data, rest) = rest.split_at_checked(data_len).ok_or(Discard::Incomplete)?;
    if rest.is_empty() { Ok((addresses, data)) } else { Err(Discard::TrailingOctets) }
}

/// What the checksum covers; `None` if it is wrong.
fn coverage(payload: &[u8], endpoints: &Endpoints, version: Version) -> Option<Coverage> {
    let possible: &[Coverage] = match (version, endpoints) {
        (Version::V2, _) => &[Coverage::Message],
        (Version::V3, Endpoints::V4 { .. }) => &[Coverage::Message, Coverage::PseudoHeader],
        (Version::V3, Endpoints::V6 { .. }) => &[Coverage::PseudoHeader],
    };
    possible.iter().copied().find(|&coverage| is_right(payload, endpoints, coverage))
}

fn authentication(kind: u8, data: &[u8]) -> Result<Authentication, Discard> {
    match (kind, data.first_chunk()) {
        (iana::authentication::NONE, _) => Ok(Authentication::None),
        (iana::authentication::PASSWORD, Some(password)) => Ok(Authentication::Password(*password)),
        (_, _) => Err(Discard::AuthenticationType),
    }
}

fn v4(octets: &[u8]) -> Vec<Ipv4Addr> {
    octets.as_chunks::<4>().0.iter().copied().map(Ipv4Addr::from).collect()
}

fn v6(octets: &[u8]) -> Vec<Ipv6Addr> {
    octets.as_chunks::<16>().0.iter().copied().map(Ipv6Addr::from).collect()
}

#[cfg(test)]
mod tests;
