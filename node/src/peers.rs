//! The peers: the desired ones, the running ones, and those that are being stopped.
//!
//! ```text
//!  configuration ─► wanted ─┬─ has no key ──► LookForKeys ─► Input::Key ────┐
//!                           ├─ not heard ──► ListenForRouters ─► Heard ─────┤
//!                           └───────────────────────────────────────────────┴─► StartPeer ─► running
//!  running, and no longer wanted as it is ─► StopPeer ─► stopping ─► PeerEnded ─► starts anew, or is gone
//! ```

mod events;
mod frozen;
mod keys;
mod settings;
mod unnumbered;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::vip::Vip;
use bytes::Bytes;
use vipcast_bgp::adj_rib_out::Withheld;
use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::transport::{Authentication, Transport};
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::wire::{Family, Notification};
use vipcast_bgp::{Export, Extent, Instant, PeerConfig, PeerStatus, PrefixMap, Session, Watched};

pub use self::events::reduced_offer;
use self::keys::Keys;
use self::settings::bgp_config;
pub use self::settings::transport;
use self::unnumbered::Unnumbered;
use crate::effect::{Effect, PeerId, Start};
use crate::engine::{Advertised, Event};
use crate::liveness::Liveness;
use crate::model::{Config, ConnectMode, KeySource, Peer, RouterAddress};
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;

/// The shutdown communication when we stop for good (RFC 9003).
const GOODBYE: &str = "vipcast is shutting down";

/// The peers of the node.
#[derive(Debug, Clone)]
pub struct Peers {
    /// The source of the peers' seeds. Two speakers must not share a seed, or their connections collide for ever.
    seeds: Jitter,
    last_id: u64,
    liveness: Liveness,
    /// `None`: not known yet, and no session can begin.
    router_id: Option<Ipv4Addr>,
    /// Whether connections are accepted, now or as soon as possible.
    listens: bool,
    running: BTreeMap<PeerName, Running>,
    /// Peers that are being stopped, because they changed or are gone. A changed one starts when its end is reported.
    stopping: BTreeMap<PeerId, PeerName>,
    wanted: BTreeMap<PeerName, Peer>,
    /// Peers without their key, which do not run.
    keys: Keys,
    /// Routers that are known by their link.
    unnumbered: Unnumbered,
    advertised: Advertised,
    /// The exports of drained peers, running or not.
    exports: BTreeMap<PeerName, Export>,
    /// During a restart, the families whose VIPs stayed bound.
    restarted: Option<BTreeSet<Family>>,
    /// All VIPs of the configuration, announced or not, to see other nodes that announce them.
    watched: Arc<Watched>,
    /// Whether all peers are stopped for good.
    over: bool,
}

/// A peer that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// The id in its events.
    pub id: PeerId,
    /// Its settings.
    pub peer: Peer,
    bgp: PeerConfig,
    transport: Transport,
    /// The established session.
    session: Option<Session>,
    /// The withheld routes as last reported to the engine.
    withheld: PrefixMap<Withheld>,
}

impl Peers {
    /// No peers before the first configuration.
    pub fn new(router_id: Option<Ipv4Addr>, seed: u64) -> Self {
        Self {
            seeds: Jitter::new(seed),
            last_id: 0,
            liveness: Liveness::default(),
            router_id,
            listens: false,
            running: BTreeMap::new(),
            stopping: BTreeMap::new(),
            wanted: BTreeMap::new(),
            keys: Keys::default(),
            unnumbered: Unnumbered::default(),
            advertised: Advertised::default(),
            exports: BTreeMap::new(),
            restarted: None,
            watched: Arc::default(),
            over: false,
        }
    }

    /// The BGP identifier in use; `None`: not known yet.
    pub fn router_id(&self) -> Option<Ipv4Addr> {
        self.router_id
    }

    /// The running peers.
    pub fn running(&self) -> &BTreeMap<PeerName, Running> {
        &self.running
    }

    /// Records that sessions may begin.
    pub(crate) fn announce_speaker(&self, out: &mut Outbox) {
        if let Some(router_id) = self.router_id {
            out.tell(What::SpeakerStarted { router_id });
        }
    }

