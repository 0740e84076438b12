//! Version 1 of the form: everything in one document. It is read and written for ever, and never changes.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};
use vipcast_bgp::Instant;
use vipcast_bgp::frozen::{BfdThread, Speaker};
use vipcast_node::frozen;
use vipcast_node::jobs::Program;

use super::{Events, Metrics, OfDaemon, Results, Sockets, Told, V2};

/// Version 1.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct V1 {
    /// The program that wrote it.
    by: Program,
    /// When sessions were no longer served.
    frozen_at: Instant,
    /// The descriptor of each number.
    pub(in crate::handover) descriptors: BTreeMap<u32, RawFd>,
    /// A file of the texts of the configuration in force, as JSON.
    configuration: u32,
    node: frozen::Node,
    /// BGP sessions and their listeners.
    speaker: Speaker,
    /// BFD sessions; `None`: BFD does not run.
    bfd: Option<BfdThread>,
    /// The health of checks, by name.
    checks: BTreeMap<String, frozen::Health>,
    sockets: Sockets,
    events: Events,
    metrics: Metrics,
    daemon: OfDaemon,
}

impl V1 {
    /// The same in the newest version, and BFD.
    pub(in crate::handover) fn into_newest(self) -> (V2, Option<BfdThread>) {
        let Self {
            by,
            frozen_at,
            descriptors,
            configuration,
            node,
            speaker,
            bfd,
            checks,
            sockets,
            events,
            metrics,
            daemon,
        } = self;
        let newest = V2 {
            by,
            frozen_at,
            descriptors,
            configuration,
            node,
            speaker,
            checks,
            sockets,
            events,
            metrics,
            daemon,
            // Until its next result, a check shows the last one that was news.
            results: Results::default(),
            // Each is told once more.
            told: Told::default(),
        };
        (newest, bfd)
    }

    /// The newest version, for a program that reads only this one.
    pub(in crate::handover) fn of(newest: V2, bfd: Option<BfdThread>) -> Self {
        let V2 {
            by,
            frozen_at,
            descriptors,
            configuration,
            node,
            speaker,
            checks,
            sockets,
            events,
            metrics,
            daemon,
            results: _,
            told: _,
        } = newest;
        Self {
            by,
            frozen_at,
            descriptors,
            configuration,
            node,
            speaker,
            bfd,
            checks,
            sockets,
            events,
            metrics,
            daemon,
        }
    }
}
