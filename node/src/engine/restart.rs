//! Taking over from a predecessor whose routes the routers still have (graceful restart, RFC 4724).
//!
//! ```text
//!  first listing ─► preserved families ─► OPEN with F=1 for those
//!  every VIP decided, or the restart time is over ─► the set is whole ─► End-of-RIB on every session
//!  every peer told, or the restart time is over ─► what the predecessor bound and we do not want may go
//! ```
//!
//! Until it is whole a desired set is [`Extent::Partial`]: routers keep what they have. Who has no peer with
//! `graceful_restart` begins whole, and none of this happens.

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
    /// VIPs that nothing is decided about yet.
    pub undecided: BTreeSet<Vip>,
    /// When what is not decided is no longer waited for: the routers do not wait longer either. `None` until the
    /// addresses of the host are known.
    pub until: Option<Instant>,
    /// When a router that was not heard of has dropped what it keeps. It was told so later than the predecessor ended: by its
    /// hold timer, where it heard nothing. After a power loss nothing here tells that there was a predecessor.
    pub kept_until: Option<Instant>,
}

/// The end of a restart, of which every peer is to be told before what the predecessor left is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handover {
    /// The first whole version.
    pub(super) version: Version,
    /// When a router that was not heard of has dropped the routes.
    pub(super) patience: Instant,
    /// When every peer had that version.
    pub(super) settled_at: Option<Instant>,
}

/// The longest restart time of the peers that keep our routes; `None` when none does.
pub(super) fn restart_time(config: &Config) -> Option<Duration> {
    config
        .peers
        .values()
        .filter_map(|peer| peer.graceful_restart.map(|graceful| graceful.restart_time.duration()))
        .max()
}

/// The families of which everything that may have been announced is still bound. `announced` is what the predecessor
/// wrote down before it left; a crash leaves nothing, and then only addresses that carry our mark prove that it ran on
/// this boot.
pub(super) fn preserved(
    config: &Config,
    facts: &Facts,
    announced: Option<&BTreeSet<Vip>>,
) -> BTreeSet<Family> {
    // What was bound before, and what should be so now. A prefix that nobody binds is not missed.
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
    /// Takes note of a decision: one that rests on a check that never ended, or on a request that the kernel has not
    /// answered, is none yet.
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
    /// Whether nobody can send us packets for what the predecessor announced and we do not.
    pub(super) fn is_settled(&self, facts: &Facts, now: Instant) -> bool {
        let told = |synced: Option<Version>| synced.is_some_and(|synced| synced >= self.version);
        matches!(facts.shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done))
            || facts.peers.values().all(|peer| told(peer.synced))
            || (self.patience <= now && facts.all_told(self.version, now))
    }
}

impl Engine {
    /// Whether a peer that keeps routes may have some of the predecessor's.
    pub fn is_restarting(&self) -> bool {
        self.facts.restart.is_some() || self.actual.handover.is_some()
    }

    /// How long a router without a session may keep routes, at most.
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

    /// Notes whether a decision is one, while a restart lasts.
    pub(super) fn note_undecided(&mut self, vip: Vip, service: &Service, decision: &Decision) {
        let Some(mut restart) = self.facts.restart.take() else { return };
        let failed =
            Wanted::by(service, &vip).is_some_and(|wanted| self.facts.obstacle(vip, wanted).is_some());
        restart.note(vip, decision, failed);
        self.facts.restart = Some(restart);
    }

    /// Ends it when everything is decided; a shutdown decides everything.
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
