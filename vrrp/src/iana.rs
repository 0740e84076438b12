//! Code points of VRRP: every number that IANA or an RFC assigned, once.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IP protocol number, and the next header of the pseudo-header (RFC 9568 §5.1.1.4, §5.2.8).
pub const PROTOCOL: u8 = 112;

/// The multicast group over IPv4 (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The multicast group over IPv6, link-local scope (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0x12);

/// The TTL or hop limit of every packet on its own link, sent and received (RFC 9568 §5.1.1.3, §5.1.2.3).
pub const TTL: u8 = 255;

/// The traffic class of our packets, as the octet of the IP header: DSCP CS6, network control (RFC 4594 §3.1).
pub const CLASS_SELECTOR_6: u32 = 48 << 2;

/// The number of the version in the upper half of the first octet.
pub mod version {
    /// RFC 3768.
    pub const TWO: u8 = 2;
    /// RFC 9568.
    pub const THREE: u8 = 3;
}

/// The only type of packet, in the lower half of the first octet (RFC 9568 §5.2.2).
pub const ADVERTISEMENT: u8 = 1;

/// Priorities with a meaning of their own (RFC 9568 §5.2.4).
pub mod priority {
    /// The Active Router has stopped.
    pub const RELEASED: u8 = 0;
    /// The default of a router that does not own the addresses.
    pub const DEFAULT: u8 = 100;
    /// The router owns the addresses.
    pub const OWNER: u8 = 255;
}

/// Authentication types of version 2 (RFC 2338 §5.3.6). RFC 3768 reserves all but the first.
pub mod authentication {
    /// No authentication.
    pub const NONE: u8 = 0;
    /// A password in clear text.
    pub const PASSWORD: u8 = 1;
}

/// The longest interval of version 3, twelve bits of hundredths of a second (RFC 9568 §5.2.7).
pub const MAX_INTERVAL_CENTISECONDS: u16 = 0x0FFF;

/// The first five octets of the virtual router's MAC over IPv4; the sixth is the VRID (RFC 9568 §7.3).
pub const MAC_PREFIX_V4: [u8; 5] = [0x00, 0x00, 0x5E, 0x00, 0x01];

/// The first five octets of the virtual router's MAC over IPv6; the sixth is the VRID (RFC 9568 §7.3).
pub const MAC_PREFIX_V6: [u8; 5] = [0x00, 0x00, 0x5E, 0x00, 0x02];
