//! The types of the control API, shared by both ends. Times are ages and delays in milliseconds, so that clocks need
//! not agree.
//!
//! Each type is stated once, in an `api!` (`api::macros`): the struct, its JSON and its schema in the OpenAPI document are made from it.

mod event;
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

pub use self::event::{Event, Events};
use self::macros::api;
pub use self::milliseconds::Milliseconds;
pub use self::schema::Schema;
pub use self::words::*;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

api! {
    answer
    /// The state of the node: its peers, checks and VIPs.
    Status {
        /// Version of the daemon.
        version: String,
        /// Its BGP identifier.
        router_id: Option<std::net::Ipv4Addr>,
        /// Whether it only observes (`run --observe`): nothing is bound or announced, it has no peers, and a VIP in the state
        /// `ready` is one that it would announce.
        observing [default]: bool,
        /// Warnings about this host, in words; usually empty.
        warnings [default]: Vec<String>,
        /// The uptime of the daemon.
        uptime_ms: u64,
        /// The configuration file in force.
        config: String,
        /// Phase of the shutdown, while there is one.
        shutdown: Option<ShutdownPhase>,
        /// The last hand-over to this program; absent if it was started.
        hand_over [default]: Option<HandOver>,
        /// The reason why the last upgrade that was asked for did not take place, until one does.
        not_upgraded [default]: Option<String>,
        /// Whether a graceful restart is under way: a VIP is undecided, so End-of-RIB is held, or a peer does not have
        /// all routes yet.
        restarting: bool,
        /// Peers by name.
        peers: BTreeMap<String, Peer>,
        /// Checks by name.
        checks: BTreeMap<String, Check>,
        /// The punctuality of the probes.
        probes: Probes,
        /// VIPs in order of address.
        vips: Vec<Vip>,
        /// The drain of every service, if there is one.
        drained [default]: Option<Override>,
        /// Drains of every service from outside: `machine` while it goes down, `file` while the drain file exists.
        cordons [default]: BTreeMap<String, Override>,
        /// Drains of services that are not configured at present.
        waiting_drains [default]: BTreeMap<String, Override>,
        /// The force of every service, if there is one.
        forced [default]: Option<Forced>,
        /// Forces of services, configured or not.
        forces [default]: BTreeMap<String, Forced>,
        /// Promotions of services that are not healthy yet.
        promotions [default]: BTreeMap<String, Override>,
        /// Drains of peers that are not configured at present.
        waiting_peer_drains [default]: BTreeMap<String, Override>,
        /// The state that a restart would lose now, with the reason why it is not saved.
        unsaved [default]: Option<String>,
    }
}

api! {
    answer
    /// A hand-over from one program to the next (`upgrade`).
    HandOver {
        /// When the next program took over, by the wall clock.
        at: String,
        /// The version and the commit of the program before.
        from: String,
        /// The version and the commit of this program.
        to: String,
        /// The time in which no session was served.
        pause_ms: u64,
        /// The number of hand-overs since the start.
        count: u64,
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
        /// The time in that state.
        since_ms: u64,
        /// Hold time in seconds, once negotiated.
        hold_time: Option<u16>,
        /// Families in use, once negotiated.
        families: Vec<String>,
        /// Our address of the session.
        local_address: Option<IpAddr>,
        /// The number of sessions since the start.
        sessions [default]: u64,
        /// The number of prefixes that its TCP has acknowledged.
        advertised: usize,
        /// UPDATEs sent to it since start, End-of-RIB included.
        updates_sent: u64,
        /// The number of prefixes that it announced to us since start; dropped unless they are VIPs.
        received: u64,
        /// The seconds for which it keeps our routes over a restart, once negotiated.
        restart_time: Option<u16>,
        /// The BFD session with it, if it has one.
        bfd: Option<Bfd>,
        /// The kind of the fault that keeps the session down.
        fault [default]: Option<PeerFault>,
        /// The reason for the end of the last session or attempt.
        last_error: Option<String>,
        /// An earlier, more telling failure since the last session: mostly a NOTIFICATION.
        telling_error: Option<String>,
        /// The age of that failure.
        telling_ms: Option<u64>,
        /// The reduced offer to it, after a refusal.
        reduced_offer: Option<String>,
        /// The bytes that it does not acknowledge, in spite of retransmissions.
        unacknowledged: Option<String>,
        /// The hint for that.
        hint: Option<String>,
        /// The operator's drain of it, if there is one.
        drain [default]: Option<Override>,
        /// The time until its routes are withdrawn because of the drain; until then they carry GRACEFUL_SHUTDOWN.
        leaving_ms [default]: Option<u64>,
        /// Announced prefixes that this session cannot carry, with the reason.
        withheld: BTreeMap<vip::Vip, String>,
    }
}

