//! The values of the fields, as types that cannot be wrong.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::iana::{self, MAX_INTERVAL_CENTISECONDS};

/// The number of a virtual router on its link, 1 to 255 (RFC 9568 §5.2.3). IPv4 and IPv6 count apart.
pub type Vrid = NonZeroU8;

/// The priority of a router, 1 to 255 (RFC 9568 §5.2.4). In a packet, 0 is its absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The owner of the addresses. It takes them at its start, and never yields to another.
    pub const OWNER: Self = Self(NonZeroU8::new(iana::priority::OWNER).unwrap());
    /// 100.
    pub const DEFAULT: Self = Self(NonZeroU8::new(iana::priority::DEFAULT).unwrap());

    /// `None` for 0.
    pub const fn new(priority: u8) -> Option<Self> {
        match NonZeroU8::new(priority) {
            Some(priority) => Some(Self(priority)),
            None => None,
        }
    }

    /// The number, 1 to 255.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether it is that of an owner.
    pub fn is_owner(self) -> bool {
        self == Self::OWNER
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// The interval of version 3: 10 ms to 40.95 s, in hundredths of a second (RFC 9568 §5.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(NonZeroU16);

impl Interval {
    /// `None` for 0 and above 4,095.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        match NonZeroU16::new(centiseconds) {
            Some(value) if centiseconds <= MAX_INTERVAL_CENTISECONDS => Some(Self(value)),
            Some(_) | None => None,
        }
    }

    /// `None` if it is not a number of whole hundredths of a second, or out of range.
    pub fn from_duration(duration: Duration) -> Option<Self> {
        let centiseconds = u16::try_from(duration.as_millis() / 10).ok()?;
        let interval = Self::from_centiseconds(centiseconds)?;
        (interval.duration() == duration).then_some(interval)
    }

    /// In hundredths of a second.
    pub const fn centiseconds(self) -> u16 {
        self.0.get()
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.centiseconds()) * 10)
    }
}

/// The interval of version 2: 1 to 255 whole seconds (RFC 3768 §5.3.7).
pub type Seconds = NonZeroU8;

/// 1 to 255 addresses of one family; the count of a packet has one octet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AddressList<A>(Vec<A>);

impl<A> AddressList<A> {
    /// `None` if there is no address, or more than 255.
    pub fn new(addresses: Vec<A>) -> Option<Self> {
        (1..=usize::from(u8::MAX)).contains(&addresses.len()).then_some(Self(addresses))
    }

    /// The addresses, in the order of the packet.
    pub fn as_slice(&self) -> &[A] {
        &self.0
    }

    /// The number of addresses.
    pub fn count(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }
}

/// The addresses of a virtual router. RFC 9568 §5.2.9 requires that the first over IPv6 is link-local; a receiver here does
/// not, because routers that carry only the addresses of a service do not send one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Addresses {
    /// Over IPv4.
    V4(AddressList<Ipv4Addr>),
    /// Over IPv6.
    V6(AddressList<Ipv6Addr>),
}

impl Addresses {
    /// `None` if there is no address, more than 255, or addresses of both families.
    pub fn new(addresses: &[IpAddr]) -> Option<Self> {
        let v4: Vec<_> = addresses.iter().filter_map(|address| v4(*address)).collect();
        let v6: Vec<_> = addresses.iter().filter_map(|address| v6(*address)).collect();
        match (v4.is_empty(), v6.is_empty()) {
            (false, true) => AddressList::new(v4).map(Self::V4),
            (true, false) => AddressList::new(v6).map(Self::V6),
            (true, true) | (false, false) => None,
        }
    }

    /// All of them, in the order of the packet.
    pub fn to_vec(&self) -> Vec<IpAddr> {
        match self {
            Self::V4(list) => list.0.iter().copied().map(IpAddr::V4).collect(),
            Self::V6(list) => list.0.iter().copied().map(IpAddr::V6).collect(),
        }
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

/// The authentication of version 2. RFC 3768 §10 has removed it, because it protects from nothing; the password is here for
/// networks that still have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Authentication {
    /// None.
    #[default]
    None,
    /// A password, sent in clear text; a shorter one has zeros behind it (RFC 2338 §5.3.10).
    Password([u8; 8]),
}

impl Authentication {
    /// The first eight octets of a password.
    pub fn password(password: &str) -> Self {
        let mut octets = [0; 8];
        for (place, octet) in octets.iter_mut().zip(password.bytes()) {
            *place = octet;
        }
        Self::Password(octets)
    }
}

/// Never shows the password.
impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(…)",
        })
    }
}

/// In JSON: the method alone.
impl Serialize for Authentication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::None => "none",
            Self::Password(_) => "password",
        })
    }
}
