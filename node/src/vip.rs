//! A VIP: a service address or a wider prefix that this node announces.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{AddrParseError, IpNet};
use serde::{Deserialize, Serialize};
use vipcast_bgp::family_of;
use vipcast_bgp::wire::Family;

/// A host prefix (/32, /128), or a wider prefix, which an address cannot carry. No bits are set behind its length.
/// Shown and ordered as a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "IpNet", into = "IpNet")]
pub struct Vip(IpNet);

impl Vip {
    /// Whether it is one address.
    pub fn is_host(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }

    /// The address; of a wider prefix its first one.
    pub fn ip(&self) -> IpAddr {
        self.0.addr()
    }

    /// The prefix of its routes.
    pub fn prefix(&self) -> IpNet {
        self.0
    }

    /// The family of its routes.
    pub fn family(&self) -> Family {
        family_of(&self.0)
    }

    /// The short form: an address without its length, a wider prefix with it.
    pub fn short(&self) -> String {
        if self.is_host() { self.ip().to_string() } else { self.to_string() }
    }
}

impl From<IpNet> for Vip {
    /// Bits behind the length are cleared.
    fn from(prefix: IpNet) -> Self {
        Self(prefix.trunc())
    }
}

impl From<IpAddr> for Vip {
    fn from(ip: IpAddr) -> Self {
        Self(ip.into())
    }
}

impl FromStr for Vip {
    type Err = AddrParseError;

    /// An address, or a prefix.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse::<IpAddr>()
            .map(Self::from)
            .or_else(|_not_an_address| text.parse::<IpNet>().map(Self::from))
    }
}

impl From<Vip> for IpNet {
    fn from(vip: Vip) -> Self {
        vip.0
    }
}

/// A map by VIP can be searched by the prefix of a route.
impl Borrow<IpNet> for Vip {
    fn borrow(&self) -> &IpNet {
        &self.0
    }
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_a_canonical_prefix_and_shown_as_one() {
        for (written, shown, short, is_host) in [
            ("192.0.2.1/32", "192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.77/24", "192.0.2.0/24", "192.0.2.0/24", false),
            ("2001:db8::1/128", "2001:db8::1/128", "2001:db8::1", true),
            ("2001:db8::1/64", "2001:db8::/64", "2001:db8::/64", false),
        ] {
            let vip: Vip = written.parse().unwrap();
            let json = serde_json::to_string(&vip).unwrap();
            assert_eq!((vip.to_string(), vip.short(), vip.is_host()), (shown.into(), short.into(), is_host));
            assert_eq!((format!("{vip:?}"), json), (shown.into(), format!("\"{shown}\"")));
            assert_eq!(serde_json::from_str::<Vip>(&format!("\"{written}\"")).unwrap(), vip);
            assert_eq!(short.parse(), Ok(vip));
        }
    }
}