api! {
    answer
    /// A BFD session (RFC 5880).
    Bfd {
        /// State of the session.
        state: BfdState,
        /// The time in that state.
        since_ms: u64,
        /// Our transmit interval, in microseconds, before jitter; none while the peer wants no packets.
        transmit_us: Option<u64>,
        /// The detection time, in microseconds; none while no packet was heard.
        detection_us: Option<u64>,
        /// The last change, with its diagnostic in words.
        last_change: Option<String>,
        /// The number of changes from Up.
        downs: u64,
        /// The number of times that the peer was not taken for dead because vipcast woke late.
        late_wakeups: u64,
        /// The error that stops our packets or the peer's.
        error: Option<String>,
    }
}

api! {
    answer
    /// A check.
    Check {
        /// Its state.
        state: CheckState,
        /// The time in that state.
        since_ms: Option<u64>,
        /// The exceeded limit; the check still passes.
        degraded: Option<String>,
        /// The rest of its hold-down.
        held_ms: Option<u64>,
        /// The result of the last probe.
        detail: Option<String>,
        /// The duration of the last probe.
        took_ms: Option<u64>,
        /// The time since its end.
        ago_ms: Option<u64>,
    }
}

api! {
    answer
    /// The probes of all checks, without those that an event triggered.
    Probes {
        /// The number of probes since the start.
        started: u64,
        /// The median lateness of the probes of the last ten to twenty seconds, in microseconds.
        late_p50_us: u64,
        /// The 99th percentile of their lateness, in microseconds; 100,000 means that or more.
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
        /// The verdict.
        verdict: Verdict,
        /// The state: the verdict, or `ready` while no router has the VIP.
        state: VipState,
        /// The time in that state.
        since_ms: u64,
        /// The reason, unless announced.
        reason: Option<Reason>,
        /// The reason in words, with the fact behind it.
        why: Option<String>,
        /// Whether the address is on this host; true also for a wider prefix that `bind` does not bind. Of a node that only
        /// observes, whether it would be.
        bound: bool,
        /// The number of peers whose TCP has acknowledged the route.
        sent_to: usize,
        /// The peers that lack a VIP that is not withheld, with the reason.
        not_at: BTreeMap<String, String>,
        /// Paths to it from peers, in the order of their names: another node's, or our own route reflected.
        heard: Vec<Heard>,
        /// The time until a drain or the shutdown withdraws it, while it carries GRACEFUL_SHUTDOWN.
        leaving_ms [default]: Option<u64>,
        /// The peers that may still have it after its withdrawal: their TCP has not acknowledged that yet.
        untold [default]: Vec<String>,
    }
}

api! {
    answer
    /// A path to a VIP that a peer announces to us.
    Heard {
        /// The peer.
        peer: String,
        /// The announcer.
        whose: Whose,
        /// The next hop.
        next_hop: IpAddr,
        /// The AS path, nearest first, at most 32 ASNs.
        as_path: Vec<u32>,
        /// The number of ASNs left out at its far end.
        more_asns: usize,
        /// The origin AS; `null` for a path inside our own AS.
        origin_as: Option<u32>,
        /// MED, if it has one.
        med: Option<u32>,
        /// LOCAL_PREF, from iBGP peers.
        local_pref: Option<u32>,
        /// Communities and large communities, at most 16 of each.
        communities: Vec<String>,
        /// The number of communities left out.
        more_communities: usize,
    }
}

api! {
    answer
    /// The facts behind one verdict.
    Explanation includes vip: Vip {
        /// The attributes of the routes, if announced.
        attributes: Option<Attributes>,
        /// Whether the node only observes: `ready` means that it would announce the VIP.
        observing [default]: bool,
        /// The place of the address, and the program that added it: `on lo, by vipcast`.
        address: String,
        /// The condition over the service's checks: `all of web, listening`.
        condition: String,
        /// The checks of that condition.
        checks: BTreeMap<String, Check>,
        /// A warning, if another daemon on this host announces it while it is withheld here.
        warning [default]: Option<String>,
        /// The operator's drain, if there is one.
        drain: Option<Override>,
        /// The operator's force, if there is one.
        force [default]: Option<Forced>,
        /// The verdict without that force.
        unforced [default]: Option<Unforced>,
        /// The promotion that waits until the service is healthy.
        promotion [default]: Option<Override>,
        /// The VIP at each peer.
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
        /// The number of times that our ASN is prepended.
        as_path_prepend: u8,
        /// Bandwidth of the link to this node, in octets per second.
        link_bandwidth: Option<u64>,
        /// Communities, extended and large ones included.
        communities: Vec<String>,
    }
}

