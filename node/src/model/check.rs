//! One check: what it asks, how often, and how results become a verdict.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::judgement::{HoldDown, Limit};
use super::question::Question;
use crate::{defaults, frozen};

/// One entry under `checks:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it asks.
    pub question: Question,
    /// How a question to the network leaves this host.
    pub via: Via,
    /// Between two probes in the steady state, 10 ms to 365 days.
    pub interval: Duration,
    /// Between two probes while a result disagrees with the state. Never longer than `interval`.
    pub fast_interval: Duration,
    /// A probe that takes longer has failed. Never longer than `interval`.
    pub timeout: Duration,
    /// Successes in a row that raise the check, 1 to 1000.
    pub rise: NonZeroU32,
    /// Failures in a row that lower it, 1 to 1000.
    pub fall: NonZeroU32,
    /// Limits to latency and errors.
    pub limits: Vec<Limit>,
    /// Damping; `None`: it comes up as soon as it passes.
    pub hold_down: Option<HoldDown>,
}

impl Check {
    /// A digest of the definition, to see in another process whether it is the same. Secrets do not count, nor
    /// do fields that are not given. Another version of the program may have another digest for the same definition.
    pub fn digest(&self) -> u64 {
        frozen::of_debug(self)
    }

    /// The text that the digest is of. Two programs agree on a definition if it is the same in both.
    pub fn definition(&self) -> String {
        frozen::text_of(self)
    }

    /// A check with the defaults of the configuration.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            via: Via::default(),
            interval: defaults::INTERVAL,
            fast_interval: defaults::FAST_INTERVAL,
            timeout: defaults::TIMEOUT,
            rise: defaults::RISE_FALL,
            fall: defaults::RISE_FALL,
            limits: Vec::new(),
            hold_down: None,
        }
    }
}

/// `source_address:` and `source_interface:` of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Via {
    /// Where packets come from; `None`: what the routing table says.
    pub source: Option<IpAddr>,
    /// The interface that they leave through (SO_BINDTODEVICE); `None`: what the routing table says.
    pub interface: Option<String>,
}
