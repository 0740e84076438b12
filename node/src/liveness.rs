//! BFD of the peers: the desired sessions, and the effect of a change on the peer.
//!
//! ```text
//!  peers ─► set ─► Effect::Bfd ─► (the port's thread) ─► Input::Bfd ─► Effect::Liveness ─► the peer's session
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipcast_bgp::bfd::{
    BfdEvent, Hops, Interval, SessionConfig, SessionName, SessionSettings, Sessions, State,
};
use vipcast_bgp::fsm::Liveness as Says;

use crate::effect::Effect;
use crate::model::{self, Peer, Reach};
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;

/// The BFD sessions of all peers.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    wanted: BTreeMap<PeerName, Peer>,
    /// The name of each peer's session: a renamed peer keeps its session.
    sessions: BTreeMap<PeerName, SessionName>,
    up: BTreeSet<PeerName>,
    /// The sessions of the port.
    told: Sessions,
}

impl Liveness {
    /// The sessions of the freeze, for [`Self::set`]. `wanted` are the peers whose sessions have the same way as then.
    pub(crate) fn thaw(
        wanted: BTreeMap<PeerName, Peer>,
        sessions: BTreeMap<PeerName, SessionName>,
        up: BTreeSet<PeerName>,
    ) -> Self {
        Self { wanted, sessions, up, told: Sessions::new() }
    }

    /// Renames peers; their sessions go on. Call before [`Self::set`].
    pub(crate) fn rename(&mut self, renamed: &BTreeMap<PeerName, PeerName>) {
        let new = |name: PeerName| renamed.get(&name).cloned().unwrap_or(name);
        // Another peer may have taken the name over; then it is not the name of this session.
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

    /// Replaces the sessions by those of the `peers` with `bfd`.
    pub(crate) fn set(&mut self, peers: &BTreeMap<PeerName, Peer>, out: &mut Outbox) {
        let with_bfd = peers.iter().filter(|(_, peer)| peer.bfd.is_some());
        let wanted: BTreeMap<PeerName, Peer> =
            with_bfd.map(|(name, peer)| (name.clone(), peer.clone())).collect();
        // A session with another address is a new session, and begins in Down.
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
        let named =
            |(name, peer): (&PeerName, &Peer)| Some((Arc::clone(self.sessions.get(name)?), settings(peer)?));
        let sessions: Sessions = self.wanted.iter().filter_map(named).collect();
        if sessions != self.told {
            self.told.clone_from(&sessions);
            out.push(Effect::Bfd(sessions));
        }
    }

    /// Takes a change of a session, and returns its effect on the peer.
    pub(crate) fn changed(&mut self, event: &BfdEvent, out: &mut Outbox) -> Option<(PeerName, Vec<Says>)> {
        let (name, _) = self.sessions.iter().find(|(_, session)| **session == event.session)?;
        let (name, peer) = self.wanted.get_key_value(name)?;
        let (name, strict) = (name.clone(), peer.bfd.is_some_and(|bfd| bfd.strict));
        let transition = &event.transition;
        let words = transition.to_string();
        if transition.to == State::Up {
            out.tell(What::BfdUp { peer: name.clone(), transition: words });
            self.up.insert(name.clone());
            return Some((name, vec![Says::Up]));
        }
        if !transition.is_loss() {
            return None;
        }
        self.up.remove(&name);
        let waiting = if strict { Says::Awaited } else { Says::Unknown };
        if transition.is_failure() {
            out.tell(What::BfdDown { peer: name.clone(), transition: words.clone() });
            let lost = Says::Lost(words);
            return Some((name, if strict { vec![lost, waiting] } else { vec![lost] }));
        }
        out.tell(What::BfdOutOfService { peer: name.clone(), transition: words });
        Some((name, vec![waiting]))
    }

    /// The state of BFD with a peer.
    pub(crate) fn of(&self, name: &PeerName) -> Says {
        let strict = self.wanted.get(name).and_then(|peer| peer.bfd).is_some_and(|bfd| bfd.strict);
        match (self.up.contains(name), strict) {
            (true, _) => Says::Up,
            (false, true) => Says::Awaited,
            (false, false) => Says::Unknown,
        }
    }

    /// Peers whose BFD session has been up: they watch us.
    pub(crate) fn up(&self) -> &BTreeSet<PeerName> {
        &self.up
    }

    /// The name of each peer's session.
    pub(crate) fn names(&self) -> &BTreeMap<PeerName, SessionName> {
        &self.sessions
    }
}

/// The settings that identify a session.
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
