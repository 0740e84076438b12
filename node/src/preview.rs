//! The effects of a reload, without the reload: `reload --dry-run`.
//!
//! The node is a value: a copy follows the new configuration, and what it wants is compared with what this node wants. So
//! a preview says what a reload does, and not what a second description of it would.

use std::collections::BTreeSet;
use std::sync::Arc;

use vipcast_bgp::RouteAttributes;

use crate::effect::Effect;
use crate::engine::Event;
use crate::model::{Config, Peer};
use crate::names::{CheckName, PeerName};
use crate::node::Node;
use crate::now::Now;
use crate::outbox::Outbox;
use crate::record::{Warning, What};
use crate::reload::fixed_keys;
use crate::vip::Vip;

/// The effects of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// Changed keys that need a restart: a reload is refused as a whole.
    pub needs_restart: Vec<&'static str>,
    pub sessions: Sessions,
    /// VIPs that are bound, or bound in another way.
    pub bound: BTreeSet<Vip>,
    /// VIPs that are unbound, after their withdrawal.
    pub unbound: BTreeSet<Vip>,
    pub announcements: Announcements,
    pub checks: Checks,
    /// Warnings about the configuration.
    pub warnings: Vec<Warning>,
}

/// The effects on sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Sessions that begin.
    pub started: BTreeSet<PeerName>,
    /// Sessions that end.
    pub stopped: BTreeSet<PeerName>,
    /// Sessions that end and begin anew.
    pub reset: BTreeSet<PeerName>,
    /// Sessions that go on with other settings, or under another name.
    pub tuned: BTreeSet<PeerName>,
}

/// The effects on announcements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcements {
    /// VIPs that are new: announced at once, or when they are healthy.
    pub added: BTreeSet<Vip>,
    /// Announced VIPs with other attributes, for every router or for some.
    pub changed: BTreeSet<Vip>,
    /// Announced VIPs that are withdrawn.
    pub withdrawn: BTreeSet<Vip>,
}

/// The effects on checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// The number of checks that keep state and counters.
    pub kept: usize,
    /// Checks that are new.
    pub added: BTreeSet<CheckName>,
    /// Checks with another definition: they lose state and counters.
    pub changed: BTreeSet<CheckName>,
    /// Checks that end.
    pub removed: BTreeSet<CheckName>,
}

impl Node {
    /// The effects of a reload of this configuration now.
    pub(crate) fn preview(&self, config: &Arc<Config>, warnings: &[Warning], now: Now) -> Preview {
        let running = self.engine.config();
        let needs_restart = fixed_keys(running, config);
        let checks = checks(running, config);
        let warnings = warnings.to_vec();
        if !needs_restart.is_empty() {
            return Preview { needs_restart, checks, warnings, ..Preview::default() };
        }
        let mut twin = self.clone();
        let mut out = Outbox::new(now, 1);
        twin.engine_events([Event::Reload(Arc::clone(config))], now, &mut out);
        let (bound, unbound) = self.engine.bindings_changed_in(&twin.engine);
        Preview {
            needs_restart,
            sessions: self.sessions(config, &out),
            bound,
            unbound,
            announcements: self.announcements(config, &twin),
            checks,
            warnings,
        }
    }

    fn sessions(&self, config: &Config, out: &Outbox) -> Sessions {
        let running = self.peers.running();
        let mut sessions = Sessions::default();
        let mut renamed = BTreeSet::new();
        for record in &out.records {
            if let What::PeerRenamed { peer, was: _ } = &record.what {
                renamed.insert(peer.clone());
            }
        }
        let named = |id| running.iter().find(|(_, running)| running.id == id).map(|(name, _)| name.clone());
        for effect in &out.effects {
            if let Effect::StopPeer(id, _) = effect
                && let Some(name) = named(*id)
            {
                let stays = config.peers.contains_key(&name) && !renamed.contains(&name);
                if stays {
                    sessions.reset.insert(name)
                } else {
                    sessions.stopped.insert(name)
                };
            }
        }
        let before = &self.engine.config().peers;
        for (name, peer) in &config.peers {
            if renamed.contains(name) {
                sessions.tuned.insert(name.clone());
            } else if !before.contains_key(name) {
                sessions.started.insert(name.clone());
            } else if !sessions.reset.contains(name) && before.get(name) != Some(peer) {
                sessions.tuned.insert(name.clone());
            }
        }
        sessions
    }

    fn announcements(&self, config: &Config, twin: &Self) -> Announcements {
        let before = &self.engine.config().peers;
        let tuned: Vec<(&Peer, &Peer)> =
            config.peers.iter().filter_map(|(name, peer)| Some((before.get(name)?, peer))).collect();
        let is_tuned = |route: &RouteAttributes| {
            tuned.iter().any(|(was, is)| {
                (was.med != is.med && route.med.is_none())
                    || (was.next_hop != is.next_hop && route.next_hop.is_none())
            })
        };
        let vips = |node: &Self| -> BTreeSet<Vip> {
            node.engine.config().services.values().flat_map(|service| service.vips.clone()).collect()
        };
        let (before, after) = (vips(self), vips(twin));
        let mut announcements =
            Announcements { added: after.difference(&before).copied().collect(), ..Announcements::default() };
        for vip in before.union(&after) {
            match (self.engine.route(vip), twin.engine.route(vip)) {
                (None, Some(_)) => drop(announcements.added.insert(*vip)),
                (Some(_), None) => drop(announcements.withdrawn.insert(*vip)),
                (Some(was), Some(is)) if was != is || is_tuned(is) => {
                    announcements.changed.insert(*vip);
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        announcements
    }
}

fn checks(before: &Config, after: &Config) -> Checks {
    let mut checks = Checks::default();
    for (name, check) in &after.checks {
        match before.checks.get(name) {
            None => drop(checks.added.insert(name.clone())),
            Some(was) if was == check => checks.kept += 1,
            Some(_) => drop(checks.changed.insert(name.clone())),
        }
    }
    let removed = before.checks.keys().filter(|name| !after.checks.contains_key(*name));
    checks.removed = removed.cloned().collect();
    checks
}

#[cfg(test)]
mod tests;
