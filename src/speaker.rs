//! The port to the routers: performs the node's effects on sessions, BFD, keys and routers on links, and reports to the
//! node. It decides nothing.

mod frozen;
mod identity;
mod keys;
mod listen;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use vipcast_bgp::bfd::{BfdEvent, Sessions};
use vipcast_bgp::fsm::Liveness;
use vipcast_bgp::host::Host;
use vipcast_bgp::net::bfd::{Bfd, Options, Report};
use vipcast_bgp::net::{self, PeerHandle};
use vipcast_bgp::wire::Notification;
use vipcast_bgp::{Extent, PeerEvent, PeerStatus, Tuning, Watched};
use vipcast_node::effect::{PeerId, Start};
use vipcast_node::engine::Advertised;
use vipcast_node::input::Input;
use vipcast_node::model::{Config, KeySource, Listen};
use vipcast_node::names::PeerName;
use vipcast_node::notice::Notice;

pub use self::frozen::BfdRunning;
use self::keys::Keys;
use crate::discovery::Discovery;

/// The time for the last packets of BFD.
const GOODBYE: Duration = Duration::from_secs(2);

/// The sessions with routers, with BFD, keys and discovery.
#[derive(Debug)]
pub struct Speaker {
    speaker: net::Speaker,
    handles: BTreeMap<PeerId, PeerHandle>,
    /// The node's ids of the speaker's peers, including those that are ending.
    ids: BTreeMap<net::PeerId, PeerId>,
    /// The thread starts with the first session, and sends AdminDown on all of them at the end.
    bfd: Option<Bfd>,
    bfd_events: Option<mpsc::UnboundedReceiver<BfdEvent>>,
    /// The desired sessions of BFD.
    sessions: Sessions,
    /// Changes of BFD since the freeze, for the next program.
    untold: Vec<(PeerId, Liveness)>,
    /// Everything goes on with the next program: effects have none here.
    is_frozen: bool,
    /// It listens, perhaps with the sockets of the program before. A reload cannot change where.
    listens: bool,
    keys: Keys,
    discovery: Discovery,
    told: mpsc::UnboundedSender<Input>,
    ended: mpsc::UnboundedSender<net::PeerId>,
}

/// The streams of the port; the daemon selects over them.
#[derive(Debug)]
pub struct Streams {
    events: mpsc::UnboundedReceiver<(net::PeerId, PeerEvent)>,
    notices: mpsc::Receiver<vipcast_bgp::Notice>,
    ended: mpsc::UnboundedReceiver<net::PeerId>,
}

/// An item of the streams, before it has the node's ids.
#[derive(Debug)]
pub enum Said {
    /// An event of a peer.
    Event(net::PeerId, PeerEvent),
    /// A peer that was stopped has closed its connections.
    Ended(net::PeerId),
    /// A notice of the speaker.
    Noticed(vipcast_bgp::Notice),
}

impl Streams {
    /// The next item. Cancel-safe.
    pub async fn next(&mut self) -> Said {
        tokio::select! {
            biased;
            Some((id, event)) = self.events.recv() => Said::Event(id, event),
            Some(id) = self.ended.recv() => Said::Ended(id),
            Some(notice) = self.notices.recv() => Said::Noticed(notice),
            else => pending().await,
        }
    }

    /// The next item that is there already.
    pub fn try_next(&mut self) -> Option<Said> {
        let event = self.events.try_recv().ok().map(|(id, event)| Said::Event(id, event));
        let ended = || self.ended.try_recv().ok().map(Said::Ended);
        event.or_else(ended).or_else(|| self.notices.try_recv().ok().map(Said::Noticed))
    }
}

impl Speaker {
    /// A port without listeners and peers. Inputs that need no translation go to `told`. The returned input is our BGP
    /// identifier, if the configuration lacks it and it is known at once.
    pub fn start(config: &Config, told: mpsc::UnboundedSender<Input>) -> (Self, Streams, Option<Input>) {
        let (speaker, events, notices) = net::Speaker::new();
        let router_id = identity::find(config, &told);
        let (ended, ended_rx) = mpsc::unbounded_channel();
        let port = Self {
            speaker,
            handles: BTreeMap::new(),
            ids: BTreeMap::new(),
            bfd: None,
            bfd_events: None,
            sessions: Sessions::new(),
            untold: Vec::new(),
            is_frozen: false,
            listens: false,
            keys: Keys::new(told.clone()),
            discovery: Discovery::new(told.clone()),
            told,
            ended,
        };
        let streams = Streams { events, notices, ended: ended_rx };
        (port, streams, router_id.filter(|_| config.router_id.is_none()).map(Input::Identified))
    }

    /// Translates an item to an input of the node.
    pub fn input(&mut self, said: Said) -> Option<Input> {
        match said {
            Said::Event(id, event) => {
                let id = *self.ids.get(&id)?;
                let status = Box::new(self.handles.get(&id)?.status());
                Some(Input::Peer { id, event, status })
            }
            Said::Ended(id) => self.ids.remove(&id).map(Input::PeerEnded),
            Said::Noticed(notice) => Some(Input::Noticed(Notice::Speaker(notice))),
        }
    }

