//! BFD beside the peers: which sessions there are, what their changes mean for BGP, and what is logged of them.
//!
//! ```text
//!  configuration ─► Watch::set ─► thread "bfd" ─► BfdEvent ─► Liveness ─► peer
//! ```
//!
//! The thread is started with the first peer that has `bfd`, and says AdminDown to all of them at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{error, info, warn};
use vipcast_bgp::bfd::{BfdEvent, SessionName, SessionSettings, Sessions};
use vipcast_bgp::bfd::{Hops, Interval, SessionConfig, State};
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::net::bfd::{Bfd, Options, Report};
use vipcast_node::model::{self, Peer, Reach};
use vipcast_node::names::PeerName;

/// How long the last packets may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The BFD sessions of all peers.
#[derive(Debug, Default)]
pub struct Watch {
    running: Option<(Bfd, UnboundedReceiver<BfdEvent>)>,
    wanted: BTreeMap<PeerName, Peer>,
    /// What the sessions are called: a peer keeps its session when it gets another name.
    sessions: BTreeMap<PeerName, SessionName>,
    up: BTreeSet<PeerName>,
}

impl Watch {
    /// Peers go by other names, and their sessions go on. Before [`Self::set`].
    pub fn rename(&mut self, renamed: &BTreeMap<PeerName, PeerName>) {
        let new = |name: PeerName| renamed.get(&name).cloned().unwrap_or(name);
        // A name that was taken over by another peer is no longer that of the session before.
        let is_current =
            |name: &PeerName| renamed.contains_key(name) || !renamed.values().any(|to| to == name);
        self.up = std::mem::take(&mut self.up).into_iter().filter(is_current).map(new).collect();
        self.wanted = std::mem::take(&mut self.wanted)
            .into_iter()
            .filter(|(name, _)| is_current(name))
            .map(|(name, peer)| (new(name), peer))
            .collect();
        self.sessions = std::mem::take(&mut self.sessions)
            .into_iter()
            .filter(|(name, _)| is_current(name))
            .map(|(name, session)| (new(name), session))
            .collect();
    }

    /// Watches exactly the ways to those of `peers` that have `bfd`.
    pub fn set(&mut self, peers: &BTreeMap<PeerName, Peer>) {
        let with_bfd = peers.iter().filter(|(_, peer)| peer.bfd.is_some());
        let wanted: BTreeMap<PeerName, Peer> =
            with_bfd.map(|(name, peer)| (name.clone(), peer.clone())).collect();
        // A session with another address is another session, and begins Down.
        let same_way = |name: &PeerName| match (self.wanted.get(name), wanted.get(name)) {
            (Some(before), Some(now)) => settings(before).map(way) == settings(now).map(way),
            (None, _) | (_, None) => false,
        };
        self.up.retain(same_way);
        self.wanted = wanted;
        self.sessions.retain(|name, _| self.wanted.contains_key(name));
        for name in self.wanted.keys() {
            if !self.sessions.contains_key(name) {
                let free = |session: &SessionName| !self.sessions.values().any(|taken| taken == session);
                let mut numbered = (2..).map(|number| SessionName::from(format!("{name}#{number}")));
                let own = SessionName::from(name.as_str());
                let session = if free(&own) { Some(own) } else { numbered.find(free) };
                self.sessions.extend(session.map(|session| (name.clone(), session)));
            }
        }
        if self.running.is_none() && !self.wanted.is_empty() {
            self.start();
        }
        if let Some((bfd, _)) = &self.running {
            let named = |(name, peer): (&PeerName, &Peer)| {
                Some((Arc::clone(self.sessions.get(name)?), settings(peer)?))
            };
            bfd.set(self.wanted.iter().filter_map(named).collect::<Sessions>());
        }
    }

    fn start(&mut self) {
        match Bfd::start(Options::default()) {
            Ok((bfd, events)) => {
                info!(priority = %bfd.priority(), "BFD started");
                self.running = Some((bfd, events));
            }
            // Without it, strict peers stay down and the others are watched by their hold timers alone.
            Err(error) => error!(%error, "cannot start BFD"),
        }
    }

