//! The router's side of a configuration: what `vipcast recipe` prints.
//!
//! Every kind of router is one file that writes a `Side` down in the router's words. All of them keep the same rules:
//!
//! * The router accepts exactly the VIPs, and sends nothing (RFC 8212 is satisfied by both policies).
//! * Paths of several nodes are used together (ECMP), also where the nodes have AS numbers of their own.
//! * A path with GRACEFUL_SHUTDOWN (RFC 8326) is the last choice.
//! * Timers, password, TTL, BFD and graceful restart fit those of the node; ADD-PATH is off.

mod bird;
mod eos;
mod frr;
mod gobgp;
mod junos;
mod nxos;
mod openbgpd;
mod routeros;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_node::model::{Authentication, Bfd, Config, KeyPurpose, Peer, Reach, RouterAddress};
use vipcast_node::names::PeerName;

/// Paths that a router uses at once.
const MOST_PATHS: u32 = 16;
/// Stands where the operator writes the password.
const PASSWORD: &str = "PASSWORD";
/// Stands where our address is not known.
const NODE_ADDRESS: &str = "NODE_ADDRESS";

/// A kind of router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// FRRouting, as lines of frr.conf
    Frr,
    /// BIRD 2, as a whole bird.conf
    Bird,
    /// GoBGP, as a whole file in TOML
    #[value(name = "gobgp")]
    GoBgp,
    /// OpenBGPD, as a whole bgpd.conf
    #[value(name = "openbgpd")]
    OpenBgpd,
    /// Arista EOS
    Eos,
    /// Juniper Junos, as `set` commands
    Junos,
    /// Cisco NX-OS
    Nxos,
    /// SONiC: FRRouting in its container
    Sonic,
    /// MikroTik RouterOS 7
    #[value(name = "routeros")]
    RouterOs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Frr,
        Self::Bird,
        Self::GoBgp,
        Self::OpenBgpd,
        Self::Eos,
        Self::Junos,
        Self::Nxos,
        Self::Sonic,
        Self::RouterOs,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::GoBgp => "gobgp",
            Self::OpenBgpd => "openbgpd",
            Self::Eos => "eos",
            Self::Junos => "junos",
            Self::Nxos => "nxos",
            Self::Sonic => "sonic",
            Self::RouterOs => "routeros",
        }
    }

    /// The release that the tests run a recipe on.
    const fn tested(self) -> Option<&'static str> {
        match self {
            Self::Frr => Some("FRR 8.4"),
            Self::Bird => Some("BIRD 2.0"),
            Self::GoBgp => Some("GoBGP 3.10"),
            Self::OpenBgpd => Some("OpenBGPD 7.7"),
            Self::Eos | Self::Junos | Self::Nxos | Self::Sonic | Self::RouterOs => None,
        }
    }

    /// How a comment begins.
    const fn comment(self) -> &'static str {
        match self {
            Self::Frr | Self::Eos | Self::Nxos | Self::Sonic => "!",
            Self::Bird | Self::GoBgp | Self::OpenBgpd | Self::Junos | Self::RouterOs => "#",
        }
    }

    /// What it cannot do of this side, in words.
    fn lacks(self, side: &Side) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        if side.bfd.is_some() && matches!(self, Self::GoBgp | Self::OpenBgpd) {
            lacks.push("This router has no BFD: the hold time finds a dead node.");
        }
        if side.is_signed_by_ao {
            lacks.push("The session is signed with TCP-AO: its key chain is not in here.");
        }
        if side.bfd.is_some() && side.ttl_security.is_some() && matches!(self, Self::Frr | Self::Sonic) {
            lacks.push("With ttl-security, the BFD session of FRR 8.4 stays down: keep one of the two.");
        }
        if self == Self::OpenBgpd && side.ttl_security.is_some_and(|hops| hops > 1) {
            lacks.push("OpenBGPD has TTL security for one hop only, and the node wants more.");
        }
        if self == Self::Junos && side.ttl_security.is_some() {
            lacks.push("Junos sends with TTL 255; that it refuses lower ones takes a filter on lo0.");
        }
        if self == Self::RouterOs && side.ttl_security.is_some() {
            lacks.push("RouterOS sends with TTL 255; that it refuses lower ones takes a firewall rule.");
        }
        lacks
    }
}

/// The router's side of one session.
#[derive(Debug, Clone)]
struct Side {
    name: String,
    /// The router's address, as far as it is known.
    router: Option<IpAddr>,
    router_as: Option<Asn>,
    /// Our address, or a word in its place.
    node: String,
    node_as: Asn,
    is_internal: bool,
    /// Whether the two know each other by their link.
    is_unnumbered: bool,
    /// In seconds; 0 is none.
    hold_time: u16,
    has_password: bool,
    is_signed_by_ao: bool,
    /// Hops.
    ttl_security: Option<u8>,
    multihop: Option<u8>,
    bfd: Option<Bfd>,
    keeps_routes: bool,
    /// The VIPs of each family that both sides have.
    vips4: Vec<IpNet>,
    vips6: Vec<IpNet>,
}

