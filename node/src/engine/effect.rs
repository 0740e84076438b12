//! What the engine wants done, and what it wants written down.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use vipcast_bgp::wire::Family;

use super::address::{Address, Place};
use super::drains::{Drain, Drains, Order, Scope};
use super::facts::Shutdown;
use super::plan::Advertised;
use super::recovery::HeldBack;
use super::verdict::Verdict;
use crate::health::report::HealthState;
use crate::model::Config;
use crate::names::{CheckName, ServiceName};

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Run exactly the checks and peers of this configuration.
    Configure {
        /// It.
        config: Arc<Config>,
        /// While a restart lasts, the families whose VIPs stayed bound.
        restarted: Option<BTreeSet<Family>>,
    },
    /// Put the address on the host.
    Bind(Address),
    /// Give every peer this set.
    Advertise(Advertised),
    /// Take the address off the host.
    Unbind(Address),
    /// Keep these drains across a restart.
    SaveDrains(Arc<Drains>),
    /// Keep it across a restart which VIPs are held back.
    SaveHeldBack(Arc<HeldBack>),
    /// Close every session with Cease / Administrative Shutdown; answer with
    /// [`Event::PeersStopped`](super::Event::PeersStopped).
    StopPeers,
    /// Write it down.
    Record(Record),
    /// End the process.
    Exit,
}

/// What is worth writing down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
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
