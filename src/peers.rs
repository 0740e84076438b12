//! The peers as the configuration names them: starts, replaces and stops the speaker's peers, hands them the desired
//! routes, and says in the log what happens to them.

mod events;
mod identity;
mod keys;
mod listen;
mod settings;
mod unnumbered;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::sync::mpsc;
use tracing::info;
use vipcast_bgp::Instant;
use vipcast_bgp::adj_rib_out::Withheld;
use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::host::Host;
use vipcast_bgp::net::bfd::Report;
use vipcast_bgp::net::clock;
use vipcast_bgp::net::{Limiter, PeerHandle, PeerId, Speaker};
use vipcast_bgp::transport::Transport;
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::wire::{Family, Notification};
use vipcast_bgp::{Extent, Paths, PeerConfig, PeerEvent, PeerStatus, PrefixMap, State, Watched};
use vipcast_node::engine::{Advertised, Event};
use vipcast_node::model::{Config, ConnectMode, Peer, RouterAddress};
use vipcast_node::names::PeerName;

use self::events::Kind;
pub use self::events::reduced_offer;
pub use self::keys::KeyRead;
use self::keys::Keys;
use self::listen::listen;
use self::settings::{bgp_config, transport};
use self::unnumbered::Unnumbered;
use crate::bfd::Watch;
use crate::discovery::Heard;

/// The running peers.
#[derive(Debug)]
pub struct Peers {
    speaker: Speaker,
    watch: Watch,
    /// `None`: not known yet, and no session can begin.
    router_id: Option<Ipv4Addr>,
    /// Where connections are accepted, as soon as a peer may connect.
    listens: bool,
    running: BTreeMap<PeerName, Running>,
    /// Routers that are known by their link.
    unnumbered: Unnumbered,
    /// Peers that are being stopped, because they changed or are gone. A changed one starts when its end is reported.
    stopping: BTreeMap<PeerId, PeerName>,
    wanted: BTreeMap<PeerName, Peer>,
    /// Those of them that have no key yet, and do not run without it.
    keys: Keys,
    advertised: Advertised,
    /// While a restart lasts, the families whose VIPs stayed bound.
    restarted: Option<BTreeSet<Family>>,
    /// All VIPs of the configuration, announced now or not: whoever else announces one is to be seen.
    watched: Arc<Watched>,
    /// Stopped for good.
    over: bool,
    limiter: Limiter<(PeerName, Kind)>,
    stopped: mpsc::UnboundedSender<PeerId>,
}

#[derive(Debug)]
struct Running {
    peer: Peer,
    bgp: PeerConfig,
    handle: PeerHandle,
    transport: Transport,
    /// The failures that were logged since the last session, so that a peer that is down for a day is a few lines and not
    /// thousands. At most [`events::COMPLAINTS`].
    complained: VecDeque<DownReason>,
    /// What the engine was told that the session cannot carry.
    withheld: PrefixMap<Withheld>,
}

/// The streams that [`Peers`] reports on; the daemon selects over them.
#[derive(Debug)]
pub struct PeerStreams {
    /// What happens to sessions.
    pub events: mpsc::UnboundedReceiver<(PeerId, PeerEvent)>,
    /// Peers whose connection is closed after they were stopped.
    pub stopped: mpsc::UnboundedReceiver<PeerId>,
    /// Looks at keys that could not be read before.
    pub keys: mpsc::UnboundedReceiver<KeyRead>,
    /// Routers that advertise themselves on links that have such peers.
    pub heard: mpsc::UnboundedReceiver<Heard>,
    /// Our BGP identifier, where it could not be told at the start.
    pub identified: mpsc::UnboundedReceiver<Ipv4Addr>,
}

