//! The tokio drivers: they perform what the pure [`Peer`] asks for and tell it what happened.
//!
//! ```text
//!            ┌── peer task (one a peer) ──┐         ┌── link task (one a connection) ──┐
//!  handle ──►│ commands, timer ─► Peer    │── Send ►│ pending bytes ─► socket           │
//!  events ◄──│ outputs  ◄─────────┘       │◄ events │ socket ─► at most 16 KiB a read   │
//!            └──────────▲─────────────────┘         └───────────────────────────────────┘
//!  listener task ── gate ── accepted socket, by the address it came from
//!  thread "lookout" ── what the kernel says of this host's links and addresses
//! ```
//!
//! A session whose own address leaves the host is closed and begun anew; one whose next hops are others now sends its
//! routes again.
//!
//! Every task may be dropped at any await: the peer task's state is whole between two inputs, and a link task's loss
//! is a closed connection. What a peer sends waits in the kernel while the peer task is busy (the channel between
//! them is short); what it does not read is bounded by the window of the machine. The desired routes travel in a
//! `watch` channel, so the latest replaces those before it; so do the prefixes whose paths are to be remembered.
//!
//! Nothing here writes to a log. What an operator should know beside the events of peers is a [`Notice`].
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use vipcast_bgp::net::Speaker;
//! use vipcast_bgp::transport::PeerAddress;
//! use vipcast_bgp::wire::Asn;
//! use vipcast_bgp::{PeerConfig, PeerEvent, RouteAttributes, Routes, Version};
//!
//! # async fn announce() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut speaker, mut events, _) = Speaker::new();
//! let address = PeerAddress { remote: "10.0.0.1:179".parse()?, source: None };
//! let peer = speaker.add_peer(address, PeerConfig::new(Asn(65001), Asn(65000), "10.0.0.2".parse()?));
//! let routes = Routes::from([("192.0.2.10/32".parse()?, Arc::new(RouteAttributes::default()))]);
//! peer.advertise(Version(1), routes);
//! while let Some((_, event)) = events.recv().await {
//!     if event == PeerEvent::Synced(Version(1)) {
//!         break; // the router has been told
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod bfd;
pub mod clock;
mod driver;
mod drops;
mod gate;
mod limiter;
mod link;
mod listener;
mod lookout;
mod notices;
mod rtnetlink;
#[expect(unsafe_code, reason = "setsockopt with the structs of TCP MD5 and TCP-AO, which no crate offers")]
mod sockopt;
mod transport;
pub mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::driver::{Driver, Tells};
use self::gate::Gate;
pub use self::limiter::Limiter;
use self::lookout::Lookout;
use self::notices::Notices;
use self::words::io_error;
use crate::adj_rib_in::Watched;
use crate::fsm::{Extent, Liveness, Peer, PeerConfig, PeerEvent, PeerStatus, Tuning, Version};
use crate::host::Host;
use crate::notice::Notice;
use crate::route::Routes;
use crate::transport::Transport;
use crate::wire::Notification;

/// What a peer task is told of the world around it.
#[derive(Debug)]
enum News {
    /// Some settings are others now.
    Tuning(Tuning),
    /// BFD has something to say.
    Liveness(Liveness),
}

/// The last set that a peer was given.
type Desired = (Version, Routes, Extent);

/// Names a peer among those of a [`Speaker`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

/// A BGP speaker: its listeners, and what its peers share. Dropping it closes the listeners; each peer lives on for as
/// long as its [`PeerHandle`].
#[derive(Debug)]
pub struct Speaker {
    events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
    notices: Notices,
    gate: Arc<Gate>,
    lookout: Arc<Lookout>,
    listeners: Vec<JoinHandle<()>>,
    /// Of those that could not listen at once: why not yet.
    troubles: Vec<(SocketAddr, watch::Receiver<Option<String>>)>,
    next_id: u64,
}