    /// The next change of a session; for ever pending while there is no BFD.
    pub async fn next(&mut self) -> BfdEvent {
        let event = match &mut self.running {
            Some((_, events)) => events.recv().await,
            None => None,
        };
        match event {
            Some(event) => event,
            None => pending().await,
        }
    }

    /// Takes note of a change, and tells what it means for the peer.
    pub fn changed(&mut self, event: &BfdEvent) -> Option<(PeerName, Vec<Liveness>)> {
        let (name, _) = self.sessions.iter().find(|(_, session)| **session == event.session)?;
        let (name, peer) = self.wanted.get_key_value(name)?;
        let (name, strict) = (name.clone(), peer.bfd.is_some_and(|bfd| bfd.strict));
        let transition = &event.transition;
        let words = transition.to_string();
        if transition.to == State::Up {
            info!(peer = %name, transition = words, "BFD up");
            self.up.insert(name.clone());
            return Some((name, vec![Liveness::Up]));
        }
        if !transition.is_loss() {
            return None;
        }
        self.up.remove(&name);
        let waiting = if strict { Liveness::Awaited } else { Liveness::Unknown };
        if transition.is_failure() {
            warn!(peer = %name, transition = words, "BFD down");
            let lost = Liveness::Lost(words);
            return Some((name, if strict { vec![lost, waiting] } else { vec![lost] }));
        }
        info!(peer = %name, transition = words, "BFD out of service");
        Some((name, vec![waiting]))
    }

    /// What BFD says of the way to a peer now.
    pub fn liveness(&self, name: &PeerName) -> Liveness {
        let strict = self.wanted.get(name).and_then(|peer| peer.bfd).is_some_and(|bfd| bfd.strict);
        match (self.up.contains(name), strict) {
            (true, _) => Liveness::Up,
            (false, true) => Liveness::Awaited,
            (false, false) => Liveness::Unknown,
        }
    }

    /// Peers that watch us, and that we have seen doing so.
    pub fn up(&self) -> &BTreeSet<PeerName> {
        &self.up
    }

    /// Everything about all sessions, by the names of the peers.
    pub fn report(&self) -> Option<Report> {
        let mut report = self.running.as_ref().and_then(|(bfd, _)| bfd.report())?;
        let named = self.sessions.iter().filter_map(|(name, session)| {
            Some((SessionName::from(name.as_str()), report.sessions.get(session)?.clone()))
        });
        report.sessions = named.collect();
        Some(report)
    }

    /// Says AdminDown to everyone, so that nobody takes the end for a failure.
    pub fn stop(&mut self) {
        if let Some((bfd, _)) = self.running.take()
            && !bfd.stop(GOODBYE)
        {
            warn!("BFD did not end in time");
        }
    }
}

/// What decides whether a session is the same one.
fn way(settings: SessionSettings) -> SessionSettings {
    SessionSettings { config: SessionConfig::DEFAULT, ..settings }
}

/// `None`: no BFD for this peer.
fn settings(peer: &Peer) -> Option<SessionSettings> {
    let model::Bfd { interval, multiplier, min_ttl, .. } = peer.bfd?;
    let hops = match peer.reach {
        Reach::ByPeering => Hops::Single,
        Reach::Multihop(hops) | Reach::TtlSecurity(hops) if hops.get() == 1 => Hops::Single,
        Reach::Multihop(hops) | Reach::TtlSecurity(hops) => {
            Hops::Multi { min_ttl: min_ttl.unwrap_or(u8::MAX - (hops.get() - 1)) }
        }
    };
    let interval = Interval::from_duration(interval)?;
    Some(SessionSettings {
        local: peer.source_address,
        interface: peer.interface.clone(),
        hops,
        config: SessionConfig::new(interval, multiplier),
        ..SessionSettings::new(peer.address.ip()?)
    })
}
