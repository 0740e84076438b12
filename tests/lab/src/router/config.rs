//! The configuration of a router by a test: its identity, its neighbours, its announcements.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// The configuration of a router. It accepts every route, and advertises only what it announces itself.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Its autonomous system.
    pub asn: u32,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// The port it listens on; default 179.
    pub port: u16,
    /// Its neighbours.
    pub neighbors: Vec<Neighbor>,
    /// ECMP over up to 16 paths, of different autonomous systems too; on by default.
    pub multipath: bool,
    /// Whether it advertises the routes of its neighbours to the others; off by default.
    pub transit: bool,
    /// Whether its routes reach the kernel, where its kind has that (FRR, BIRD); on by default.
    pub kernel: bool,
    /// Routes of its own.
    pub announce: Vec<Announcement>,
    /// Appended to the configuration file as it is.
    pub extra: String,
}

impl RouterConfig {
    /// A router without neighbours.
    pub fn new(asn: u32, router_id: Ipv4Addr) -> Self {
        Self {
            asn,
            router_id,
            port: 179,
            neighbors: Vec::new(),
            multipath: true,
            transit: false,
            kernel: true,
            announce: Vec::new(),
            extra: String::new(),
        }
    }

    /// Adds a neighbour.
    #[must_use]
    pub fn neighbor(mut self, neighbor: Neighbor) -> Self {
        self.neighbors.push(neighbor);
        self
    }

    /// Announces a prefix: an `IpNet`, or an [`Announcement`] with attributes.
    #[must_use]
    pub fn announce(mut self, announcement: impl Into<Announcement>) -> Self {
        self.announce.push(announcement.into());
        self
    }

    /// Switches ECMP.
    #[must_use]
    pub fn multipath(self, multipath: bool) -> Self {
        Self { multipath, ..self }
    }

    /// Advertises routes of neighbours to other neighbours.
    #[must_use]
    pub fn transit(self, transit: bool) -> Self {
        Self { transit, ..self }
    }

    /// Keeps its routes to itself: the kernel gets none.
    #[must_use]
    pub fn without_kernel(self) -> Self {
        Self { kernel: false, ..self }
    }

    /// Listens on another port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Appends raw configuration.
    #[must_use]
    pub fn extra(mut self, text: &str) -> Self {
        self.extra.push_str(text);
        self.extra.push('\n');
        self
    }
}

/// A neighbour of a router.
#[derive(Debug, Clone)]
pub struct Neighbor {
    /// Its address; must be on a link unless there is `multihop`.
    pub address: IpAddr,
    /// Its autonomous system.
    pub asn: u32,
    /// Its port; default 179.
    pub port: u16,
    /// The address families of the session; default: the family of the address.
    pub families: BTreeSet<Family>,
    /// Only listens, never dials.
    pub passive: bool,
    /// TCP MD5 (RFC 2385).
    pub password: Option<String>,
    /// GTSM (RFC 5082): how many hops away it may be; 1 is a direct neighbour.
    pub ttl_security: Option<u8>,
    /// eBGP over this many hops.
    pub multihop: Option<u8>,
    /// Seconds; default 9.
    pub hold_time: u16,
    /// IPv4 routes with IPv6 next hops (RFC 8950); needs both families over an IPv6 session.
    pub extended_nexthop: bool,
    /// Keeps the routes of a neighbour that restarts, if it asks for that (RFC 4724, helper); off by default.
    pub graceful_restart: bool,
    /// BFD beside the session; FRR and BIRD have it.
    pub bfd: Option<Bfd>,
    /// Appended to the neighbour's section as it is.
    pub extra: String,
}

impl Neighbor {
    /// A neighbour with the defaults above.
    pub fn new(address: impl Into<IpAddr>, asn: u32) -> Self {
        let address = address.into();
        Self {
            address,
            asn,
            port: 179,
            families: BTreeSet::from([Family::of(address)]),
            passive: false,
            password: None,
            ttl_security: None,
            multihop: None,
            hold_time: 9,
            extended_nexthop: false,
            graceful_restart: false,
            bfd: None,
            extra: String::new(),
        }
    }

