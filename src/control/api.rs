//! What the control socket says, as types that both ends share. Times are ages and delays in milliseconds, so that no
//! clock needs to agree with another.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
pub use vipcast_node::commands::{LONGEST_WORDS, Refusal, Services};
use vipcast_node::vip;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its BGP identifier.
    pub router_id: Option<std::net::Ipv4Addr>,
    /// What is not as it should be on this host, in words; none most of the time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How long it has run.
    pub uptime_ms: u64,
    /// The configuration file in force.
    pub config: String,
    /// Phase of the shutdown, while there is one.
    pub shutdown: Option<String>,
    /// Whether a graceful restart is still under way: something is undecided, so End-of-RIB is held, or a peer has not
    /// been told everything.
    pub restarting: bool,
    /// Peers by name.
    pub peers: BTreeMap<String, Peer>,
    /// Checks by name.
    pub checks: BTreeMap<String, Check>,
    /// How punctual they are.
    pub probes: Probes,
    /// VIPs in order of address.
    pub vips: Vec<Vip>,
    /// The drain of every service, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Drain>,
    /// Drains of services that are not configured at present.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting_drains: BTreeMap<String, Drain>,
    /// What would be forgotten by a restart now, and why it is not saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub address: Option<IpAddr>,
    /// The interface that the session is bound to, or on whose link the router is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Its ASN.
    pub peer_as: Option<u32>,
    /// `Established` or another state of RFC 4271 §8.2.2.
    pub state: String,
    /// How long it has been in that state.
    pub since_ms: u64,
    /// Hold time in seconds, once negotiated.
    pub hold_time: Option<u16>,
    /// Families in use, once negotiated.
    pub families: Vec<String>,
    /// Our address of the session.
    pub local_address: Option<IpAddr>,
    /// Prefixes that it has from us: its TCP has acknowledged them.
    pub advertised: usize,
    /// UPDATEs sent to it since start, End-of-RIB included.
    pub updates_sent: u64,
    /// Prefixes that it announced to us since start; counted and, unless they are VIPs, dropped.
    pub received: u64,
    /// For how many seconds it keeps our routes over a restart, once negotiated.
    pub restart_time: Option<u16>,
    /// The BFD session with it, if it has one.
    pub bfd: Option<Bfd>,
    /// Why the last session or attempt ended.
    pub last_error: Option<String>,
    /// The failure before it, since there was a session, that says more than that nobody answers: mostly a NOTIFICATION.
    pub telling_error: Option<String>,
    /// How long ago that was.
    pub telling_ms: Option<u64>,
    /// What it is offered, if that is less than everything because it has refused more.
    pub reduced_offer: Option<String>,
    /// What it does not acknowledge, while the kernel sends it again and again.
    pub unacknowledged: Option<String>,
    /// What to look at then.
    pub hint: Option<String>,
    /// Prefixes that we announce and this session cannot carry, with the reason.
    pub withheld: BTreeMap<vip::Vip, String>,
}

/// A BFD session (RFC 5880).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bfd {
    /// `Up`, `Init`, `Down` or `AdminDown`.
    pub state: String,
    /// How long it has been in that state.
    pub since_ms: u64,
    /// We send that often, in microseconds, before jitter; none while the peer wants nothing.
    pub transmit_us: Option<u64>,
    /// After so long a silence, in microseconds, the peer is taken for dead; none while nothing was heard.
    pub detection_us: Option<u64>,
    /// The last change, with its diagnostic in words.
    pub last_change: Option<String>,
    /// How often it left Up.
    pub downs: u64,
    /// How often the peer was not taken for dead because it was us who slept.
    pub late_wakeups: u64,
    /// Why our packets do not leave, or theirs cannot come in.
    pub error: Option<String>,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `up`, `down`, `rising`, `falling` or `unknown`.
    pub state: String,
    /// How long it has been in that state.
    pub since_ms: Option<u64>,
    /// The limit that it exceeds, while it does: it passes all the same.
    pub degraded: Option<String>,
    /// For how long it cannot come up yet, because it went down too often.
    pub held_ms: Option<u64>,
    /// What the last probe saw.
    pub detail: Option<String>,
    /// How long the last probe took.
    pub took_ms: Option<u64>,
    /// How long ago it ended.
    pub ago_ms: Option<u64>,
}

