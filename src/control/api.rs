//! What the control socket says, as types that both ends share. Times are ages and delays in milliseconds, so that no
//! clock needs to agree with another.
//!
//! Each type is stated once, in an `api!` (`api::macros`): the struct, its JSON and its schema in the OpenAPI document are made from it.

mod macros;
mod milliseconds;
pub mod schema;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use vipcast_node::commands::{LONGEST_WORDS, Refusal, Services};
use vipcast_node::vip;

use self::macros::api;
pub use self::milliseconds::Milliseconds;
pub use self::schema::Schema;
pub use self::words::*;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

api! {
    answer
    /// What the node does: its peers, checks and VIPs.
    Status {
        /// Version of the daemon.
        version: String,
        /// Its BGP identifier.
        router_id: Option<std::net::Ipv4Addr>,
        /// What is not as it should be on this host, in words; none most of the time.
        warnings [default]: Vec<String>,
        /// How long it has run.
        uptime_ms: u64,
        /// The configuration file in force.
        config: String,
        /// Phase of the shutdown, while there is one.
        shutdown: Option<ShutdownPhase>,
        /// Whether a graceful restart is still under way: something is undecided, so End-of-RIB is held, or a peer has not
        /// been told everything.
        restarting: bool,
        /// Peers by name.
        peers: BTreeMap<String, Peer>,
        /// Checks by name.
        checks: BTreeMap<String, Check>,
        /// How punctual they are.
        probes: Probes,
        /// VIPs in order of address.
        vips: Vec<Vip>,
        /// The drain of every service, if there is one.
        drained [default]: Option<Drain>,
        /// Drains of services that are not configured at present.
        waiting_drains [default]: BTreeMap<String, Drain>,
        /// What would be forgotten by a restart now, and why it is not saved.
        unsaved [default]: Option<String>,
    }
}

api! {
    answer
    /// A peer.
    Peer {
        /// Its address.
        address: Option<IpAddr>,
        /// The interface that the session is bound to, or on whose link the router is.
        interface [default]: Option<String>,
        /// Its ASN.
        peer_as: Option<u32>,
        /// State of the session.
        state: SessionState,
        /// How long it has been in that state.
        since_ms: u64,
        /// Hold time in seconds, once negotiated.
        hold_time: Option<u16>,
        /// Families in use, once negotiated.
        families: Vec<String>,
        /// Our address of the session.
        local_address: Option<IpAddr>,
        /// Prefixes that it has from us: its TCP has acknowledged them.
        advertised: usize,
        /// UPDATEs sent to it since start, End-of-RIB included.
        updates_sent: u64,
        /// Prefixes that it announced to us since start; counted and, unless they are VIPs, dropped.
        received: u64,
        /// For how many seconds it keeps our routes over a restart, once negotiated.
        restart_time: Option<u16>,
        /// The BFD session with it, if it has one.
        bfd: Option<Bfd>,
        /// Why the last session or attempt ended.
        last_error: Option<String>,
        /// The failure before it, since there was a session, that says more than that nobody answers: mostly a NOTIFICATION.
        telling_error: Option<String>,
        /// How long ago that was.
        telling_ms: Option<u64>,
        /// What it is offered, if that is less than everything because it has refused more.
        reduced_offer: Option<String>,
        /// What it does not acknowledge, while the kernel sends it again and again.
        unacknowledged: Option<String>,
        /// What to look at then.
        hint: Option<String>,
        /// Prefixes that we announce and this session cannot carry, with the reason.
        withheld: BTreeMap<vip::Vip, String>,
    }
}

api! {
    answer
    /// A BFD session (RFC 5880).
    Bfd {
        /// State of the session.
        state: BfdState,
        /// How long it has been in that state.
        since_ms: u64,
        /// We send that often, in microseconds, before jitter; none while the peer wants nothing.
        transmit_us: Option<u64>,
        /// After so long a silence, in microseconds, the peer is taken for dead; none while nothing was heard.
        detection_us: Option<u64>,
        /// The last change, with its diagnostic in words.
        last_change: Option<String>,
        /// How often it left Up.
        downs: u64,
        /// How often the peer was not taken for dead because it was us who slept.
        late_wakeups: u64,
        /// Why our packets do not leave, or theirs cannot come in.
        error: Option<String>,
    }
}

api! {
    answer
    /// A check.
    Check {
        /// Its state.
        state: CheckState,
        /// How long it has been in that state.
        since_ms: Option<u64>,
        /// The limit that it exceeds, while it does: it passes all the same.
        degraded: Option<String>,
        /// For how long it cannot come up yet, because it went down too often.
        held_ms: Option<u64>,
        /// What the last probe saw.
        detail: Option<String>,
        /// How long the last probe took.
        took_ms: Option<u64>,
        /// How long ago it ended.
        ago_ms: Option<u64>,
    }
}