impl Side {
    fn new(name: &PeerName, peer: &Peer, config: &Config, ours: Option<IpAddr>) -> Self {
        let vips = |family: Family, is_ipv6: bool| -> Vec<IpNet> {
            let all = config.services.values().flat_map(|service| &service.vips);
            let mut vips: Vec<IpNet> =
                all.map(|vip| vip.prefix()).filter(|vip| vip.addr().is_ipv6() == is_ipv6).collect();
            vips.sort();
            vips.dedup();
            if peer.families.contains(&family) { vips } else { Vec::new() }
        };
        let (ttl_security, multihop) = match peer.reach {
            Reach::TtlSecurity(hops) => (Some(hops.get()), None),
            Reach::Multihop(hops) => (None, Some(hops.get())),
            Reach::ByPeering => (None, None),
        };
        let is_ao = match (&peer.authentication, &peer.key_source) {
            (Some(Authentication::Ao(_)), _) => true,
            (None, Some(source)) => matches!(source.purpose, KeyPurpose::Ao { .. }),
            (Some(Authentication::Md5(_)), _) | (None, None) => false,
        };
        let is_signed = peer.authentication.is_some() || peer.key_source.is_some();
        Self {
            name: name.to_string(),
            router: peer.address.ip(),
            router_as: peer.peer_as,
            node: ours.map_or_else(|| NODE_ADDRESS.to_owned(), |ours| ours.to_string()),
            node_as: peer.local_as,
            is_internal: peer.is_internal(),
            is_unnumbered: matches!(peer.address, RouterAddress::OnLink(_)),
            hold_time: u16::try_from(peer.hold_time.duration().as_secs()).unwrap_or(u16::MAX),
            has_password: is_signed && !is_ao,
            is_signed_by_ao: is_ao,
            ttl_security,
            multihop,
            bfd: peer.bfd,
            keeps_routes: peer.graceful_restart.is_some(),
            vips4: vips(Family::IPV4_UNICAST, false),
            vips6: vips(Family::IPV6_UNICAST, true),
        }
    }

    /// In seconds: a third of the hold time, as the node sends them.
    fn keepalive(&self) -> u16 {
        self.hold_time / 3
    }

    /// The router's AS number, or a word in its place.
    fn router_as(&self) -> String {
        self.router_as.map_or_else(|| "ROUTER_AS".to_owned(), |asn| asn.to_string())
    }

    /// The router's id where it has no other: its address towards us.
    fn router_id(&self) -> Option<Ipv4Addr> {
        match self.router {
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(_)) | None => None,
        }
    }

    /// The VIPs of both families.
    fn vips(&self) -> impl Iterator<Item = &IpNet> {
        self.vips4.iter().chain(&self.vips6)
    }

    /// A word for names in the router's configuration.
    fn word(&self) -> String {
        let word: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        format!("vipcast_{word}")
    }

    /// The BFD timers: the interval in milliseconds, and the multiplier.
    fn bfd(&self) -> Option<(u128, u8)> {
        self.bfd.map(|bfd| (bfd.interval.as_millis(), bfd.multiplier.get()))
    }

    /// The words that the operator replaces.
    fn placeholders(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        if self.has_password {
            words.push(PASSWORD);
        }
        if self.node == NODE_ADDRESS {
            words.push(NODE_ADDRESS);
        }
        if self.router_as.is_none() {
            words.push("ROUTER_AS");
        }
        words
    }

    fn head(&self, kind: Kind) -> String {
        let comment = kind.comment();
        let router = self.router.map(|address| format!(" at {address}")).unwrap_or_default();
        let mut lines = vec![format!(
            "The side of router {}{router} in AS {}, for the node {} in AS {}.",
            self.name,
            self.router_as(),
            self.node,
            self.node_as
        )];
        lines.push(match kind.tested() {
            Some(release) => format!("Made by `vipcast recipe {}`; its tests run it on {release}.", kind.name()),
            None => format!(
                "Made by `vipcast recipe {}`, and NOT run against the real thing, nor its syntax checked: read it first.",
                kind.name()
            ),
        });
        match self.placeholders().as_slice() {
            [] => {}
            words => lines.push(format!("Replace {}.", words.join(", "))),
        }
        if self.vips().next().is_none() {
            lines.push("There are no VIPs to accept yet.".to_owned());
        }
        lines.extend(kind.lacks(self).into_iter().map(str::to_owned));
        lines.into_iter().map(|line| format!("{comment} {line}\n")).collect()
    }

    fn recipe(&self, kind: Kind) -> String {
        let body = match kind {
            Kind::Frr | Kind::Sonic => frr::write(self, kind),
            Kind::Bird => bird::write(self),
            Kind::GoBgp => gobgp::write(self),
            Kind::OpenBgpd => openbgpd::write(self),
            Kind::Eos => eos::write(self),
            Kind::Junos => junos::write(self),
            Kind::Nxos => nxos::write(self),
            Kind::RouterOs => routeros::write(self),
        };
        self.head(kind) + &body
    }
}

/// Lines, each with its end.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn push(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// Adds a line if it applies.
    fn push_if(&mut self, applies: bool, line: impl AsRef<str>) {
        if applies {
            self.push(line);
        }
    }
}

/// The recipe for each of these peers, or all; `ours` has our address of each session, as far as it is known.
pub fn recipes(kind: Kind, config: &Config, only: Option<&str>, ours: &BTreeMap<PeerName, IpAddr>) -> String {
    let peers = config.peers.iter().filter(|(name, _)| only.is_none_or(|only| name.as_str() == only));
    let recipes = peers.map(|(name, peer)| {
        let ours = peer.source_address.or_else(|| ours.get(name).copied());
        Side::new(name, peer, config, ours).recipe(kind)
    });
    recipes.collect::<Vec<_>>().join("\n")
}
