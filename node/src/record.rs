//! What happened, in words that a machine can read.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Serialize;
use vipcast_bgp::wire::Family;

use crate::engine::{Address, Drain, Order, Place, Scope, Shutdown, Verdict};
use crate::health::report::HealthState;
use crate::names::{CheckName, ServiceName};
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
        vip: IpNet,
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
        vip: IpNet,
        /// Its service.
        service: ServiceName,
        /// How many have it.
        routers: usize,
    },
    /// VIPs that are to be announced are at no router, and have not been for a while.
    Unreached {
        /// Which.
        vips: BTreeSet<IpNet>,
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
    /// One of our addresses vanished and is put back. Written once, however often it goes on.
    AddressLost(Place),
    /// Somebody kept taking an address away, and no longer does.
    AddressStays {
        /// Which.
        place: Place,
        /// How often it was taken away.
        losses: u32,
    },
    /// An address of a predecessor was found.
    AddressAdopted(Place),
    /// An address could not be bound or unbound.
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
        undecided: BTreeSet<IpNet>,
    },
    /// The shutdown has ended, and these of our addresses are still on the host.
    AddressesLeft(Vec<Address>),
    /// The shutdown entered a phase.
    Shutdown(Shutdown),
}
