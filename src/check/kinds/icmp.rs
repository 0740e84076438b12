//! `icmp`: a host answers echo requests.

mod probe;
mod read;

use std::sync::Arc;
use std::time::Duration;

use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::shared::Shared;
use crate::check::tls::Trust;
use crate::config::diagnostic::{Report, Span};
use crate::config::keys::section::section;
use crate::config::keys::shape::{DURATION, HOST, PERCENT, either, number, section};

section! {
    KEYS("icmp", "under `icmp`") {
        /// the host to ping; optional if the check has a `host`
        host: HOST => required() said_elsewhere();
        /// requests of each probe
        count: number(1, 100) => default("3") called(&["packets"]);
        /// the share of requests that may be lost; by default one of three, because single packets get lost and hosts
        /// limit ICMP
        loss: PERCENT => written("0% to 99%") default("34%") called(&["packet_loss", "max_loss"]);
        /// bytes of data in each request, as for `ping`
        size: number(8, 9000) => default("56");
        /// the time between two requests; all must be sent within the `timeout`
        spacing: DURATION => written("1ms or more") default("20ms");
    }
}

pub(super) static KIND: Kind = kind! {
    /// a host answers echo requests ("ping")
    icmp: either(&[HOST, section(&KEYS)]), [&KEYS], read::read
};

/// `count`.
const COUNT: u16 = 3;
/// `loss`, in per cent: one of three, because single packets get lost, and limits on ICMP drop some.
const LOSS: u8 = 34;
/// `size`: what `ping` sends.
const SIZE: u16 = 56;
/// `spacing`.
const SPACING: Duration = Duration::from_millis(20);

/// `icmp: host`, or `icmp: {host: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IcmpCheck {
    /// Address or host name, without brackets.
    pub host: String,
    /// Requests of each probe, 1 to 100.
    pub count: u16,
    /// How many of them may be lost, in per cent, 0 to 99.
    pub loss: u8,
    /// Bytes of data in each, 8 to 9000.
    pub size: u16,
    /// Between two of them, 1 ms or more.
    pub spacing: Duration,
}

impl IcmpCheck {
    /// Whether more are lost than may be.
    pub(crate) fn is_too_much(&self, lost: u16) -> bool {
        u32::from(lost) * 100 > u32::from(self.loss) * u32::from(self.count)
    }
}

impl Default for IcmpCheck {
    fn default() -> Self {
        Self { host: String::new(), count: COUNT, loss: LOSS, size: SIZE, spacing: SPACING }
    }
}

impl Definition for IcmpCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Network(&self.host)
    }

    fn look_at_timeout(&self, timeout: Duration, span: Span, report: &mut Report) {
        read::look_at_timeout(self, timeout, span, report);
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Polled::new(self, shared)
    }
}

impl Ask for IcmpCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, _trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context))
    }
}