    /// Takes the BGP identifier: sessions may begin.
    pub(crate) fn identified(&mut self, router_id: Ipv4Addr, out: &mut Outbox) {
        self.router_id = Some(router_id);
        self.announce_speaker(out);
        self.start_missing(out);
    }

    /// Runs exactly the peers of `config`. A peer with unchanged settings keeps its session (I7), even under another
    /// name; then the engine gets the new name. `restarted`: during a restart, the families whose VIPs stayed bound.
    pub(crate) fn configure(
        &mut self,
        config: &Config,
        restarted: Option<BTreeSet<Family>>,
        now: Instant,
        out: &mut Outbox,
    ) -> Option<Event> {
        self.restarted = restarted;
        if self.restarted.is_some() {
            // Also for peers that start before the first set.
            self.advertised.extent = Extent::Partial;
        }
        self.wanted = config.peers.clone();
        self.look_around(now, out);
        if !self.listens && self.wanted.values().any(|peer| peer.mode != ConnectMode::Active) {
            self.listens = true;
            out.push(Effect::Listen(config.listen.clone()));
        }
        self.watch(config, out);
        self.apply(out)
    }

    /// Looks for exactly the missing keys and routers.
    fn look_around(&mut self, now: Instant, out: &mut Outbox) {
        self.keys.want(&self.wanted, now, out);
        self.unnumbered.set(&self.wanted, now, out);
        self.unnumbered.fill_in(&mut self.wanted);
    }

    /// Takes a router advertisement: the session with the router may begin, or begins anew at its new address.
    pub(crate) fn heard(
        &mut self,
        interface: &str,
        router: Ipv6Addr,
        now: Instant,
        out: &mut Outbox,
    ) -> Option<Event> {
        let stands = self.running.values().any(|Running { peer, session, .. }| {
            matches!(peer.address, RouterAddress::OnLink(_))
                && peer.interface.as_deref() == Some(interface)
                && session.is_some()
        });
        if self.unnumbered.heard(interface, router, stands, now, out) && !self.over {
            self.unnumbered.fill_in(&mut self.wanted);
            return self.apply(out);
        }
        None
    }

    /// Runs exactly the desired peers.
    fn apply(&mut self, out: &mut Outbox) -> Option<Event> {
        let renamed = self.rename(out);
        self.liveness.rename(&renamed);
        self.liveness.set(&self.wanted, out);
        for (name, running) in &mut self.running {
            let Some(wanted) = self.wanted.get(name).filter(|wanted| **wanted != running.peer) else {
                continue;
            };
            if wanted.bfd != running.peer.bfd {
                out.push(Effect::Liveness(running.id, self.liveness.of(name)));
            }
            running.tune(wanted, out);
        }
        self.start_missing(out);
        (!renamed.is_empty()).then_some(Event::PeersRenamed(renamed))
    }

    /// Moves sessions of renamed peers; returns the old names with the new ones.
    fn rename(&mut self, out: &mut Outbox) -> BTreeMap<PeerName, PeerName> {
        let stays = |name: &PeerName, running: &Running| {
            self.wanted.get(name).is_some_and(|wanted| wanted.same_session(&running.peer))
        };
        let (staying, mut others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.running).into_iter().partition(|(name, running)| stays(name, running));
        self.running = staying;
        let mut renamed = BTreeMap::new();
        for (name, wanted) in self.wanted.iter().filter(|(name, _)| !self.running.contains_key(*name)) {
            let session = others.iter().find(|(_, running)| wanted.same_session(&running.peer));
            if let Some(old) = session.map(|(old, _)| old.clone())
                && let Some(running) = others.remove(&old)
            {
                out.tell(What::PeerRenamed { peer: name.clone(), was: old.clone() });
                renamed.insert(old, (name.clone(), running));
            }
        }
        let (names, sessions): (BTreeMap<_, _>, Vec<_>) =
            renamed.into_iter().map(|(old, (name, running))| ((old, name.clone()), (name, running))).unzip();
        // Peers whose name was taken over end first.
        for (old, running) in others {
            self.end(old, &running, out);
        }
        self.running.extend(sessions);
        names
    }

