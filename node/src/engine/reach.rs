//! Reach: whether a router has each announced VIP, beside the verdict.
//!
//! ```text
//!  verdict: Announce ─► waiting ──── a router has acknowledged it ───► What::Reached
//!                          │ ▲
//!                 PATIENCE │ └─ the last router that had it is gone, or cannot carry it any more
//!                          ▼
//!                   What::Unreached, once
//! ```
//!
//! A router has a VIP when its session is up, carries the VIP, and its TCP has acknowledged the set with the last
//! change of the route. Only VIPs that no router has are examined, so that thousands of reached VIPs cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::vip::Vip;
use vipcast_bgp::Instant;
use vipcast_bgp::adj_rib_out::Withheld;

use super::facts::{Event, PeerFact};
use super::{Engine, Verdict};
use crate::frozen::{Error, ahead, engine as frozen, past};
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;
use crate::table::Table;

/// The time for a session to come up, and for a router to acknowledge, before the log says that no router has a VIP.
const PATIENCE: Duration = Duration::from_secs(5);

/// The VIPs with an announcing verdict that no router has.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    waiting: Table<Vip, Waiting>,
    /// The VIPs among them that a router may have got.
    gained: Gained,
    /// Whether a router may have lost VIPs that are not in `waiting`.
    lost: bool,
    /// When the next VIP has waited too long. Never too late.
    due: Option<Instant>,
}

#[derive(Debug, Clone)]
enum Gained {
    /// The VIPs with a new verdict.
    These(Vec<Vip>),
    All,
}

impl Default for Gained {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    /// Whether reaching a router is worth a record: the verdict is new, or there was a complaint.
    news: bool,
    complained: bool,
}

impl Reach {
    /// Between two wake-ups there are neither gains nor losses to follow.
    pub(super) fn freeze(&self) -> frozen::Reach {
        let Self { waiting, gained: _, lost: _, due } = self;
        let one = |(vip, Waiting { since, news, complained }): (&Vip, &Waiting)| frozen::Waiting {
            vip: *vip,
            since: *since,
            news: *news,
            complained: *complained,
        };
        frozen::Reach { waiting: waiting.iter().map(one).collect(), due: *due }
    }

    pub(super) fn thaw(frozen: &frozen::Reach, now: Instant) -> Result<Self, Error> {
        let mut reach = Self {
            due: frozen.due.map(|at| ahead(at, now, PATIENCE, "reach.due")).transpose()?,
            ..Self::default()
        };
        for frozen::Waiting { vip, since, news, complained } in &frozen.waiting {
            let since = past(*since, now, "reach.since")?;
            reach.waiting.insert(*vip, Waiting { since, news: *news, complained: *complained });
        }
        Ok(reach)
    }

    /// The verdict about a VIP has changed, or its route.
    pub(super) fn decided(&mut self, vip: Vip, verdict: &Verdict, now: Instant) {
        if !verdict.is_announced() {
            self.forget(&vip);
            return;
        }
        let waiting =
            self.waiting.entry(vip).or_insert(Waiting { since: now, news: false, complained: false });
        // A demotion is recorded with its reason when it is decided.
        waiting.news = *verdict == Verdict::Announce;
        let due = waiting.since + PATIENCE;
        if !waiting.complained {
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
        if let Gained::These(vips) = &mut self.gained {
            vips.push(vip);
        }
    }

    pub(super) fn forget(&mut self, vip: &Vip) {
        self.waiting.swap_remove(vip);
    }

    /// Notes the effect of an event.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::PeerSynced(..) => self.gained = Gained::All,
            Event::PeerUp(_) | Event::PeerDown(_) | Event::Reload(_) => self.lost = true,
            Event::PeerWithholds(..) => (self.gained, self.lost) = (Gained::All, true),
            Event::Check(_)
            | Event::CheckWaits(..)
            | Event::Listed(_)
            | Event::Added(..)
            | Event::Removed(_)
            | Event::Link(..)
            | Event::Answered(..)
            | Event::Unanswered(..)
            | Event::PeersRenamed(_)
            | Event::Drain { .. }
            | Event::Undrain(..)
            | Event::DrainPeer { .. }
            | Event::UndrainPeer(..)
            | Event::Force { .. }
            | Event::Clear(..)
            | Event::Late(_)
            | Event::WallClock(_)
            | Event::Promote(..)
            | Event::Cordon(..)
            | Event::Shutdown
            | Event::PeersStopped
            | Event::Tick => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// The first routers are configured: the wait of all VIPs begins now.
    pub(super) fn begin(&mut self, now: Instant) {
        self.waiting.values_mut().for_each(|waiting| waiting.since = now);
        self.due = (!self.waiting.is_empty()).then_some(now + PATIENCE);
    }
}

impl Engine {
    /// Whether this router has the current route of a VIP.
    pub fn is_at(&self, peer: &PeerName, vip: &Vip) -> bool {
        let Some(fact) = self.facts.peers.get(peer) else { return false };
        let sent_in = self.actual.sent_in.get(vip);
        fact.established
            && !fact.withheld.contains_key(&vip.prefix())
            && sent_in.is_some_and(|version| fact.synced.is_some_and(|synced| synced >= *version))
    }

