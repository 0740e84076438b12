//! A top-of-rack router: the real peer machine for each node, and the routes from each.

use std::time::Duration;

use bytes::BytesMut;
use vipcast_bgp::fsm::Input;
use vipcast_bgp::wire::{Message, SessionContext, next_frame};
use vipcast_bgp::{ConnectMode, GracefulRestart, PeerConfig, PeerEvent, RestartTime};

use crate::net::Owner;
use crate::rib::{Change, Rib};
use crate::rules::Violation;
use crate::shape::{NODE_AS, ROUTER_AS, router_name};
use crate::world::{Due, World};

/// How long a router takes to restart.
const REBOOT: Duration = Duration::from_secs(3);

/// A router.
#[derive(Debug)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// It refuses connections.
    pub refuses: bool,
    /// It runs.
    pub up: bool,
    /// How often it has begun.
    pub epoch: u64,
    /// Its neighbours, by node.
    pub speakers: Vec<Option<usize>>,
    /// What it has of each node.
    pub ribs: Vec<Rib>,
}

impl Router {
    /// A router that does not run yet.
    pub fn new(number: usize, nodes: usize) -> Self {
        Self {
            name: router_name(number),
            refuses: false,
            up: false,
            epoch: 0,
            speakers: vec![None; nodes],
            ribs: vec![Rib::default(); nodes],
        }
    }

    /// Whoever takes connections of a node.
    pub fn listener(&self, node: usize) -> Option<usize> {
        self.speakers[node].filter(|_| self.up && !self.refuses)
    }
}

impl World {
    /// A router begins.
    pub fn start_router(&mut self, router: usize) {
        self.routers[router].up = true;
        self.routers[router].epoch += 1;
        for node in 0..self.hosts.len() {
            let id = std::net::Ipv4Addr::new(10, 254, 0, u8::try_from(router + 1).unwrap_or(u8::MAX));
            let restart_time = RestartTime::from_secs(20).unwrap_or(RestartTime::DEFAULT);
            let graceful = GracefulRestart { restart_time, notification: true, restarted: None };
            let config = PeerConfig {
                mode: if self.setup.passive { ConnectMode::Passive } else { ConnectMode::Both },
                graceful_restart: self.setup.graceful.then_some(graceful),
                deliver_updates: true,
                seed: self.rng.number(),
                ..PeerConfig::new(ROUTER_AS, NODE_AS, id)
            };
            let speaker = self.new_speaker(config, Owner::Router { router, node });
            self.routers[router].speakers[node] = Some(speaker);
            let pair = self.pair_index(node, router);
            self.disturb(pair);
            self.speak(speaker, Input::Start);
        }
    }

    /// A router ends, forgets everything, and begins anew some seconds later.
    pub fn restart_router(&mut self, router: usize) {
        if !self.routers[router].up {
            return;
        }
        self.routers[router].up = false;
        for node in 0..self.hosts.len() {
            if let Some(speaker) = self.routers[router].speakers[node].take() {
                self.kill_speaker(speaker, true);
            }
            let pair = self.pair_index(node, router);
            self.pairs[pair].since = [None, None];
            self.disturb(pair);
            let changes = self.routers[router].ribs[node].clear();
            self.learnt(router, node, &changes);
            self.routers[router].ribs[node] = Rib::default();
        }
        let at = self.now + REBOOT;
        self.agenda.add(at, Due::StartRouter(router));
    }

    /// Reads the node's OPEN over the machine's shoulder: what its flags say of a restart is for a helper to heed, and our
    /// machine is none.
    pub fn overhear(&mut self, speaker: usize, bytes: &[u8]) {
        let Some(Owner::Router { router, node }) =
            self.speakers.get(speaker).and_then(Option::as_ref).map(|speaker| speaker.owner)
        else {
            return;
        };
        if self.routers[router].ribs[node].since.is_some() {
            return;
        }
        let mut buffer = BytesMut::from(bytes);
        while let Ok(Some(frame)) = next_frame(&mut buffer) {
            if let Ok(Message::Open(open)) = Message::decode(&frame, &SessionContext::external()) {
                self.routers[router].ribs[node].opened(&open);
            }
        }
    }

    /// Something happened to the session of a router with a node.
    pub fn router_hears(&mut self, router: usize, node: usize, event: PeerEvent) {
        let now = self.now;
        let host = self.hosts[node].name.clone();
        let Router { name, ribs, .. } = &mut self.routers[router];
        let rib = &mut ribs[node];
        match event {
            PeerEvent::Established(session) => {
                let changes = rib.established(&session, now);
                self.trace.tell(now, || format!("{name}: session with {host}"));
                self.learnt(router, node, &changes);
            }
            PeerEvent::Down { reason, was_established: true } => {
                let changes = rib.down(&reason, now);
                let keeps = rib.stale_until;
                self.trace.tell(now, || {
                    let keeps = if keeps.is_some() { ", its routes are kept" } else { "" };
                    format!("{name}: no session with {host}: {reason}{keeps}")
                });
                if let Some(until) = keeps {
                    self.agenda.add(until, Due::Stale { router, node });
                }
                self.learnt(router, node, &changes);
                self.i7_it_ended_for_a_reason(router, node, &reason);
            }
            PeerEvent::Update(update) => match rib.learn(&update, now) {
                Some(changes) => self.learnt(router, node, &changes),
                None => {
                    let what = format!("an UPDATE of {host} to {name} changes nothing: {update:?}");
                    self.violated(Violation::new("I7 sent on change only", what));
                }
            },
            PeerEvent::Down { was_established: false, .. }
            | PeerEvent::Synced(_)
            | PeerEvent::Acknowledged(_)
            | PeerEvent::Stalled(_) => {}
        }
    }

    /// Routes of a session that has ended were kept for as long as was agreed on.
    pub fn drop_stale(&mut self, router: usize, node: usize) {
        let rib = &mut self.routers[router].ribs[node];
        if rib.stale_until.is_some_and(|until| until <= self.now) {
            let changes = rib.clear();
            self.learnt(router, node, &changes);
        }
    }

    /// What a router has of a node has changed.
    fn learnt(&mut self, router: usize, node: usize, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let name = &self.routers[router].name;
        let host = &self.hosts[node].name;
        for change in changes {
            self.trace.tell(self.now, || match change {
                Change::Announced(vip, route) => format!("{name}: {vip} from {host}, {route}"),
                Change::Withdrawn(vip) => format!("{name}: {vip} from {host} withdrawn"),
                Change::Dropped(vip) => format!("{name}: {vip} from {host} dropped"),
            });
        }
        self.dirty[node] = true;
        for change in changes {
            if let Change::Withdrawn(vip) = change {
                self.i4_it_left_for_a_reason(router, node, *vip);
            }
        }
    }
}
