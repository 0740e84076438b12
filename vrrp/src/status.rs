//! The status of an instance; plain data.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::advertisement::Version;
use crate::discard::Discards;
use crate::io::{State, Transition};
use crate::values::{Addresses, Priority, Vrid};
use vipcast_machine::Instant;

/// A snapshot of an instance. Times are in microseconds in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The virtual router.
    pub vrid: Vrid,
    /// Its version.
    pub version: Version,
    /// Its state.
    pub state: State,
    /// When it entered that state.
    #[serde(skip)]
    pub since: Instant,
    /// The priority in our advertisements.
    pub priority: Priority,
    /// The addresses of the virtual router.
    pub addresses: Addresses,
    /// The router whose advertisements keep us in Backup, as far as one was heard.
    pub active: Option<IpAddr>,
    /// Our interval, and as Backup that of the Active Router.
    #[serde(serialize_with = "micros")]
    pub interval: Duration,
    /// How long a Backup Router waits for an advertisement (Active_Down_Interval).
    #[serde(serialize_with = "micros")]
    pub detection_time: Duration,
    /// The last change of state.
    pub last_transition: Option<Transition>,
    /// Totals.
    pub counters: Counters,
    /// Dropped packets.
    pub discards: Discards,
}

/// Totals since the instance was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Advertisements that counted.
    pub received: u64,
    /// Advertisements given to the driver; with unicast peers each goes to all of them.
    pub transmitted: u64,
    /// Received advertisements with priority 0.
    pub released: u64,
    /// The number of changes to Active.
    pub takeovers: u64,
    /// The number of changes from Active to Backup.
    pub yields: u64,
    /// The number of times that the instance did not take over because we woke late.
    pub late_wakeups: u64,
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
