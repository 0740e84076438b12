//! `ntp`: a time server is synchronised, close enough to its source, and agrees with our clock.

mod packet;
mod probe;
mod read;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::shared::Shared;
use crate::check::target::{Target, Transport};
use crate::check::tls::Trust;
use crate::config::keys::section::section;
use crate::config::keys::shape::{DURATION, RESOLVER, either, number, section};

section! {
    KEYS("ntp", "under `ntp`") {
        /// the server to ask; may be left out where the check has a `host`
        server: RESOLVER =>
            required() said_elsewhere() written("host name or IP address, with `:port` or without") default("port 123")
            called(&["address", "host", "ntp_server"]);
        /// the highest stratum that passes; a server with a reference clock has stratum 1
        stratum: number(1, 15) => default("15") called(&["max_stratum", "stratum_max"]);
        /// the largest difference between the server's clock and the clock of this host, to either side
        offset: DURATION =>
            default("not limited") called(&["max_offset", "offset_max", "time_offset", "drift", "skew"]);
        /// the largest error that the server admits for its own clock: half of its root delay, and its root dispersion
        root_distance: DURATION =>
            default("not limited") called(&["max_root_distance", "root_dispersion", "dispersion", "maxdistance"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a time server is synchronised, and agrees with the clock of this host
    ntp: either(&[RESOLVER, section(&KEYS)]), [&KEYS], read::read
};

/// The highest stratum that is synchronised (RFC 5905 §7.3).
const MOST_STRATUM: u8 = 15;

/// `ntp: host`, or `ntp: {server: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NtpCheck {
    /// The server.
    pub server: Target,
    /// The highest stratum that passes, 1 to 15.
    pub stratum: u8,
    /// The largest difference between the two clocks.
    pub offset: Option<Duration>,
    /// The largest error that the server admits.
    pub root_distance: Option<Duration>,
}

impl Definition for NtpCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Network(&self.server.host)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Udp, self.server.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Polled::new(self, shared)
    }
}

impl Ask for NtpCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, _trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context))
    }
}