    fn watch(&mut self, config: &Config, out: &mut Outbox) {
        let vips = config.services.values().flat_map(|service| &service.vips);
        let watched: Watched = vips.map(Vip::prefix).collect();
        if *self.watched != watched {
            self.watched = Arc::new(watched);
            out.push(Effect::Watch(Arc::clone(&self.watched)));
        }
    }

    /// Keeps the desired set, for peers that start later.
    pub(crate) fn advertise(&mut self, advertised: &Advertised) {
        self.advertised = advertised.clone();
        if self.advertised.extent == Extent::Whole {
            self.restarted = None;
        }
    }

    /// Replaces the exports: of the sessions, and of those that begin later.
    pub(crate) fn set_exports(&mut self, exports: BTreeMap<PeerName, Export>, out: &mut Outbox) {
        self.exports = exports;
        for (name, running) in &mut self.running {
            let export = self.exports.get(name).copied().unwrap_or_default();
            if running.bgp.export != export {
                running.bgp.export = export;
                out.push(Effect::Tune(running.id, running.bgp.tuning()));
            }
        }
    }

    /// Ends every session with Cease / Administrative Shutdown, for good. Returns whether none is left.
    pub(crate) fn stop_all(&mut self, now: Instant, out: &mut Outbox) -> bool {
        self.wanted.clear();
        self.look_around(now, out);
        self.over = true;
        for (name, running) in std::mem::take(&mut self.running) {
            self.stop(name, &running, Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN, GOODBYE), out);
        }
        self.is_over()
    }

    /// Whether all peers were stopped for good, and no connection is left.
    fn is_over(&self) -> bool {
        self.over && self.running.is_empty() && self.stopping.is_empty()
    }

    /// Takes the end of a stopped peer; a peer that only changed starts anew.
    pub(crate) fn ended(&mut self, id: PeerId, out: &mut Outbox) -> Option<Event> {
        let name = self.stopping.remove(&id)?;
        self.start_missing(out);
        if self.is_over() {
            return Some(Event::PeersStopped);
        }
        // Another session may have taken its name over.
        let taken = self.running.get(&name).is_some_and(|running| running.session.is_some());
        (!taken).then_some(Event::PeerDown(name))
    }

    /// Takes the result of a search for a key; a found key starts its peer.
    pub(crate) fn key(
        &mut self,
        name: &PeerName,
        source: &KeySource,
        key: Result<Authentication, String>,
        out: &mut Outbox,
    ) {
        if let Some(key) = self.keys.looked(name, source, key, out)
            && let Some(peer) = self.wanted.get_mut(name)
        {
            peer.authentication = Some(key);
            self.start_missing(out);
        }
    }

    /// Takes a change of a BFD session.
    pub(crate) fn bfd(&mut self, event: &BfdEvent, out: &mut Outbox) {
        let Some((name, liveness)) = self.liveness.changed(event, out) else { return };
        if let Some(running) = self.running.get(&name) {
            for liveness in liveness {
                out.push(Effect::Liveness(running.id, liveness));
            }
        }
    }

    /// Peers whose BFD session has been up: they watch us.
    pub(crate) fn watching(&self) -> &BTreeSet<PeerName> {
        self.liveness.up()
    }

    /// The name of each peer's BFD session.
    pub fn bfd_names(&self) -> &BTreeMap<PeerName, vipcast_bgp::bfd::SessionName> {
        self.liveness.names()
    }

    /// Peers with a session that drop our routes in a restart.
    pub(crate) fn forgetful(&self) -> impl Iterator<Item = &PeerName> {
        let keeps_nothing = |running: &Running| {
            running.session.as_ref().is_some_and(|session| session.graceful_restart.is_none())
        };
        self.running.iter().filter(move |(_, running)| keeps_nothing(running)).map(|(name, _)| name)
    }

    /// The hint for a peer that is down: that of its last telling failure, if there was one since the last session.
    pub fn hint(&self, name: &PeerName, status: &PeerStatus) -> Option<String> {
        let (reason, _) = status.telling.as_ref().or(status.last_down.as_ref())?;
        self.running.get(name).and_then(|running| running.hint(reason, status))
    }

    /// A peer that is being stopped.
    pub(crate) fn stopping(&self) -> Option<&PeerName> {
        self.stopping.values().next()
    }

    /// Configured peers that do not run, because their key or their router is missing.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        let keyless = self.keys.waiting().filter_map(|(name, reason, since)| {
            let why = Waits::Key(reason.to_owned());
            Some(Waiting { name, peer: self.wanted.get(name)?, why, since: Some(since) })
        });
        let unheard = self.wanted.iter().filter(|(_, peer)| peer.address.ip().is_none() && !peer.lacks_key());
        keyless.chain(unheard.map(|(name, peer)| {
            let interface = peer.interface.clone().unwrap_or_default();
            let since = self.unnumbered.since(&interface);
            Waiting { name, peer, why: Waits::Router { interface }, since }
        }))
    }

    /// Starts the desired peers that do not run and can.
    pub(crate) fn start_missing(&mut self, out: &mut Outbox) {
        let Some(router_id) = self.router_id else { return };
        for (name, peer) in &self.wanted {
            let is_ending = self.stopping.values().any(|stopping| stopping == name);
            if is_ending || self.running.contains_key(name) || peer.lacks_key() {
                continue;
            }
            // The router has not been heard yet.
            let Some(transport) = transport(peer) else { continue };
            let mut bgp = bgp_config(peer, router_id, self.restarted.clone(), self.seeds.next());
            bgp.export = self.exports.get(name).copied().unwrap_or_default();
            self.last_id += 1;
            let id = PeerId(self.last_id);
            out.push(Effect::StartPeer(Box::new(Start {
                id,
                transport: transport.clone(),
                config: bgp.clone(),
                advertised: self.advertised.clone(),
                watched: Arc::clone(&self.watched),
                // BFD may be up already; then no change follows.
                liveness: self.liveness.of(name),
            })));
            let running =
                Running { id, peer: peer.clone(), bgp, transport, session: None, withheld: PrefixMap::new() };
            self.running.insert(name.clone(), running);
        }
    }

    /// Ends the session of a peer that was removed from the configuration, or changed.
    fn end(&mut self, name: PeerName, running: &Running, out: &mut Outbox) {
        let subcode = if self.wanted.contains_key(&name) {
            cease::OTHER_CONFIGURATION_CHANGE
        } else {
            cease::PEER_DECONFIGURED
        };
        self.stop(name, running, Notification::new(CEASE, subcode, Bytes::new()), out);
    }

    fn stop(&mut self, name: PeerName, running: &Running, notification: Notification, out: &mut Outbox) {
        out.tell(What::SessionStopped { peer: name.clone(), reason: notification.to_string() });
        out.push(Effect::StopPeer(running.id, notification));
        self.stopping.insert(running.id, name);
    }
}