    /// The peers that may still have a VIP that was withdrawn: their TCP has not acknowledged the withdrawal, or they keep
    /// routes without a session.
    pub fn untold(&self, vip: &Vip, now: Instant) -> impl Iterator<Item = &PeerName> {
        let retiring = self.actual.retiring.get(vip).filter(|retiring| retiring.settled_at.is_none());
        let untold = move |fact: &PeerFact| {
            retiring.is_some_and(|retiring| {
                fact.keeps(now) || fact.established && fact.synced < Some(retiring.version)
            })
        };
        self.facts.peers.iter().filter(move |(_, fact)| untold(fact)).map(|(peer, _)| peer)
    }

    /// The number of routers that have a VIP.
    pub fn reached(&self, vip: &Vip) -> usize {
        self.facts.peers.keys().filter(|peer| self.is_at(peer, vip)).count()
    }

    /// Records the VIPs that reached a router, and those that have waited too long.
    pub(super) fn follow_reach(&mut self, now: Instant, out: &mut Outbox) {
        // During a shutdown the routers lose all VIPs anyway.
        if self.facts.shutdown.is_some() {
            self.reach = Reach::default();
            return;
        }
        // Without a configured router there is no wait.
        if self.facts.peers.is_empty() {
            (self.reach.due, self.reach.lost, self.reach.gained) = (None, false, Gained::default());
            return;
        }
        if std::mem::take(&mut self.reach.lost) {
            let gone: Vec<Vip> = (self.announced())
                .filter(|vip| !self.reach.waiting.contains_key(vip) && self.reached(vip) == 0)
                .collect();
            for vip in gone {
                let waiting = Waiting { since: now, news: false, complained: false };
                self.reach.waiting.insert(vip, waiting);
                self.reach.due = Some(self.reach.due.map_or(now + PATIENCE, |due| due.min(now + PATIENCE)));
            }
        }
        let mut waiting = std::mem::take(&mut self.reach.waiting);
        match std::mem::take(&mut self.reach.gained) {
            Gained::These(vips) => {
                for vip in vips {
                    if waiting.get(&vip).is_some_and(|waiting| self.is_reached(vip, waiting, out)) {
                        waiting.swap_remove(&vip);
                    }
                }
            }
            Gained::All => waiting.retain(|vip, waiting| !self.is_reached(*vip, waiting, out)),
        }
        self.reach.waiting = waiting;
        if self.reach.waiting.is_empty() {
            // Frees the memory for all VIPs of a start.
            self.reach.waiting = Table::default();
            self.reach.due = None;
        } else if self.reach.due.is_some_and(|due| due <= now) {
            self.complain(now, out);
        }
    }

    /// Whether a router has the VIP now; records it if that is news.
    fn is_reached(&self, vip: Vip, waiting: &Waiting, out: &mut Outbox) -> bool {
        let routers = self.reached(&vip);
        if routers == 0 {
            return false;
        }
        let service = self.standing.get(&vip).map(|standing| standing.service.clone());
        if let Some(service) = service.filter(|_| waiting.news || waiting.complained) {
            out.tell(What::Reached { vip, service, routers });
        }
        true
    }

    /// One record for all VIPs with the same reasons: a ToR that is down is one line, not thousands.
    fn complain(&mut self, now: Instant, out: &mut Outbox) {
        let mut by_reason: BTreeMap<String, BTreeSet<Vip>> = BTreeMap::new();
        let late: Vec<Vip> = (self.reach.waiting.iter())
            .filter(|(_, waiting)| !waiting.complained && waiting.since + PATIENCE <= now)
            .map(|(vip, _)| *vip)
            .collect();
        for vip in late {
            by_reason.entry(self.why_unreached(&vip)).or_default().insert(vip);
            if let Some(waiting) = self.reach.waiting.get_mut(&vip) {
                waiting.complained = true;
            }
        }
        let next = self.reach.waiting.values().filter(|waiting| !waiting.complained);
        self.reach.due = next.map(|waiting| waiting.since + PATIENCE).min();
        for (why, vips) in by_reason {
            out.tell(What::Unreached { vips, why });
        }
    }

    fn why_unreached(&self, vip: &Vip) -> String {
        // Facts may include peers that are no longer configured and keep our routes.
        let configured = self.facts.peers.iter().filter(|(peer, _)| self.config.peers.contains_key(*peer));
        let each = configured.map(|(peer, fact)| {
            let why = match fact.withheld.get(&vip.prefix()) {
                _ if !fact.established => "no session",
                Some(why) => withheld(*why),
                None => "not acknowledged by its TCP",
            };
            format!("{peer}: {why}")
        });
        each.collect::<Vec<_>>().join("; ")
    }
}

/// The reason why a session cannot carry a VIP, in words.
pub fn withheld(why: Withheld) -> &'static str {
    match why {
        Withheld::FamilyNotNegotiated => "the peer has not activated this address family",
        Withheld::NoNextHop => "no next hop of this family on the session's interface; set `next_hop`",
        Withheld::Drained => "the peer is drained by an operator",
        Withheld::AttributesTooLarge => "its communities do not fit into a BGP message",
    }
}

/// The state of a VIP in a word: the verdict, unless no router has the VIP.
pub fn word(verdict: &Verdict, routers: usize) -> &'static str {
    match verdict {
        Verdict::Announce | Verdict::Demote { .. } if routers == 0 => "ready",
        Verdict::Announce | Verdict::Demote { .. } | Verdict::Withhold(_) => verdict.word(),
    }
}
