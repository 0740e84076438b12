//! The next hop of a route on a session.
//!
//! | prefixes | session over IPv4 | session over IPv6 |
//! | --- | --- | --- |
//! | IPv4 | configured, else our end of the session | our end (RFC 8950) where negotiated, else configured, else an IPv4 address of the interface |
//! | IPv6 | configured, else an IPv6 address of the interface | configured, else our end of the session |
//!
//! Our end is known only when the connection is made (`getsockname`), so this is resolved for each session. If no
//! address is left, routes of that family are withheld: a wrong next hop would blackhole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::endpoints::Endpoints;
use crate::route::NextHops;
use crate::wire::Family;

/// A next hop as encoded in an UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NextHop {
    /// NEXT_HOP (RFC 4271 §5.1.3).
    V4(Ipv4Addr),
    /// In MP_REACH_NLRI (RFC 2545 §3).
    V6 {
        /// A global address; or our link-local address, on a session between link-local addresses without a global one.
        global: Ipv6Addr,
        /// Our link-local address, if the session is between link-local addresses.
        link_local: Option<Ipv6Addr>,
    },
}

/// The next hops of a session, by family of the prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SessionNextHops {
    /// For IPv4 prefixes.
    pub v4: Option<NextHop>,
    /// For IPv6 prefixes.
    pub v6: Option<NextHop>,
}

impl SessionNextHops {
    /// Resolves the next hops. `extended`: both sides accept IPv6 next hops for IPv4 prefixes.
    pub fn resolve(endpoints: &Endpoints, configured: NextHops, extended: bool) -> Self {
        let beside = endpoints.next_hops();
        let v6 = match endpoints.local.ip() {
            IpAddr::V6(local) if local.is_unicast_link_local() => {
                let (global, link_local) = match configured.v6.or(beside.v6) {
                    Some(global) => (global, Some(local)),
                    None => (local, None),
                };
                Some(NextHop::V6 { global, link_local })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {
                configured.v6.or(beside.v6).map(|global| NextHop::V6 { global, link_local: None })
            }
        };
        let v4 = match endpoints.local.ip() {
            IpAddr::V6(_) if extended => v6,
            IpAddr::V4(_) | IpAddr::V6(_) => configured.v4.or(beside.v4).map(NextHop::V4),
        };
        Self { v4, v6 }
    }

    /// The next hop for prefixes of `family`.
    pub fn of(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::IPV4_UNICAST => self.v4,
            Family::IPV6_UNICAST => self.v6,
            _other => None,
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(global) => Self::V6 { global, link_local: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(local: &str, beside: &[&str]) -> Endpoints {
        Endpoints {
            local: (local.parse::<IpAddr>().unwrap(), 179).into(),
            remote: (local.parse::<IpAddr>().unwrap(), 1790).into(),
            interface_addresses: beside.iter().map(|address| address.parse().unwrap()).collect(),
            local_is_service: false,
        }
    }

    fn hop(text: &str) -> Option<NextHop> {
        match text.split_once('+') {
            _none if text.is_empty() => None,
            Some((global, link_local)) => Some(NextHop::V6 {
                global: global.parse().unwrap(),
                link_local: Some(link_local.parse().unwrap()),
            }),
            None => Some(text.parse::<IpAddr>().unwrap().into()),
        }
    }

    type Case = (&'static str, &'static [&'static str], NextHops, bool, &'static str, &'static str);

    #[test]
    fn every_combination_of_session_family_and_configuration_has_the_next_hop_of_the_table() {
        let none = NextHops::default();
        let set = NextHops { v4: Some([10, 9, 9, 9].into()), v6: Some("2001:db8:9::9".parse().unwrap()) };
        let cases: [Case; 13] = [
            // Local end, other addresses of the interface, configured, RFC 8950: for IPv4, for IPv6.
            ("10.0.0.2", &["2001:db8::2"], none, false, "10.0.0.2", "2001:db8::2"),
            ("10.0.0.2", &["2001:db8::2"], none, true, "10.0.0.2", "2001:db8::2"),
            ("10.0.0.2", &["2001:db8::2"], set, false, "10.9.9.9", "2001:db8:9::9"),
            ("10.0.0.2", &[], none, false, "10.0.0.2", ""),
            ("2001:db8::2", &["10.0.0.2"], none, false, "10.0.0.2", "2001:db8::2"),
            ("2001:db8::2", &["10.0.0.2"], none, true, "2001:db8::2", "2001:db8::2"),
            ("2001:db8::2", &["10.0.0.2"], set, false, "10.9.9.9", "2001:db8:9::9"),
            ("2001:db8::2", &[], none, false, "", "2001:db8::2"),
            ("2001:db8::2", &[], none, true, "2001:db8::2", "2001:db8::2"),
            ("fe80::2", &["2001:db8::2"], none, false, "", "2001:db8::2+fe80::2"),
            ("fe80::2", &["2001:db8::2"], none, true, "2001:db8::2+fe80::2", "2001:db8::2+fe80::2"),
            ("fe80::2", &[], none, true, "fe80::2", "fe80::2"),
            ("fe80::2", &["10.0.0.2"], none, false, "10.0.0.2", "fe80::2"),
        ];
        for (local, beside, configured, extended, v4, v6) in cases {
            let got = SessionNextHops::resolve(&endpoints(local, beside), configured, extended);
            let want = SessionNextHops { v4: hop(v4), v6: hop(v6) };
            assert_eq!(got, want, "{local} beside {beside:?}, {configured:?}, extended: {extended}");
        }
    }
}
