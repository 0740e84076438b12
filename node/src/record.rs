//! What happened, in words that a machine can read.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::vip::Vip;
use jiff::Timestamp;
use serde::Serialize;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{Offer, Stall, Version};

use crate::engine::{Binding, Drain, Order, Place, Scope, Shutdown, Verdict};
use crate::health::report::HealthState;
use crate::names::{CheckName, PeerName, ServiceName};
use crate::notice::Notice;
use crate::now::Now;

/// Something that happened, in the one stream of all that is worth telling. The log, and whatever else tells of it, is a fold
/// over these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number: one more than that of the record before, from 1 at the start of the process.
    pub seq: u64,
    /// When.
    pub at: Now,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "of", rename_all = "snake_case")]
pub enum What {
    /// The decision about a VIP changed.
    Vip {
        /// Which.
        vip: Vip,
        /// Its service.
        service: ServiceName,
        /// The decision before, if there was one.
        from: Option<Verdict>,
        /// The decision now; `None`: no longer configured.
        to: Option<Verdict>,
        /// The fact behind the reason, in words.
        cause: Option<String>,
    },
    /// A router has a VIP, whose verdict is new or that no router had.
    Reached {
        /// Which.
        vip: Vip,
        /// Its service.
        service: ServiceName,
        /// How many have it.
        routers: usize,
    },
    /// VIPs that are to be announced are at no router, and have not been for a while.
    Unreached {
        /// Which.
        vips: BTreeSet<Vip>,
        /// What keeps each router from having them, in words.
        why: String,
    },
    /// A check changed its state.
    Check {
        /// Which.
        check: CheckName,
        /// The state now.
        state: HealthState,
        /// The result that brought it about.
        detail: String,
    },
    /// A check became degraded (`Some`) or no longer is.
    Degraded {
        /// Which.
        check: CheckName,
        /// The limit that is exceeded, in words.
        limit: Option<String>,
    },
    /// An operator let a service take over again.
    Promoted(ServiceName, Order),
    /// One of our addresses or local routes vanished and is put back. Written once, however often it goes on.
    AddressLost(Place),
    /// Somebody kept taking one away, and no longer does.
    AddressStays {
        /// Which.
        place: Place,
        /// How often it was taken away.
        losses: u32,
    },
    /// One of a predecessor was found.
    AddressAdopted(Place),
    /// One could not be bound or unbound.
    AddressFailed(Place, String),
    /// VIPs cannot be bound because there is no interface of this name.
    NoInterface(String),
    /// An operator's drain began, or became longer.
    Drained(Scope, Drain),
    /// A drain was lifted by an operator (`Some`), or has ended.
    Undrained(Scope, Option<Order>),
    /// A drained service left the configuration, or came back.
    DrainWaits {
        /// Which.
        service: ServiceName,
        /// It left: the drain waits for it.
        waits: bool,
    },
    /// A restart begins, and the routers keep what they have of these families.
    Restarting {
        /// Families whose VIPs stayed bound.
        preserved: BTreeSet<Family>,
    },
    /// A restart is over: End-of-RIB goes out.
    Restarted {
        /// VIPs that nothing was decided about in time.
        undecided: BTreeSet<Vip>,
    },
    /// The shutdown has ended, and this is still bound on the host.
    AddressesLeft(Vec<Binding>),
    /// The shutdown entered a phase.
    Shutdown(Shutdown),
    /// The node begins.
    Started {
        /// Which vipcast.
        version: String,
        /// Of which source; `None`: not known.
        commit: Option<String>,
        /// The file of its configuration.
        configuration: String,
    },
    /// Something in a configuration was probably not meant.
    Warned(Warning),
    /// A port has noticed something, and nothing follows from it.
    Noticed(Notice),
    /// The node has stopped.
    Stopped,
    /// This process ends for the next one: addresses and routes stay.
    Leaving,
    /// Somebody has set the wall clock, and it is this now.
    ClockSet {
        /// The time.
        wall: Timestamp,
    },
    /// Sessions may begin, with this BGP identifier.
    SpeakerStarted {
        /// It.
        router_id: Ipv4Addr,
    },
    /// A peer has another name now, and its session goes on.
    PeerRenamed {
        /// The name now.
        peer: PeerName,
        /// The name before.
        was: PeerName,
    },
    /// Something happened to the session with a peer.
    Session {
        /// Which peer.
        peer: PeerName,
        /// Its address.
        address: IpAddr,
        /// What.
        what: OfSession,
    },
    /// A session is ended by us.
    SessionStopped {
        /// With this peer.
        peer: PeerName,
        /// The NOTIFICATION, in words.
        reason: String,
    },
    /// The kernel has everything that a peer is to have.
    HandedOver {
        /// Which peer.
        peer: PeerName,
        /// The set.
        version: Version,
    },
    /// A peer's TCP has acknowledged everything that it is to have.
    Acknowledged {
        /// Which peer.
        peer: PeerName,
        /// The set.
        version: Version,
    },
    /// BFD says that the way to a peer is up.
    BfdUp {
        /// Which peer.
        peer: PeerName,
        /// The change, in words.
        transition: String,
    },
    /// BFD says that the way to a peer has failed.
    BfdDown {
        /// Which peer.
        peer: PeerName,
        /// The change, in words.
        transition: String,
    },
    /// The other end has taken its BFD session out of service.
    BfdOutOfService {
        /// Which peer.
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
    /// Another router advertises itself on a link than the one that has the session.
    SecondRouter {
        /// The link.
        interface: String,
        /// The one with the session.
        router: Ipv6Addr,
        /// The other one.
        other: Ipv6Addr,
    },
    /// No session comes up with the router of a link, and another one has its turn.
    RouterGivesWay {
        /// The link.
        interface: String,
        /// The one before.
        router: Ipv6Addr,
        /// The one now.
        other: Ipv6Addr,
    },
    /// The key of a session is there.
    KeyFound {
        /// Whose.
        peer: PeerName,
    },
    /// The key of a session is not there.
    KeyMissing {
        /// Whose.
        peer: PeerName,
        /// Why, in words.
        reason: String,
    },
    /// Somebody has given a command. What it changes is told beside it.
    Commanded {
        /// Who.
        by: String,
        /// Which, in a word.
        command: String,
        /// Why it is not done, in words; `None`: it is, or is under way.
        refused: Option<String>,
    },
    /// A configuration that was read anew is in force.
    Reloaded {
        /// Who asked for it.
        by: String,
        /// What follows from it, in words.
        message: String,
    },
    /// A configuration that was read anew changes nothing.
    NotReloaded {
        /// Who asked for it.
        by: String,
        /// What is wrong, in one line.
        error: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Whoever asked for a reload waits no longer.
    ReloadGivenUp {
        /// Who asked for it.
        by: String,
    },
    /// Somebody asks for a restart.
    RestartAsked {
        /// Who.
        by: String,
    },
    /// A restart that was asked for does not take place.
    NotRestarted {
        /// Why, in words.
        reason: String,
    },
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OfSession {
    /// It is established.
    Up {
        /// The peer's ASN.
        peer_as: Asn,
        /// The hold time that was agreed on, in seconds.
        hold_time: u16,
        /// The families that were agreed on.
        families: BTreeSet<Family>,
        /// How much of what we can the peer was offered.
        offer: Offer,
    },
    /// Our end of it is a VIP: it ends when the VIP leaves this host.
    FromService(IpAddr),
    /// It has ended.
    Down {
        /// Why.
        reason: DownReason,
        /// What to look at.
        hint: Option<String>,
    },
    /// An attempt to get one has failed.
    Failed {
        /// Why.
        reason: DownReason,
        /// What an earlier failure has told, which is more.
        earlier: Option<DownReason>,
        /// What to look at.
        hint: Option<String>,
    },
    /// The peer acknowledges nothing, though it is heard.
    Stalled(Stall),
}

/// Something in a configuration that was probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// The line, from 1; `None`: no line in particular.
    pub line: Option<usize>,
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