/// A peer that does not run.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    /// Its name.
    pub name: &'a PeerName,
    /// Its settings.
    pub peer: &'a Peer,
    /// The missing item.
    pub why: Waits,
    /// The begin of the wait; `None`: now.
    pub since: Option<Instant>,
}

/// The reason why a peer does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waits {
    /// Its key is missing; the reason in words.
    Key(String),
    /// No router has advertised itself.
    Router { interface: String },
}

impl Running {
    /// The export of routes on its sessions.
    pub fn export(&self) -> Export {
        self.bgp.export
    }

    /// Applies settings that do not need a new session.
    fn tune(&mut self, wanted: &Peer, out: &mut Outbox) {
        self.bgp.connect_retry = wanted.connect_retry;
        self.bgp.mode = wanted.mode;
        self.bgp.next_hops = wanted.next_hop;
        self.bgp.med = wanted.med;
        out.push(Effect::Tune(self.id, self.bgp.tuning()));
        self.peer = wanted.clone();
    }

    fn hint(&self, reason: &DownReason, status: &PeerStatus) -> Option<String> {
        reason
            .hint_from_what_was_seen(&status.seen)
            .or_else(|| self.transport.hint(self.bgp.peering(), reason))
            .or_else(|| reason.hint(&self.bgp, &status.seen))
    }
}