    /// Starts a peer.
    pub fn start_peer(&mut self, start: Start) {
        if self.is_frozen {
            return;
        }
        let Start { id, transport, config, advertised, watched, liveness } = start;
        let handle = self.speaker.add_peer(transport, config);
        give(&handle, &advertised);
        handle.liveness(liveness);
        handle.watch(watched);
        self.ids.insert(handle.id(), id);
        self.handles.insert(id, handle);
    }

    /// Ends a peer with this NOTIFICATION.
    pub fn stop_peer(&mut self, id: PeerId, notification: Notification) {
        let Some(handle) = self.handles.remove(&id) else { return };
        let (id, ended) = (handle.id(), self.ended.clone());
        tokio::spawn(async move {
            handle.stop(notification).await;
            // An error occurs only while the daemon ends.
            let _ending = ended.send(id);
        });
    }

    /// Changes settings of a peer whose session goes on.
    pub fn tune(&self, id: PeerId, tuning: Tuning) {
        if let Some(handle) = self.handles.get(&id) {
            handle.tune(tuning);
        }
    }

    /// Passes on the state of BFD with a peer; after a freeze, to the next program.
    pub fn liveness(&mut self, id: PeerId, liveness: Liveness) {
        if self.is_frozen {
            self.untold.push((id, liveness));
        } else if let Some(handle) = self.handles.get(&id) {
            handle.liveness(liveness);
        }
    }

    /// Replaces the watched prefixes of every peer.
    pub fn watch(&self, watched: &Arc<Watched>) {
        for handle in self.handles.values() {
            handle.watch(Arc::clone(watched));
        }
    }

    /// Gives this set to every peer.
    pub fn advertise(&self, advertised: &Advertised) {
        for handle in self.handles.values() {
            give(handle, advertised);
        }
    }

    /// Accepts connections, now or as soon as it can.
    pub fn listen(&mut self, listen: &Listen) {
        if self.is_frozen || std::mem::replace(&mut self.listens, true) {
            return;
        }
        listen::listen(&mut self.speaker, listen, &self.told);
    }

    /// The addresses where connections should be accepted and are not yet, and why.
    pub fn not_listening(&self) -> impl Iterator<Item = (SocketAddr, String)> {
        self.speaker.not_listening()
    }

    /// Listens for routers on exactly these interfaces.
    pub fn listen_for_routers(&mut self, interfaces: &BTreeSet<String>) {
        self.discovery.set(interfaces, &self.speaker.watch_host());
    }

    /// Looks for exactly these keys.
    pub fn look_for_keys(&mut self, sources: &BTreeMap<PeerName, KeySource>) {
        self.keys.want(sources);
    }

    /// A snapshot of a running peer.
    pub fn status(&self, id: PeerId) -> Option<PeerStatus> {
        self.handles.get(&id).map(PeerHandle::status)
    }

    /// This host's links and addresses.
    pub fn host(&self) -> Host {
        self.speaker.host()
    }

    /// Runs exactly these BFD sessions.
    pub fn bfd(&mut self, sessions: Sessions) {
        if self.bfd.is_none() && !sessions.is_empty() && !self.is_frozen {
            match Bfd::start(Options::default()) {
                Ok((bfd, events)) => {
                    self.notice(Notice::BfdStarted { priority: bfd.priority().to_string() });
                    (self.bfd, self.bfd_events) = (Some(bfd), Some(events));
                }
                // Without BFD, strict peers stay down and only hold timers watch the others.
                Err(error) => self.notice(Notice::BfdNotStarted { error: error.to_string() }),
            }
        }
        self.sessions.clone_from(&sessions);
        if let Some(bfd) = &self.bfd {
            bfd.set(sessions);
        }
    }

    /// The next change of a BFD session; pending while there is no session. Cancel-safe.
    pub async fn next_bfd(&mut self) -> Input {
        let event = match &mut self.bfd_events {
            Some(events) => events.recv().await,
            None => None,
        };
        match event {
            Some(event) => Input::Bfd(event),
            None => pending().await,
        }
    }

    /// A snapshot of all BFD sessions.
    pub fn bfd_report(&self) -> Option<Report> {
        self.bfd.as_ref().and_then(Bfd::report)
    }

    /// Sends AdminDown on every session, so that no router takes the end for a failure.
    pub fn stop_bfd(&mut self) {
        if let Some(bfd) = self.bfd.take()
            && !bfd.stop(GOODBYE)
        {
            self.notice(Notice::BfdHangs);
        }
    }

    fn notice(&self, notice: Notice) {
        // An error occurs only while the daemon ends.
        drop(self.told.send(Input::Noticed(notice)));
    }
}

fn give(handle: &PeerHandle, Advertised { version, routes, extent }: &Advertised) {
    match extent {
        Extent::Whole => handle.advertise(*version, routes.clone()),
        Extent::Partial => handle.advertise_partial(*version, routes.clone()),
    }
}