api! {
    answer
    /// A VIP at one peer.
    PeerView {
        /// State of the session.
        state: SessionState,
        /// Whether the peer's TCP has acknowledged the route.
        sent: bool,
        /// The reason why not, if it is the session or a drain of the peer; with a route that is about to go, that drain.
        why: Option<String>,
        /// State of the BFD session, if there is one.
        bfd: Option<BfdState>,
    }
}

api! {
    answer
    /// An operator's drain or other override.
    Override {
        /// The operator.
        by: String,
        /// The reason.
        reason: Option<String>,
        /// The time when it began (RFC 3339).
        since: String,
        /// The time when it ends, if it has an end.
        until: Option<String>,
        /// The services for which an override of every service was lifted.
        except [default]: Vec<String>,
    }
}

api! {
    answer
    /// An operator's force.
    Forced includes set: Override {
        /// The direction.
        to: Direction,
    }
}

api! {
    answer
    /// The verdict that the checks alone would lead to.
    Unforced {
        /// The verdict.
        verdict: Verdict,
        /// The reason in words, unless announced.
        why: Option<String>,
    }
}

api! {
    request
    /// The request for a force.
    ForceRequest {
        /// The services.
        services: Services,
        /// The operator. Used only if the caller is root and the kernel knows no login; any other caller gets the name
        /// of its user.
        by [default]: Option<String>,
        /// The reason, shown by `status` and `explain`.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
        /// The length of the force, in milliseconds.
        for_ms [default]: Option<Milliseconds>,
    }
}

api! {
    request
    /// The request for a drain: of services, or of a peer.
    DrainRequest {
        /// The services.
        services [default]: Option<Services>,
        /// The peer, instead.
        peer [default]: Option<String>,
        /// The operator. Used only if the caller is root and the kernel knows no login; any other caller gets the name
        /// of its user.
        by [default]: Option<String>,
        /// The reason, shown by `status` and `explain`.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
        /// The length of the drain, in milliseconds.
        for_ms [default]: Option<Milliseconds>,
        /// Replace the drain in force, even if it ends later.
        replace [default]: bool,
    }
}

api! {
    request
    /// The request to lift drains: of services, or of a peer.
    UndrainRequest {
        /// The services.
        services [default]: Option<Services>,
        /// The peer, instead.
        peer [default]: Option<String>,
        /// The reason, for the log.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
    }
}

api! {
    request
    /// The request for an upgrade.
    UpgradeRequest {
        /// Only test whether the program on disk could take over.
        dry_run [default]: bool,
    }
}

api! {
    request
    /// The services of a command.
    ServicesRequest {
        /// The services.
        services: Services,
        /// The reason, for the log.
        reason [default]: Option<String> => {"maxLength": LONGEST_WORDS},
    }
}

api! {
    answer
    /// The effects of a reload that did not take place.
    Preview {
        /// Changed keys that only a restart can change: a reload would be refused, and nothing else is compared.
        needs_restart: Vec<String>,
        /// Sessions that would begin.
        sessions_started: Names,
        /// Sessions that would end.
        sessions_stopped: Names,
        /// Sessions that would end and begin anew.
        sessions_reset: Names,
        /// Sessions that would go on with other settings, or under another name.
        sessions_tuned: Names,
        /// VIPs that would be bound.
        addresses_bound: Names,
        /// VIPs that would be unbound.
        addresses_unbound: Names,
        /// New VIPs, announced at once or when they are healthy.
        announcements_added: Names,
        /// Announced VIPs that would get other attributes.
        announcements_changed: Names,
        /// Announced VIPs that would be withdrawn.
        announcements_withdrawn: Names,
        /// The number of checks that would keep state and counters.
        checks_kept: usize,
        /// New checks.
        checks_added: Names,
        /// Checks that would lose state and counters, because their definition differs.
        checks_changed: Names,
        /// Checks that would end.
        checks_removed: Names,
        /// Warnings about the configuration, in words.
        warnings: Vec<String>,
    }
}

api! {
    answer
    /// A bounded list of names.
    Names {
        /// The number of all.
        count: usize,
        /// The first of them, at most 20.
        first: Vec<String>,
    }
}

api! {
    answer
    /// The answer to a command that was carried out.
    Done {
        /// The result, in words.
        message: String,
        /// A warning beside it.
        warning [default]: Option<String>,
    }
}