impl Peers {
    /// Nothing listens or dials before [`Self::configure`]. What is missing on this host and may come later, an address,
    /// a route or an interface, is waited for.
    pub fn start(config: &Config) -> (Self, PeerStreams) {
        let (speaker, events) = Speaker::new();
        let (router_id, identified) = identity::find(config);
        if let Some(router_id) = router_id {
            info!(%router_id, "BGP speaker started");
        }
        let (stopped, stopped_rx) = mpsc::unbounded_channel();
        let (keys, key_reads) = Keys::new();
        let (unnumbered, heard) = Unnumbered::new();
        let peers = Self {
            speaker,
            watch: Watch::default(),
            router_id,
            listens: false,
            running: BTreeMap::new(),
            unnumbered,
            stopping: BTreeMap::new(),
            wanted: BTreeMap::new(),
            keys,
            advertised: Advertised::default(),
            restarted: None,
            watched: Arc::default(),
            over: false,
            limiter: Limiter::default(),
            stopped,
        };
        (peers, PeerStreams { events, stopped: stopped_rx, keys: key_reads, identified, heard })
    }

    /// The BGP identifier in use; `None`: not known yet.
    pub fn router_id(&self) -> Option<Ipv4Addr> {
        self.router_id
    }

    /// The BGP identifier is known now: sessions may begin.
    pub fn identified(&mut self, router_id: Ipv4Addr) {
        info!(%router_id, "BGP speaker started");
        self.router_id = Some(router_id);
        self.start_missing();
    }

