//! Taking over from a predecessor whose routes the routers still have (graceful restart, RFC 4724).
//!
//! ```text
//!  first listing ─► preserved families ─► OPEN with F=1 for those
//!  every VIP decided, or the restart time is over ─► the set is whole ─► End-of-RIB on every session
//!  every peer told, or the restart time is over ─► unwanted bindings of the predecessor may go
//! ```
//!
//! Until every VIP is decided the desired set is [`Extent::Partial`], and routers keep the predecessor's routes.
//! Without a `graceful_restart` peer the first set is already whole and this module does nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::Instant;
use vipcast_bgp::wire::Family;
use vipcast_bgp::{Extent, Version};

use super::binding::{Unusable, Wanted};
use super::facts::{Facts, Shutdown};
use super::verdict::{Reason, Verdict};
use super::{Decision, Engine};
use crate::model::{Config, Peer, Service};
use crate::outbox::Outbox;
use crate::record::What;

/// A restart that the routers wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restart {
    /// Families whose VIPs stayed bound since the predecessor announced them.
    pub preserved: BTreeSet<Family>,
    /// VIPs that are not decided yet.
    pub undecided: BTreeSet<Vip>,
    /// When the wait for undecided VIPs ends, together with the routers' wait. `None` until the addresses of the host
    /// are known.
    pub until: Option<Instant>,
    /// When a router without a session has dropped the routes that it keeps. Its restart time may begin later than the
    /// predecessor's end: when its hold timer expires, if it heard nothing. After a power loss no state shows that
    /// there was a predecessor.
    pub kept_until: Option<Instant>,
}

/// The end of a restart. The predecessor's bindings are removed only after every peer has acknowledged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handover {
    /// The first whole version.
    pub(super) version: Version,
    /// When a router without a session has dropped the routes.
    pub(super) patience: Instant,
    /// When every peer had that version.
    pub(super) settled_at: Option<Instant>,
}

/// The longest restart time of the peers that keep our routes; `None` if none does.
pub(super) fn restart_time(config: &Config) -> Option<Duration> {
    config
        .peers
        .values()
        .filter_map(|peer| peer.graceful_restart.map(|graceful| graceful.restart_time.duration()))
        .max()
}

/// The families whose possibly announced VIPs are all still bound. `announced` is the predecessor's note. A crash
/// leaves no note; then only addresses with our mark prove that it ran in this boot.
pub(super) fn preserved(
    config: &Config,
    facts: &Facts,
    announced: Option<&BTreeSet<Vip>>,
) -> BTreeSet<Family> {
    // The VIPs that were bound before and should be bound now. A prefix that is never bound is not missing.
    let carried: BTreeSet<&Vip> = (config.services.values())
        .flat_map(|service| service.vips.iter().filter(|vip| service.carrier(vip).is_some()))
        .collect();
    let is_bound = |vip: &Vip| !(vip.is_host() || carried.contains(vip)) || facts.is_bound(*vip);
    let is_ours = |vip: Vip| facts.ours_of(vip).next().is_some();
    let of = |family: Family| move |vip: &&Vip| vip.family() == family;
    let is_preserved = |family: &Family| match announced {
        Some(announced) => {
            announced.iter().any(|vip| vip.family() == *family)
                && announced.iter().filter(of(*family)).all(is_bound)
        }
        None => {
            let vips = |service: &'_ Service| -> Vec<Vip> {
                service.vips.iter().filter(of(*family)).copied().collect()
            };
            let always = config.services.values().filter(|service| service.bind.is_lasting());
            always.flat_map(vips).all(|vip| is_bound(&vip))
                && config.services.values().flat_map(vips).any(is_ours)
        }
    };
    [Family::IPV4_UNICAST, Family::IPV6_UNICAST].into_iter().filter(is_preserved).collect()
}

impl Restart {
    /// Notes a decision. A VIP whose check has never ended, or whose request the kernel has not answered, stays
    /// undecided.
    fn note(&mut self, vip: Vip, decision: &Decision, failed: bool) {
        let undecided = match &decision.verdict {
            Verdict::Withhold(Reason::NotBound) => !failed,
            Verdict::Withhold(reason) => {
                matches!(
                    reason,
                    Reason::CheckUnknown { .. } | Reason::Unusable { why: Unusable::Tentative, .. }
                )
            }
            Verdict::Announce | Verdict::Demote { .. } => false,
        };
        if undecided {
            self.undecided.insert(vip);
        } else {
            self.undecided.remove(&vip);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| self.undecided.is_empty() || until <= now)
    }
}

impl Handover {
    /// Whether no router can still send us traffic for VIPs that only the predecessor announced.
    pub(super) fn is_settled(&self, facts: &Facts, now: Instant) -> bool {
        let told = |synced: Option<Version>| synced.is_some_and(|synced| synced >= self.version);
        matches!(facts.shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done))
            || facts.peers.values().all(|peer| told(peer.synced))
            || (self.patience <= now && facts.all_told(self.version, now))
    }
}

impl Engine {
    /// Whether a peer may still keep routes of the predecessor.
    pub fn is_restarting(&self) -> bool {
        self.facts.restart.is_some() || self.actual.handover.is_some()
    }

    /// The longest time for which a router without a session may keep routes.
    pub(super) fn longest_kept(&self) -> Duration {
        let before = self.facts.peers.values().filter_map(|peer| peer.asked_before).max();
        self.config.peers.values().filter_map(Peer::keeps_routes).max().max(before).unwrap_or_default()
    }

    /// Begins a restart at the first listing of addresses, if a peer keeps routes.
    pub(super) fn begin_restart(&mut self, now: Instant, out: &mut Outbox) {
        let Some(time) = restart_time(&self.config) else { return };
        let kept = self.longest_kept();
        let preserved = preserved(&self.config, &self.facts, self.announced_before.as_ref());
        let ran_before =
            !preserved.is_empty() || self.announced_before.is_some() || self.facts.ours().next().is_some();
        for (name, peer) in self.config.peers.iter().filter(|_| ran_before) {
            let keeps_until = peer.keeps_routes().map(|time| now + time);
            self.facts.peers.entry(name.clone()).or_default().keeps_until = keeps_until;
        }
        if let Some(restart) = &mut self.facts.restart {
            restart.preserved.clone_from(&preserved);
            restart.until = Some(now + time);
            restart.kept_until = Some(now + kept);
            out.tell(What::Restarting { preserved });
        }
    }

    /// Notes a decision during a restart.
    pub(super) fn note_undecided(&mut self, vip: Vip, service: &Service, decision: &Decision) {
        let Some(mut restart) = self.facts.restart.take() else { return };
        let failed =
            Wanted::by(service, &vip).is_some_and(|wanted| self.facts.obstacle(vip, wanted).is_some());
        restart.note(vip, decision, failed);
        self.facts.restart = Some(restart);
    }

    /// Ends the restart when every VIP is decided; a shutdown decides all.
    pub(super) fn end_restart(&mut self, now: Instant, out: &mut Outbox) {
        let stopping = self.facts.shutdown.is_some();
        if let Some(restart) = self.facts.restart.take_if(|restart| stopping || restart.is_over(now)) {
            self.desired.extent = Extent::Whole;
            // The change of the extent alone makes a new version.
            let version = Version(self.version().0 + 1);
            let patience = restart.kept_until.unwrap_or(now);
            self.actual.handover = Some(Handover { version, patience, settled_at: None });
            out.tell(What::Restarted { undecided: restart.undecided });
        }
    }
}
