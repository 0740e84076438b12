//! Records: the events of a node, as data.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::vip::Vip;
use jiff::Timestamp;
use serde::Serialize;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{Offer, Stall, Version};

use crate::engine::{Binding, Force, Order, Override, Place, Scope, Shutdown, Verdict};
use crate::health::report::HealthState;
use crate::jobs::Program;
use crate::names::{CheckName, PeerName, ServiceName};
use crate::notice::Notice;
use crate::now::Now;

/// An event in the one stream of all events. The log is a fold over these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number: one more than that of the record before, from 1 at the start of the process.
    pub seq: u64,
    pub at: Now,
    #[serde(flatten)]
    pub what: What,
}

/// The kind of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "of", rename_all = "snake_case")]
pub enum What {
    /// The decision about a VIP changed.
    Vip {
        vip: Vip,
        /// Its service.
        service: ServiceName,
        /// The decision before, if there was one.
        from: Option<Verdict>,
        /// The decision now; `None`: no longer configured.
        to: Option<Verdict>,
        /// The fact behind the reason, or the force that makes it announced, in words.
        cause: Option<String>,
    },
    /// A router has a VIP with a new verdict, or a VIP that no router had.
    Reached {
        vip: Vip,
        /// Its service.
        service: ServiceName,
        /// The number of routers that have it.
        routers: usize,
    },
    /// VIPs with an announcing verdict have been at no router for a while.
    Unreached {
        vips: BTreeSet<Vip>,
        /// The reason of each router, in words.
        why: String,
    },
    /// A check changed its state.
    Check {
        check: CheckName,
        /// The state now.
        state: HealthState,
        /// The result behind the change.
        detail: String,
    },
    /// A check became degraded (`Some`) or no longer is.
    Degraded {
        check: CheckName,
        /// The limit that is exceeded, in words.
        limit: Option<String>,
    },
    /// An operator let a service take over again.
    Promoted(ServiceName, Override),
    /// One of our addresses or local routes vanished and is put back. Written once for repeated losses.
    AddressLost(Place),
    /// An address or local route that was removed repeatedly stays again.
    AddressStays {
        place: Place,
        /// The number of removals.
        losses: u32,
    },
    /// An address or local route of a predecessor was found.
    AddressAdopted(Place),
    /// An address or local route could not be bound or unbound.
    AddressFailed(Place, String),
    /// VIPs cannot be bound because there is no interface of this name.
    NoInterface(String),
    /// An operator's drain began, or became longer.
    Drained(Scope, Override),
    /// A drain was lifted by an operator (`Some`), or has ended.
    Undrained(Scope, Option<Order>),
    /// Every router was told before the machine goes down, or its patience is over.
    MachineMayStop,
    /// A drained service left the configuration, or came back.
    DrainWaits {
        service: ServiceName,
        /// Whether it left: the drain waits for it.
        waits: bool,
    },
    /// An operator's drain of a peer began, or became longer.
    PeerDrained(PeerName, Override),
    /// The drain of a peer was lifted by an operator (`Some`), or has ended.
    PeerUndrained(PeerName, Option<Order>),
    /// A drained peer left the configuration, or came back.
    PeerDrainWaits {
        peer: PeerName,
        /// Whether it left: the drain waits for it.
        waits: bool,
    },
    /// An operator forced something up or down.
    Forced {
        scope: Scope,
        to: Force,
        /// The operator, the reason and the end.
        with: Override,
    },
    /// A force was lifted by an operator (`Some`), or has ended.
    Cleared(Scope, Option<Order>),
    /// A forced service left the configuration, or came back.
    ForceWaits {
        service: ServiceName,
        to: Force,
        /// Whether it left: the force waits for it.
        waits: bool,
    },
    /// A restart begins, and the routers keep our routes of these families.
    Restarting {
        /// Families whose VIPs stayed bound.
        preserved: BTreeSet<Family>,
    },
    /// A restart has ended: End-of-RIB is sent.
    Restarted {
        /// VIPs that were not decided in time.
        undecided: BTreeSet<Vip>,
    },
    /// The shutdown has ended, and these are still bound on the host.
    AddressesLeft(Vec<Binding>),
    /// The shutdown entered a phase.
    Shutdown(Shutdown),
    /// The node begins.
    Started {
        /// The version.
        version: String,
        /// The commit; `None`: not known.
        commit: Option<String>,
        /// The configuration file.
        configuration: String,
    },
    /// A warning about a configuration.
    Warned(Warning),
    /// A notice of a port, without an effect.
    Noticed(Notice),
    /// The node has stopped.
    Stopped,
    /// This process ends for the next one: addresses and routes stay.
    Leaving,
    /// The wall clock was set.
    ClockSet {
        /// The time.
        wall: Timestamp,
    },
    /// Sessions may begin, with this BGP identifier.
    SpeakerStarted { router_id: Ipv4Addr },
    /// A peer was renamed, and its session goes on.
    PeerRenamed {
        /// The name now.
        peer: PeerName,
        /// The name before.
        was: PeerName,
    },
    /// An event of the session with a peer.
    Session {
        peer: PeerName,
        /// Its address.
        address: IpAddr,
        what: OfSession,
    },
    /// A session is ended by us.
    SessionStopped {
        peer: PeerName,
        /// The NOTIFICATION, in words.
        reason: String,
    },
    /// The kernel has all UPDATEs of a peer's desired set.
    HandedOver {
        peer: PeerName,
        /// The set.
        version: Version,
    },
    /// A peer's TCP has acknowledged the whole desired set.
    Acknowledged {
        peer: PeerName,
        /// The set.
        version: Version,
    },
    /// BFD with a peer is up.
    BfdUp {
        peer: PeerName,
        /// The change, in words.
        transition: String,
    },
    /// BFD with a peer has failed.
    BfdDown {
        peer: PeerName,
        /// The change, in words.
        transition: String,
    },
    /// The other end has taken its BFD session out of service.
    BfdOutOfService {
        peer: PeerName,
        /// The change, in words.
        transition: String,
    },
    /// A router was found on a link by its advertisement.
    RouterFound {
        /// The link.
        interface: String,
        /// The router.
        router: Ipv6Addr,
    },
    /// A second router advertises itself on a link.
    SecondRouter {
        /// The link.
        interface: String,
        /// The router with the session.
        router: Ipv6Addr,
        /// The second router.
        other: Ipv6Addr,
    },
    /// No session comes up with the router of a link, and another one replaces it.
    RouterGivesWay {
        /// The link.
        interface: String,
        /// The router before.
        router: Ipv6Addr,
        /// The router now.
        other: Ipv6Addr,
    },
    /// The key of a session was found.
    KeyFound { peer: PeerName },
    /// The key of a session is missing.
    KeyMissing {
        peer: PeerName,
        /// The reason, in words.
        reason: String,
    },
    /// A command was given. Its effects have records of their own.
    Commanded {
        /// The caller.
        by: String,
        /// The command, in a word.
        command: String,
        /// The reason of a refusal, in words; `None`: it is done, or runs.
        refused: Option<String>,
    },
    /// A reloaded configuration is in force.
    Reloaded {
        /// The caller.
        by: String,
        /// The effects, in words.
        message: String,
    },
    /// A reload was refused, and changes nothing.
    NotReloaded {
        /// The caller.
        by: String,
        /// The error, in one line.
        error: String,
        /// A hint for the operator.
        hint: Option<String>,
    },
    /// The caller of a reload has given up.
    ReloadGivenUp {
        /// The caller.
        by: String,
    },
    /// A restart was requested.
    RestartAsked {
        /// The caller.
        by: String,
    },
    /// An upgrade was requested.
    UpgradeAsked {
        /// The caller.
        by: String,
        /// Only the rehearsal.
        dry: bool,
    },
    /// The next program can take over.
    Rehearsed {
        /// What it is.
        next: Program,
        /// It reads only an older form of the state: which, and what that means, in words.
        older_form: Option<String>,
    },
    /// A requested upgrade does not take place, and nothing was changed.
    NotUpgraded {
        /// The reason, in words.
        reason: String,
        /// A hint for the operator.
        hint: Option<String>,
    },
    /// The next program takes over now, with all sessions.
    HandingOver { next: Program },
    /// This program has taken over, and goes on.
    Upgraded {
        /// The program before.
        from: Program,
        /// This program.
        to: Program,
        /// The time in which no session was served.
        pause: Duration,
    },
    /// The hand-over failed: this program begins anew, as after a crash.
    NotThawed {
        /// The reason, in words.
        reason: String,
    },
    /// A requested restart does not take place.
    NotRestarted {
        /// The reason, in words.
        reason: String,
    },
}

/// An event of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OfSession {
    /// It is established.
    Up {
        /// The peer's ASN.
        peer_as: Asn,
        /// The negotiated hold time, in seconds.
        hold_time: u16,
        /// The negotiated families.
        families: BTreeSet<Family>,
        /// Our offer to the peer.
        offer: Offer,
    },
    /// Our end of the session is a VIP: the session ends when the VIP leaves this host.
    FromService(IpAddr),
    /// The session has ended.
    Down {
        reason: DownReason,
        /// A hint for the operator.
        hint: Option<String>,
    },
    /// An attempt has failed.
    Failed {
        reason: DownReason,
        /// An earlier, more telling reason.
        earlier: Option<DownReason>,
        /// A hint for the operator.
        hint: Option<String>,
    },
    /// The peer acknowledges nothing, although it sends.
    Stalled(Stall),
}

/// A warning about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// The line, from 1; `None`: no line in particular.
    pub line: Option<usize>,
    /// The warning.
    pub message: String,
    /// A hint for the operator.
    pub hint: Option<String>,
}