    /// What keeps sessions from beginning, in words.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let unknown = self.router_id.is_none().then(|| {
            "no session can begin: the router id is not known; give the host its address, or write `router_id`".to_owned()
        });
        let deaf = self.speaker.not_listening();
        unknown.into_iter().chain(deaf.map(|(address, cause)| {
            format!("not listening on {address}: {cause}; peers that we dial do not need it")
        }))
    }

    /// Runs exactly the peers of `config`. One whose settings did not change is not touched (I7), also when it has another
    /// name; then the engine is told. `restarted` are the families whose VIPs stayed bound, while a restart lasts.
    pub fn configure(&mut self, config: &Config, restarted: Option<BTreeSet<Family>>) -> Option<Event> {
        self.restarted = restarted;
        if self.restarted.is_some() {
            // Also before the first set.
            self.advertised.extent = Extent::Partial;
        }
        self.wanted = config.peers.clone();
        self.keys.want(&self.wanted, clock::now());
        self.unnumbered.set(&mut self.wanted, &self.speaker.watch_host(), clock::now());
        if !self.listens && self.wanted.values().any(|peer| peer.mode != ConnectMode::Active) {
            self.listens = true;
            listen(&mut self.speaker, &config.listen);
        }
        self.watch(config);
        self.apply()
    }

    /// A router has advertised itself: its session may begin, or begins anew at its new address.
    pub fn heard(&mut self, heard: &Heard) -> Option<Event> {
        let stands = self.running.values().any(|running| {
            let peer = &running.peer;
            matches!(peer.address, RouterAddress::OnLink(_))
                && peer.interface.as_ref() == Some(&heard.interface)
                && running.handle.status().state == State::Established
        });
        if self.unnumbered.heard(heard, stands, clock::now()) && !self.over {
            self.unnumbered.fill_in(&mut self.wanted);
            return self.apply();
        }
        None
    }

    /// Runs exactly the peers that are wanted.
    fn apply(&mut self) -> Option<Event> {
        let renamed = self.rename();
        self.watch.rename(&renamed);
        self.watch.set(&self.wanted);
        for (name, running) in &mut self.running {
            let Some(wanted) = self.wanted.get(name).filter(|wanted| **wanted != running.peer) else {
                continue;
            };
            if wanted.bfd != running.peer.bfd {
                running.handle.liveness(self.watch.liveness(name));
            }
            running.tune(wanted);
        }
        self.start_missing();
        (!renamed.is_empty()).then_some(Event::PeersRenamed(renamed))
    }

    /// Sessions whose peer has another name now, from the old one to the new one.
    fn rename(&mut self) -> BTreeMap<PeerName, PeerName> {
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
                info!(peer = %name, was = %old, "peer renamed: its session goes on");
                renamed.insert(old, (name.clone(), running));
            }
        }
        let (names, sessions): (BTreeMap<_, _>, Vec<_>) =
            renamed.into_iter().map(|(old, (name, running))| ((old, name.clone()), (name, running))).unzip();
        // Those whose name was taken over end first.
        for (old, running) in others {
            self.end(old, running);
        }
        self.running.extend(sessions);
        names
    }

    fn watch(&mut self, config: &Config) {
        let vips = config.services.values().flat_map(|service| &service.vips);
        let watched: Watched = vips.map(IpNet::trunc).collect();
        if *self.watched != watched {
            self.watched = Arc::new(watched);
            for running in self.running.values() {
                running.handle.watch(Arc::clone(&self.watched));
            }
        }
    }

    /// Gives every peer the whole desired set, those that start later too.
    pub fn advertise(&mut self, advertised: Advertised) {
        self.advertised = advertised;
        if self.advertised.extent == Extent::Whole {
            self.restarted = None;
        }
        for running in self.running.values() {
            give(&running.handle, &self.advertised);
        }
    }

    /// Ends every session with Cease / Administrative Shutdown and `text` (RFC 9003), for good.
    pub fn stop_all(&mut self, text: &str) {
        self.wanted.clear();
        self.keys.want(&self.wanted, clock::now());
        self.unnumbered.set(&mut self.wanted, &self.speaker.watch_host(), clock::now());
        self.over = true;
        for (name, running) in std::mem::take(&mut self.running) {
            self.stop(name, running, Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN, text));
        }
    }

    /// Whether no connection is left.
    pub fn all_stopped(&self) -> bool {
        self.running.is_empty() && self.stopping.is_empty()
    }

    /// Whether they were all stopped for good, and no connection is left.
    pub fn is_over(&self) -> bool {
        self.over && self.all_stopped()
    }

    /// What is known of every configured peer.
    pub fn status(&self) -> impl Iterator<Item = (&PeerName, &Peer, PeerStatus)> {
        self.running.iter().map(|(name, running)| (name, &running.peer, running.handle.status()))
    }

    /// What each peer announces of our VIPs.
    pub fn paths(&self) -> impl Iterator<Item = (&PeerName, Paths)> {
        self.running.iter().map(|(name, running)| (name, running.handle.status().paths))
    }

    /// This host's links and addresses.
    pub fn host(&self) -> Host {
        self.speaker.host()
    }

    /// What is known of their BFD sessions, by the peer's name.
    pub fn bfd(&self) -> Option<Report> {
        self.watch.report()
    }

    /// The next change of a BFD session.
    pub async fn next_bfd(&mut self) -> BfdEvent {
        self.watch.next().await
    }

    /// Passes on what BFD says.
    pub fn bfd_changed(&mut self, event: &BfdEvent) {
        let Some((name, liveness)) = self.watch.changed(event) else { return };
        if let Some(running) = self.running.get(&name) {
            for liveness in liveness {
                running.handle.liveness(liveness);
            }
        }
    }

    /// Peers whose BFD session is up.
    pub fn bfd_up(&self) -> &BTreeSet<PeerName> {
        self.watch.up()
    }

    /// Says AdminDown, when every session is closed.
    pub fn stop_bfd(&mut self) {
        self.watch.stop();
    }

    /// What an operator should look at, for a peer that is down: what its last telling failure means, if there was one
    /// since the last session.
    pub fn hint(&self, name: &PeerName, status: &PeerStatus) -> Option<String> {
        let (reason, _) = status.telling.as_ref().or(status.last_down.as_ref())?;
        self.running.get(name).and_then(|running| running.hint(reason, status))
    }

    /// A peer that was stopped is closed; if it only changed, it starts anew.
    pub fn stopped(&mut self, id: PeerId) -> Option<Event> {
        let name = self.stopping.remove(&id)?;
        self.start_missing();
        // Another session may have taken its name over.
        let taken = self
            .running
            .get(&name)
            .is_some_and(|running| running.handle.status().state == State::Established);
        (!taken).then_some(Event::PeerDown(name))
    }

    /// Starts a peer whose key is there now.
    pub fn key_read(&mut self, read: KeyRead) {
        if let Some((name, key)) = self.keys.read(read)
            && let Some(peer) = self.wanted.get_mut(&name)
        {
            peer.authentication = Some(key);
            self.start_missing();
        }
    }

    /// Configured peers that do not run without their key: why there is none, and since when.
    /// The same for those whose router was not heard yet.
    pub fn waiting(&self) -> impl Iterator<Item = (&PeerName, &Peer, String, Instant)> {
        let keyless = self.keys.waiting().iter().filter_map(|(name, waiting)| {
            let peer = self.wanted.get(name)?;
            Some((name, peer, format!("no session without its key: {}", waiting.reason), waiting.since))
        });
        let unheard = self.wanted.iter().filter(|(_, peer)| peer.address.ip().is_none() && !peer.lacks_key());
        keyless.chain(unheard.map(|(name, peer)| {
            let interface = peer.interface.as_deref().unwrap_or_default();
            let reason = match self.speaker.host().named(interface) {
                None => format!("there is no interface {interface} yet"),
                Some(_) => format!("no router has advertised itself on {interface} yet"),
            };
            (name, peer, reason, self.unnumbered.since(interface).unwrap_or_else(clock::now))
        }))
    }

    fn start_missing(&mut self) {
        let Some(router_id) = self.router_id else { return };
        for (name, peer) in &self.wanted {
            let is_ending = self.stopping.values().any(|stopping| stopping == name);
            if is_ending || self.running.contains_key(name) || peer.lacks_key() {
                continue;
            }
            let mut bgp = bgp_config(peer, router_id, self.restarted.clone());
            bgp.awaits_bfd = peer.bfd.is_some_and(|bfd| bfd.strict);
            // Its router has not been heard yet.
            let Some(transport) = transport(peer) else { continue };
            let handle = self.speaker.add_peer(transport.clone(), bgp.clone());
            give(&handle, &self.advertised);
            // BFD may be up already, and then has nothing more to say.
            handle.liveness(self.watch.liveness(name));
            handle.watch(Arc::clone(&self.watched));
            let (peer, complained, withheld) = (peer.clone(), VecDeque::new(), PrefixMap::new());
            let running = Running { peer, bgp, handle, transport, complained, withheld };
            self.running.insert(name.clone(), running);
        }
    }

    /// Ends the session of a peer that is gone from the configuration, or is another one now.
    fn end(&mut self, name: PeerName, running: Running) {
        let subcode = if self.wanted.contains_key(&name) {
            cease::OTHER_CONFIGURATION_CHANGE
        } else {
            cease::PEER_DECONFIGURED
        };
        self.stop(name, running, Notification::new(CEASE, subcode, Bytes::new()));
    }

    fn stop(&mut self, name: PeerName, running: Running, notification: Notification) {
        let handle = running.handle;
        let (id, stopped) = (handle.id(), self.stopped.clone());
        info!(peer = %name, reason = notification.to_string(), "session stopped");
        self.stopping.insert(id, name);
        tokio::spawn(async move {
            handle.stop(notification).await;
            // Nobody listens only while the daemon ends.
            let _ending = stopped.send(id);
        });
    }
}

impl Running {
    /// Goes on with settings that are the same session's.
    fn tune(&mut self, wanted: &Peer) {
        self.bgp.connect_retry = wanted.connect_retry;
        self.bgp.mode = wanted.mode;
        self.bgp.next_hops = wanted.next_hop;
        self.handle.tune(self.bgp.tuning());
        self.peer = wanted.clone();
    }

    fn hint(&self, reason: &DownReason, status: &PeerStatus) -> Option<String> {
        reason
            .hint_from_what_was_seen(&status.seen)
            .or_else(|| self.transport.hint(self.bgp.peering(), reason))
            .or_else(|| reason.hint(&self.bgp, &status.seen))
    }
}

fn give(handle: &PeerHandle, Advertised { version, routes, extent }: &Advertised) {
    match extent {
        Extent::Whole => handle.advertise(*version, routes.clone()),
        Extent::Partial => handle.advertise_partial(*version, routes.clone()),
    }
}