api! {
    answer
    /// The probes of all checks. Those that an event has brought about are not counted.
    Probes {
        /// How many there were since the start.
        started: u64,
        /// Half of those of the last ten to twenty seconds began so late at most, in microseconds.
        late_p50_us: u64,
        /// 99 of 100 of these began so late at most, in microseconds; 100,000 means that or more.
        late_p99_us: u64,
    }
}

api! {
    answer
    /// A VIP.
    Vip {
        /// The prefix.
        vip: vip::Vip,
        /// Its service.
        service: String,
        /// What was decided.
        verdict: Verdict,
        /// What is so: the same, or `ready` while no router has what was decided.
        state: VipState,
        /// How long that has been so.
        since_ms: u64,
        /// The reason, unless announced.
        reason: Option<Reason>,
        /// The reason in words, with what lies behind it.
        why: Option<String>,
        /// Whether the address is on this host; true also for a wider prefix that `bind` does not bind.
        bound: bool,
        /// Peers that have it from us: its TCP has acknowledged the route.
        sent_to: usize,
        /// Of a VIP that is not withheld, the peers that do not have it, and why.
        not_at: BTreeMap<String, String>,
        /// Paths to it that peers announce to us, in the order of their names: another node's, or our own come back.
        heard: Vec<Heard>,
    }
}

api! {
    answer
    /// A path to a VIP that a peer announces to us.
    Heard {
        /// The peer.
        peer: String,
        /// Whose announcement it is.
        whose: Whose,
        /// Where packets for it would go.
        next_hop: IpAddr,
        /// Nearest first, 32 ASNs at most.
        as_path: Vec<u32>,
        /// ASNs at its far end that were left out.
        more_asns: usize,
        /// Where it starts; `null` for a path inside our own AS.
        origin_as: Option<u32>,
        /// MED, if it has one.
        med: Option<u32>,
        /// LOCAL_PREF, from iBGP peers.
        local_pref: Option<u32>,
        /// Communities and large communities, 16 of each at most.
        communities: Vec<String>,
        /// Communities that were left out.
        more_communities: usize,
    }
}

api! {
    answer
    /// The facts behind one verdict.
    Explanation includes vip: Vip {
        /// What the routes carry, if announced.
        attributes: Option<Attributes>,
        /// Where the address is and who put it there: `on lo, by vipcast`.
        address: String,
        /// How the service's checks combine: `all of web, listening`.
        condition: String,
        /// The checks of that condition.
        checks: BTreeMap<String, Check>,
        /// Another daemon on this host announces it while it is withheld here, in words.
        warning [default]: Option<String>,
        /// The operator's drain, if there is one.
        drain: Option<Drain>,
        /// What each peer has of it.
        peers: BTreeMap<String, PeerView>,
    }
}

api! {
    answer
    /// The attributes of an announced route.
    Attributes {
        /// MED, if sent.
        med: Option<u32>,
        /// LOCAL_PREF, if set (iBGP).
        local_pref: Option<u32>,
        /// Times our ASN is prepended.
        as_path_prepend: u8,
        /// Bandwidth of the link to this node, in octets per second.
        link_bandwidth: Option<u64>,
        /// Communities, extended and large ones included.
        communities: Vec<String>,
    }
}

api! {
    answer
    /// A VIP as one peer has it.
    PeerView {
        /// State of the session.
        state: SessionState,
        /// Whether the peer was sent the route, and its TCP has acknowledged it.
        sent: bool,
        /// Why not, where that is the session's doing.
        why: Option<String>,
        /// State of the BFD session, if there is one.
        bfd: Option<BfdState>,
    }
}

api! {
    answer
    /// An operator's drain.
    Drain {
        /// The operator.
        by: String,
        /// The reason.
        reason: Option<String>,
        /// The time when it began (RFC 3339).
        since: String,
        /// The time when it ends by itself, if it does.
        until: Option<String>,
        /// Services that were put back into traffic, of a drain of every service.
        except [default]: Vec<String>,
    }
}

api! {
    request
    /// What is drained, why, and for how long.
    DrainRequest {
        /// The services.
        services: Services,
        /// The operator. Counts where the caller is root and the kernel knows no login; any other caller goes by the name of its user.
        by [default]: Option<String>,
        /// The reason, which `status` and `explain` show.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
        /// The drain ends by itself after this time, in milliseconds.
        for_ms [default]: Option<Milliseconds>,
        /// Replace a drain in force, also where that ends it earlier.
        replace [default]: bool,
    }
}

api! {
    request
    /// Which services a command is about.
    ServicesRequest {
        /// The services.
        services: Services,
        /// The reason, which the log has.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
    }
}

api! {
    answer
    /// The answer to a command that was carried out.
    Done {
        /// What was done, in words.
        message: String,
        /// What is not as it should be all the same.
        warning [default]: Option<String>,
    }
}