/// The probes of all checks. Those that an event has brought about are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// How many there were since the start.
    pub started: u64,
    /// Half of those of the last ten to twenty seconds began so late at most, in microseconds.
    pub late_p50_us: u64,
    /// 99 of 100 of these began so late at most, in microseconds; 100,000 means that or more.
    pub late_p99_us: u64,
}

/// A VIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The prefix.
    pub vip: vip::Vip,
    /// Its service.
    pub service: String,
    /// What was decided: `announced`, `demoted` or `withheld`.
    pub verdict: String,
    /// What is so: the same, or `ready` while no router has what was decided.
    pub state: String,
    /// How long that has been so.
    pub since_ms: u64,
    /// Stable name of the reason, unless announced.
    pub reason: Option<String>,
    /// The reason in words, with what lies behind it.
    pub why: Option<String>,
    /// Whether the address is on this host; true also for a wider prefix that `bind` does not bind.
    pub bound: bool,
    /// Peers that have it from us: its TCP has acknowledged the route.
    pub sent_to: usize,
    /// Of a VIP that is not withheld, the peers that do not have it, and why.
    pub not_at: BTreeMap<String, String>,
    /// Paths to it that peers announce to us, in the order of their names: another node's, or our own come back.
    pub heard: Vec<Heard>,
}

/// A path to a VIP that a peer announces to us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The peer.
    pub peer: String,
    /// Whose announcement it is: `other`; `ours`, come back; or `unclear` where our own AS announces it and no more can be told.
    pub whose: String,
    /// Where packets for it would go.
    pub next_hop: IpAddr,
    /// Nearest first, 32 ASNs at most.
    pub as_path: Vec<u32>,
    /// ASNs at its far end that were left out.
    pub more_asns: usize,
    /// Where it starts; `null` for a path inside our own AS.
    pub origin_as: Option<u32>,
    /// MED, if it has one.
    pub med: Option<u32>,
    /// LOCAL_PREF, from iBGP peers.
    pub local_pref: Option<u32>,
    /// Communities and large communities, 16 of each at most.
    pub communities: Vec<String>,
    /// Communities that were left out.
    pub more_communities: usize,
}

/// `GET /v1/explain/VIP`: the facts behind one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The verdict.
    #[serde(flatten)]
    pub vip: Vip,
    /// What the routes carry, if announced.
    pub attributes: Option<Attributes>,
    /// Where the address is and who put it there: `on lo, by vipcast`.
    pub address: String,
    /// How the service's checks combine: `all of web, listening`.
    pub condition: String,
    /// Those checks.
    pub checks: BTreeMap<String, Check>,
    /// Another daemon on this host announces it while it is withheld here, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The operator's drain, if there is one.
    pub drain: Option<Drain>,
    /// What each peer has of it.
    pub peers: BTreeMap<String, PeerView>,
}

/// The attributes of an announced route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// MED, if sent.
    pub med: Option<u32>,
    /// LOCAL_PREF, if set (iBGP).
    pub local_pref: Option<u32>,
    /// Times our ASN is prepended.
    pub as_path_prepend: u8,
    /// Bandwidth of the link to this node, in octets per second.
    pub link_bandwidth: Option<u64>,
    /// Communities, extended and large ones included.
    pub communities: Vec<String>,
}

/// A VIP as one peer has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// State of the session.
    pub state: String,
    /// Whether the peer was sent the route, and its TCP has acknowledged it.
    pub sent: bool,
    /// Why not, where that is the session's doing.
    pub why: Option<String>,
    /// State of the BFD session, if there is one.
    pub bfd: Option<String>,
}

/// An operator's drain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when (RFC 3339).
    pub since: String,
    /// Until when, if it ends by itself.
    pub until: Option<String>,
    /// Services that were put back into traffic, of a drain of every service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
}

/// `POST /v1/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Which.
    pub services: Services,
    /// For whom root asks, where the kernel knows no login. Others are called by the name of their user.
    #[serde(default)]
    pub by: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Ends by itself after so long.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// Also where that ends a drain in force earlier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

/// `POST /v1/undrain` and `POST /v1/promote`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesRequest {
    /// Which.
    pub services: Services,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in words.
    pub message: String,
    /// What is not as it should be all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

#[cfg(test)]
mod tests;
