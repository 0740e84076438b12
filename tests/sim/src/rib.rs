//! A router's routes from one node, from its UPDATEs, kept over a restart with graceful restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::fsm::{DownReason, Keeping};
use vipcast_bgp::wire::iana::community::GRACEFUL_SHUTDOWN;
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::wire::{Attribute, Capability, Community, Family, Open, Update};
use vipcast_bgp::{Instant, Session, family_of};

/// A route as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// How many times the ASN stands in the path beyond the first.
    pub prepends: usize,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// It carries GRACEFUL_SHUTDOWN (RFC 8326).
    pub graceful: bool,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prepended {}", self.prepends)?;
        if let Some(med) = self.med {
            write!(f, ", med {med}")?;
        }
        if self.graceful { f.write_str(", graceful shutdown") } else { Ok(()) }
    }
}

/// What happened to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came, or is another one.
    Announced(IpNet, Route),
    /// It was withdrawn.
    Withdrawn(IpNet),
    /// It went with its session, or was not told again after a restart.
    Dropped(IpNet),
}

/// The routes of one node at one router.
#[derive(Debug, Clone, Default)]
pub struct Rib {
    /// The routes that traffic follows.
    pub routes: BTreeMap<IpNet, Route>,
    /// Those of them that are kept from a session that has ended.
    pub stale: BTreeSet<IpNet>,
    /// When what is stale is dropped, if the node does not come back.
    pub stale_until: Option<Instant>,
    /// When each prefix was last withdrawn by an UPDATE.
    pub withdrawn: BTreeMap<IpNet, Instant>,
    /// When the session began; `None`: there is none.
    pub since: Option<Instant>,
    keeping: Option<Keeping>,
    /// Families whose forwarding went on, as the node's last OPEN says.
    preserved: BTreeSet<Family>,
}

impl Rib {
    /// The node's OPEN has come in.
    pub fn opened(&mut self, open: &Open) {
        self.preserved.clear();
        for capability in &open.capabilities {
            if let Capability::GracefulRestart { families, .. } = capability {
                self.preserved = families.iter().filter(|of| of.forwarding).map(|of| of.family).collect();
            }
        }
    }

    /// A session has begun: what the node has not kept forwarding is dropped (RFC 4724 §4.2).
    pub fn established(&mut self, session: &Session, now: Instant) -> Vec<Change> {
        self.since = Some(now);
        self.keeping = session.graceful_restart;
        self.stale_until = None;
        let gone: Vec<IpNet> = self
            .stale
            .iter()
            .filter(|prefix| !self.preserved.contains(&family_of(prefix)))
            .copied()
            .collect();
        gone.into_iter().map(|prefix| self.drop_route(prefix)).collect()
    }

    /// The session has ended.
    pub fn down(&mut self, reason: &DownReason, now: Instant) -> Vec<Change> {
        self.since = None;
        let keeping = self.keeping.take().filter(|keeping| keeps(*keeping, reason));
        let Some(keeping) = keeping else {
            return self.clear();
        };
        self.stale = self.routes.keys().copied().collect();
        self.stale_until = Some(now + Duration::from_secs(u64::from(keeping.restart_time)));
        Vec::new()
    }

    /// The node has not come back in time, or the router forgets everything.
    pub fn clear(&mut self) -> Vec<Change> {
        self.stale_until = None;
        let all: Vec<IpNet> = self.routes.keys().copied().collect();
        all.into_iter().map(|prefix| self.drop_route(prefix)).collect()
    }

    /// What an UPDATE changes. `None`: it is no End-of-RIB and changes nothing.
    pub fn learn(&mut self, update: &Update, now: Instant) -> Option<Vec<Change>> {
        if let Some(family) = update.end_of_rib() {
            let gone: Vec<IpNet> =
                self.stale.iter().filter(|prefix| family_of(prefix) == family).copied().collect();
            return Some(gone.into_iter().map(|prefix| self.drop_route(prefix)).collect());
        }
        let mut changes = Vec::new();
        let mut refreshed = false;
        for prefix in update.withdrawn_prefixes() {
            refreshed |= self.stale.remove(&prefix);
            if self.routes.remove(&prefix).is_some() {
                self.withdrawn.insert(prefix, now);
                changes.push(Change::Withdrawn(prefix));
            }
        }
        let route = route(update);
        for prefix in update.announced() {
            refreshed |= self.stale.remove(&prefix);
            if self.routes.insert(prefix, route) != Some(route) {
                changes.push(Change::Announced(prefix, route));
            }
        }
        (refreshed || !changes.is_empty()).then_some(changes)
    }

    fn drop_route(&mut self, prefix: IpNet) -> Change {
        self.routes.remove(&prefix);
        self.stale.remove(&prefix);
        Change::Dropped(prefix)
    }
}

/// Whether the end of a session is one that routes are kept over (RFC 4724 §4.2, RFC 8538 §4).
fn keeps(keeping: Keeping, reason: &DownReason) -> bool {
    match reason {
        DownReason::Received(notification) => {
            let hard = (notification.code, notification.subcode) == (CEASE, cease::HARD_RESET);
            keeping.notification && !hard
        }
        DownReason::Sent(_) => keeping.notification,
        DownReason::Closed(_) | DownReason::SendHoldTimerExpired => true,
        DownReason::DialFailed(_)
        | DownReason::LocalAddressGone
        | DownReason::BfdDown(_)
        | DownReason::Stopped(_) => false,
    }
}

fn route(update: &Update) -> Route {
    let mut route = Route { prepends: 0, med: None, graceful: false };
    if let Some(path) = update.as_path() {
        route.prepends = path.asns().count().saturating_sub(1);
    }
    for attribute in &update.attributes {
        if let Attribute::MultiExitDisc(med) = attribute {
            route.med = Some(*med);
        } else if let Attribute::Communities(communities) = attribute {
            route.graceful = communities.contains(&Community(GRACEFUL_SHUTDOWN));
        }
    }
    route
}
