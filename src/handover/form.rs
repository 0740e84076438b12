//! The form of a hand-over: one document, written by one program and read by the next.
//!
//! ```json
//! {"v1": {"by": {"version": "0.2.0", "commit": "…"}, "frozen_at": 123, "descriptors": {"1": 17}, "node": {"v1": …}, "checks": …}}
//! ```
//!
//! It follows the rules of [`vipcast_bgp::frozen`]: a version is a variant, a field may not be absent, an unknown one is
//! refused, and times are absolute. A released version never changes: a new one is a new variant, and its number goes
//! into `HANDS_OVER` of [`crate::version`]. Sockets and files are numbers of [`Descriptors`](vipcast_bgp::net::Descriptors).

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_node::frozen;
use vipcast_node::jobs::Program;

use crate::check::tally;
use crate::hooks::deliveries;
use crate::metrics::counts;

/// Everything that the next program needs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Version 1.
    V1(Box<V1>),
}

/// Version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct V1 {
    /// The program that wrote it.
    pub(crate) by: Program,
    /// When sessions were no longer served.
    pub(crate) frozen_at: Instant,
    /// The descriptor of each number.
    pub(crate) descriptors: BTreeMap<u32, RawFd>,
    /// A file of the texts of the configuration in force, as JSON.
    pub(crate) configuration: u32,
    pub(crate) node: frozen::Node,
    /// BGP sessions and their listeners.
    pub(crate) speaker: vipcast_bgp::frozen::Speaker,
    /// BFD sessions; `None`: BFD does not run.
    pub(crate) bfd: Option<vipcast_bgp::frozen::BfdThread>,
    /// The health of checks, by name.
    pub(crate) checks: BTreeMap<String, frozen::Health>,
    pub(crate) sockets: Sockets,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) daemon: OfDaemon,
}

/// The sockets that are never closed, and the locks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sockets {
    /// The control socket and its file.
    pub(crate) control: Option<(u32, u32)>,
    /// `api`.
    pub(crate) api: Option<u32>,
    /// `metrics`.
    pub(crate) metrics: Option<u32>,
    /// The lock of the state directory.
    pub(crate) state_lock: Option<u32>,
    /// The lock of the network namespace.
    pub(crate) namespace_lock: Option<u32>,
}

/// The latest events, and their readers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    /// The run, a part of each event's id.
    pub(crate) run: String,
    /// The position of the oldest event.
    pub(crate) begin: u64,
    /// A file of the events, one on a line.
    pub(crate) lines: u32,
    /// The position of the first event that the file of events lacks.
    pub(crate) unwritten: u64,
    /// The place of each hook: its position, and the events that it has missed.
    pub(crate) hooks: BTreeMap<String, (u64, u64)>,
}

/// The counts of metrics, which go on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Counts of records.
    pub(crate) counts: counts::Frozen,
    /// The results of each check.
    pub(crate) checks: BTreeMap<String, tally::Frozen>,
    /// The deliveries of each hook.
    pub(crate) hooks: BTreeMap<String, deliveries::Frozen>,
}

/// The daemon around the node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDaemon {
    /// When the first of all programs in this process began.
    pub(crate) started: Instant,
    /// The same by the wall clock.
    pub(crate) born: Timestamp,
    /// The number of hand-overs before this one.
    pub(crate) hand_overs: u64,
}

/// A copy of the state for a rehearsal, without sockets: what the next program must be able to read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Copy {
    /// Version 1.
    V1(CopyV1),
}

/// Version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopyV1 {
    /// The program that wrote it.
    pub(crate) by: Program,
    /// The wall clock.
    pub(crate) at: Timestamp,
    pub(crate) node: frozen::Node,
}

#[cfg(test)]
mod tests;