    /// Carries exactly these families.
    #[must_use]
    pub fn families(self, families: impl IntoIterator<Item = Family>) -> Self {
        Self { families: families.into_iter().collect(), ..self }
    }

    /// Carries IPv4 and IPv6.
    #[must_use]
    pub fn both_families(self) -> Self {
        self.families([Family::Ipv4, Family::Ipv6])
    }

    /// Only listens.
    #[must_use]
    pub fn passive(self) -> Self {
        Self { passive: true, ..self }
    }

    /// Signs with this password.
    #[must_use]
    pub fn password(self, password: &str) -> Self {
        Self { password: Some(password.to_owned()), ..self }
    }

    /// Accepts only packets from at most this many hops away.
    #[must_use]
    pub fn ttl_security(self, hops: u8) -> Self {
        Self { ttl_security: Some(hops), ..self }
    }

    /// Is up to this many hops away.
    #[must_use]
    pub fn multihop(self, hops: u8) -> Self {
        Self { multihop: Some(hops), ..self }
    }

    /// Offers this hold time in seconds; keepalives come at a third of it.
    #[must_use]
    pub fn hold_time(self, seconds: u16) -> Self {
        Self { hold_time: seconds, ..self }
    }

    /// Dials this port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Offers RFC 8950 and carries both families.
    #[must_use]
    pub fn extended_nexthop(self) -> Self {
        Self { extended_nexthop: true, ..self.both_families() }
    }

    /// Helps the neighbour to restart gracefully.
    #[must_use]
    pub fn graceful_restart(self) -> Self {
        Self { graceful_restart: true, ..self }
    }

    /// Runs BFD with it, whether or not there is a BGP session.
    #[must_use]
    pub fn bfd(self, bfd: Bfd) -> Self {
        Self { bfd: Some(bfd), ..self }
    }

    /// Appends raw configuration to the section of this neighbour.
    #[must_use]
    pub fn extra(mut self, text: &str) -> Self {
        self.extra.push_str(text);
        self.extra.push('\n');
        self
    }

    pub(crate) fn keepalive(&self) -> u16 {
        (self.hold_time / 3).max(1)
    }
}

/// A BFD session of a router. It is over routers when it has a `multihop` address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bfd {
    /// The router sends no faster than this; milliseconds.
    pub transmit: u32,
    /// The router receives as fast as this; milliseconds.
    pub receive: u32,
    /// How many of the router's packets may be lost in a row.
    pub multiplier: u8,
    /// The router's own address of a session over routers.
    pub multihop: Option<IpAddr>,
}

impl Bfd {
    /// The same interval both ways, in milliseconds.
    pub fn new(interval: u32, multiplier: u8) -> Self {
        Self { transmit: interval, receive: interval, multiplier, multihop: None }
    }

    /// Receives as fast as this, in milliseconds.
    #[must_use]
    pub fn receive(self, receive: u32) -> Self {
        Self { receive, ..self }
    }

    /// Is over routers, from this address of the router.
    #[must_use]
    pub fn multihop(self, local: impl Into<IpAddr>) -> Self {
        Self { multihop: Some(local.into()), ..self }
    }
}

/// An address family of unicast routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// `ipv4`, `ipv6`: all four routers spell it so.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// A route that a router originates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The prefix.
    pub prefix: IpNet,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities such as `65001:100`.
    pub communities: Vec<String>,
}

impl Announcement {
    /// A prefix without attributes of its own.
    pub fn new(prefix: IpNet) -> Self {
        Self { prefix, med: None, communities: Vec::new() }
    }

    /// With this MED.
    #[must_use]
    pub fn med(self, med: u32) -> Self {
        Self { med: Some(med), ..self }
    }

    /// With one more community, such as `65001:100`.
    #[must_use]
    pub fn community(mut self, community: &str) -> Self {
        self.communities.push(community.to_owned());
        self
    }
}

impl From<IpNet> for Announcement {
    fn from(prefix: IpNet) -> Self {
        Self::new(prefix)
    }
}
