//! The form of a hand-over: two documents, written by one program and read by the next. BFD has one of its own, which is
//! written last and read first.
//!
//! ```json
//! {"v2": {"by": {"version": "0.2.0", "commit": "…"}, "frozen_at": 123, "descriptors": {"1": 17}, "node": {"v1": …}, "checks": …}}
//! {"v2": {"descriptors": {"1": 31}, "sessions": {"v1": …}, "news": []}}
//! ```
//!
//! It follows the rules of [`vipcast_bgp::frozen`]: a version is a variant, a field may not be absent, an unknown one is
//! refused, and times are absolute. A released version never changes: a new one is a new variant, and its number goes
//! into [`Version`]. The daemon knows the newest alone; the older
//! ones are converted when they are read and written (`docs/adr/0020`). Sockets and files are numbers of [`Descriptors`](vipcast_bgp::net::Descriptors).

mod v1;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::RawFd;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_bgp::frozen::{BfdThread, Speaker, bfd};
use vipcast_node::frozen;
use vipcast_node::jobs::Program;

pub(crate) use self::v1::V1;
use super::version::Version;
use crate::check::runner::Results;
use crate::check::tally;
use crate::hooks::deliveries;
use crate::journal;
use crate::metrics::counts;

/// Everything that the next program needs, but BFD.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Version 1, which has BFD.
    V1(Box<V1>),
    /// Version 2.
    V2(Box<V2>),
}

impl Form {
    /// The newest version, and BFD if that is in it.
    pub(super) fn into_newest(self) -> (Box<V2>, Option<BfdThread>) {
        match self {
            Self::V1(form) => {
                let (form, bfd) = form.into_newest();
                (Box::new(form), bfd)
            }
            Self::V2(form) => (form, None),
        }
    }
}

/// Version 2.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct V2 {
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
    pub(crate) speaker: Speaker,
    /// The health of checks, by name.
    pub(crate) checks: BTreeMap<String, frozen::Health>,
    pub(crate) sockets: Sockets,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) daemon: OfDaemon,
    /// The numbers of the results of checks.
    pub(crate) results: Results,
    pub(crate) told: Told,
}

/// What is not told once more.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    /// Of each peer the failures since its last session, the latest first.
    pub(crate) failures: journal::Frozen,
    /// Hosts whose connections were turned away, and when that was told.
    pub(crate) strangers: Vec<(IpAddr, Instant)>,
}

/// BFD, which the next program goes on with before it reads the rest. Since version 2.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormOfBfd {
    /// Version 2.
    V2(OfBfd),
}

/// Version 2.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfBfd {
    /// The descriptor of each number, apart from those of the other document.
    pub(crate) descriptors: BTreeMap<u32, RawFd>,
    /// The sessions; `None`: BFD does not run.
    pub(crate) sessions: Option<BfdThread>,
    /// What happened after the node was frozen, which the next one has to be told of.
    pub(crate) news: Vec<bfd::Event>,
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
pub(crate) enum FormOfCopy {
    /// Version 1.
    V1(Copy),
    /// Version 2.
    V2(Copy),
}

/// The same in both versions, until a part of it has a second one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copy {
    /// The program that wrote it.
    pub(crate) by: Program,
    /// The wall clock.
    pub(crate) at: Timestamp,
    pub(crate) node: frozen::Node,
}

impl Copy {
    /// The document in this version.
    ///
    /// # Errors
    /// It has no form as JSON, which no state has shown.
    pub(crate) fn write(self, version: Version) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&match version {
            Version::V1 => FormOfCopy::V1(self),
            Version::V2 => FormOfCopy::V2(self),
        })
    }

    /// The copy that was written, in the newest version.
    ///
    /// # Errors
    /// It is damaged, or of a version that this program does not know.
    pub(crate) fn read(document: &[u8]) -> serde_json::Result<Self> {
        Ok(match serde_json::from_slice(document)? {
            FormOfCopy::V1(copy) | FormOfCopy::V2(copy) => copy,
        })
    }
}

#[cfg(test)]
mod tests;