impl Speaker {
    /// A speaker, the stream of what happens to its peers, and the stream of what else it notices.
    ///
    /// The events are unbounded and must be read: a peer has a handful of events for each attempt to connect. Our attempts
    /// are spaced by the back-off, and so are those of a peer whose OPEN was refused; others come as fast as the peer
    /// connects. The notices are for a log: read them, or drop the stream. What is not read is kept, up to 1,024 notices.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<(PeerId, PeerEvent)>, mpsc::Receiver<Notice>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let (notices, noticed) = Notices::new();
        let speaker = Self {
            events,
            gate: Arc::new(Gate::new(notices.clone())),
            lookout: Arc::new(Lookout::start(notices.clone())),
            notices,
            listeners: Vec::new(),
            troubles: Vec::new(),
            next_id: 0,
        };
        (speaker, receiver, noticed)
    }

    /// Accepts connections on `address`; those that come from no peer's address are closed. Returns the address bound,
    /// which tells the port where 0 was asked for.
    ///
    /// The address need not be on this host yet.
    ///
    /// # Errors
    /// The port is in use or privileged, or there is no such family here. [`Self::listen_later`] tries again.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = listener::open(address, &self.gate)?;
        let bound = listener.local_addr()?;
        self.listeners.push(tokio::spawn(listener::run(
            listener,
            Arc::clone(&self.gate),
            self.notices.clone(),
        )));
        Ok(bound)
    }

    /// Tries every second until it can accept connections on `address`. Peers that we dial need not wait for that.
    pub fn listen_later(&mut self, address: SocketAddr, cause: &io::Error) {
        let (trouble, status) = watch::channel(Some(io_error(cause)));
        self.troubles.push((address, status));
        let (gate, notices) = (Arc::clone(&self.gate), self.notices.clone());
        self.listeners.push(tokio::spawn(listener::open_later(address, gate, notices, trouble)));
    }

    /// The addresses where connections should be accepted and are not yet, and why.
    pub fn not_listening(&self) -> impl Iterator<Item = (SocketAddr, String)> {
        self.troubles.iter().filter_map(|(address, status)| Some((*address, status.borrow().clone()?)))
    }

    /// This host's links and addresses, and their changes.
    pub fn watch_host(&self) -> watch::Receiver<Host> {
        self.lookout.host()
    }

    /// This host's links and addresses as they are known now.
    pub fn host(&self) -> Host {
        self.lookout.host().borrow().clone()
    }

    /// Adds a peer and starts it; a [`PeerAddress`](crate::transport::PeerAddress) is a transport with nothing else set. A second peer at the same IP
    /// address takes over the connections that come in.
    pub fn add_peer(&mut self, transport: impl Into<Transport>, config: PeerConfig) -> PeerHandle {
        self.next_id += 1;
        let id = PeerId(self.next_id);
        let transport = Arc::new(transport.into());
        let (accepted_tx, accepted) = mpsc::channel(8);
        let (stop, stopped) = oneshot::channel();
        let (advertise, desired) = watch::channel(Desired::default());
        let (watch, watched) = watch::channel(Arc::default());
        let pass = self.gate.open(id, Arc::clone(&transport), config.peering(), accepted_tx);
        let peer = Peer::new(config);
        let (status_tx, status) = watch::channel(peer.status(clock::now()));
        let tells =
            Tells { id, events: self.events.clone(), notices: self.notices.clone(), status: status_tx };
        let driver = Driver::new(peer, transport, tells, Arc::clone(&self.lookout));
        let (tell, news) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            driver.run(desired, watched, accepted, stopped, news).await;
            drop(pass);
        });
        PeerHandle { id, advertise, watch, status, tell, stop: Some(stop), task }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
        self.gate.close();
    }
}

/// One running peer. Dropping it closes its connections at once, with no NOTIFICATION; [`PeerHandle::stop`] is the
/// polite way.
#[derive(Debug)]
pub struct PeerHandle {
    id: PeerId,
    advertise: watch::Sender<Desired>,
    watch: watch::Sender<Arc<Watched>>,
    status: watch::Receiver<PeerStatus>,
    tell: mpsc::UnboundedSender<News>,
    stop: Option<oneshot::Sender<Notification>>,
    task: JoinHandle<()>,
}

impl PeerHandle {
    /// The id that its events carry.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Announces exactly `routes` from now on, across sessions. The caller numbers its sets; [`PeerEvent::Synced`]
    /// with this version, or a later one, tells that the kernel has all UPDATEs of an Established session.
    pub fn advertise(&self, version: Version, routes: Routes) {
        self.advertise.send_replace((version, routes, Extent::Whole));
    }

    /// The same, while more is to be decided after a restart: End-of-RIB is held on sessions with graceful restart
    /// until [`Self::advertise`].
    pub fn advertise_partial(&self, version: Version, routes: Routes) {
        self.advertise.send_replace((version, routes, Extent::Partial));
    }

    /// Changes settings that a session goes on under.
    pub fn tune(&self, tuning: Tuning) {
        self.tell(News::Tuning(tuning));
    }

    /// Says what BFD says of the way to the peer, whenever that changes.
    pub fn liveness(&self, liveness: Liveness) {
        self.tell(News::Liveness(liveness));
    }

    fn tell(&self, news: News) {
        // The task is gone only when the peer was stopped.
        drop(self.tell.send(news));
    }

    /// Remembers the peer's paths to exactly these prefixes from now on, across sessions; they are in its status. They
    /// are the prefixes that may be announced here: a single address among them is never a next hop.
    pub fn watch(&self, prefixes: Arc<Watched>) {
        self.watch.send_replace(prefixes);
    }

    /// What is known of the peer now.
    pub fn status(&self) -> PeerStatus {
        self.status.borrow().clone()
    }

    /// Ends the session with `notification`, for example [`Notification::cease`], and waits until it was written and
    /// the connection closed: two seconds at most.
    pub async fn stop(mut self, notification: Notification) {
        if let Some(stop) = self.stop.take()
            && stop.send(notification).is_ok()
        {
            // An error says that the task is gone already, which is what was asked for.
            let _gone = (&mut self.task).await;
        }
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
