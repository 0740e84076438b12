//! The tokio drivers: they perform the outputs of the pure [`Peer`] and feed it inputs.
//!
//! ```text
//!            ┌── peer task (one a peer) ──┐         ┌── link task (one a connection) ──┐
//!  handle ──►│ commands, timer ─► Peer    │── Send ►│ pending bytes ─► socket           │
//!  events ◄──│ outputs  ◄─────────┘       │◄ events │ socket ─► at most 16 KiB a read   │
//!            └──────────▲─────────────────┘         └───────────────────────────────────┘
//!  listener task ── gate ── accepted socket, by its remote address
//!  thread "lookout" ── this host's links and addresses, from the kernel
//! ```
//!
//! When the local address of a session leaves the host, the session is closed and begun anew. When the next hops of a
//! session change, its routes are sent again.
//!
//! Every task may be dropped at any await: the peer task's state is consistent between two inputs, and the loss of a
//! link task is a closed connection. Data of a peer waits in the kernel while the peer task is busy (the channel
//! between them is short); data that the peer does not read is bounded by the window of the machine. The desired routes
//! travel in a `watch` channel, so that the latest set replaces the others; so do the watched prefixes.
//!
//! This module does not write to a log. It reports to the operator by events of peers and by a [`Notice`].
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
mod descriptors;
mod driver;
mod drops;
mod frozen;
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

pub use self::descriptors::Descriptors;
use self::driver::{Driver, Ending, Inbox, Tells};
pub use self::frozen::{Resume, ThawError, Thawed};
use self::gate::Gate;
pub use self::limiter::Limiter;
pub use self::link::knock;
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

/// The number of accepted connections that wait for their peer task.
const ACCEPTED: usize = 8;

/// The desired state of a peer; only the latest counts. Settings and routes are one state, so that no route is sent with
/// settings that were replaced before it.
#[derive(Debug, Clone)]
struct Desired {
    tuning: Tuning,
    version: Version,
    routes: Routes,
    extent: Extent,
}

/// The id of a peer of a [`Speaker`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

/// A BGP speaker: its listeners, and the state that its peers share. Dropping it closes the listeners; each peer lives
/// as long as its [`PeerHandle`].
#[derive(Debug)]
pub struct Speaker {
    events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
    notices: Notices,
    gate: Arc<Gate>,
    lookout: Arc<Lookout>,
    listeners: Vec<JoinHandle<()>>,
    /// The addresses that are not available yet, each with its error.
    troubles: Vec<(SocketAddr, watch::Receiver<Option<String>>)>,
    next_id: u64,
}

impl Speaker {
    /// A speaker, its stream of events of peers, and its stream of notices.
    ///
    /// The events are unbounded and must be read: a peer has a handful of events for each connection attempt. The
    /// back-off spaces our attempts, and those of a peer whose OPEN was refused; other attempts come as fast as the
    /// peer connects. The notices are for a log: read them, or drop the stream. Up to 1,024 unread notices are kept.
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

    /// Accepts connections on `address`; connections from other addresses than the peers' are closed. Returns the bound
    /// address, with the actual port if `address` had port 0.
    ///
    /// The address need not be on this host yet.
    ///
    /// # Errors
    /// The port is in use or privileged, or the host lacks the address family. [`Self::listen_later`] tries again.
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

    /// Tries every second until it can accept connections on `address`. Dialled peers do not wait for that.
    pub fn listen_later(&mut self, address: SocketAddr, cause: &io::Error) {
        let (trouble, status) = watch::channel(Some(io_error(cause)));
        self.troubles.push((address, status));
        let (gate, notices) = (Arc::clone(&self.gate), self.notices.clone());
        self.listeners.push(tokio::spawn(listener::open_later(address, gate, notices, trouble)));
    }

    /// The addresses that are not available yet, each with its error.
    pub fn not_listening(&self) -> impl Iterator<Item = (SocketAddr, String)> {
        self.troubles.iter().filter_map(|(address, status)| Some((*address, status.borrow().clone()?)))
    }

    /// This host's links and addresses, and their changes.
    pub fn watch_host(&self) -> watch::Receiver<Host> {
        self.lookout.host()
    }

    /// The current links and addresses of this host.
    pub fn host(&self) -> Host {
        self.lookout.host().borrow().clone()
    }

    /// Adds a peer and starts it; a [`PeerAddress`](crate::transport::PeerAddress) is a transport without options. A
    /// second peer at the same IP address takes over its incoming connections.
    pub fn add_peer(&mut self, transport: impl Into<Transport>, config: PeerConfig) -> PeerHandle {
        self.next_id += 1;
        let id = PeerId(self.next_id);
        let transport = Arc::new(transport.into());
        let (accepted_tx, accepted) = mpsc::channel(ACCEPTED);
        let (end, ending) = oneshot::channel();
        let (desire, desired) = watch::channel(Desired {
            tuning: config.tuning(),
            version: Version::default(),
            routes: Routes::default(),
            extent: Extent::default(),
        });
        let (watch, watched) = watch::channel(Arc::default());
        let pass = self.gate.open(id, Arc::clone(&transport), config.peering(), accepted_tx);
        let peer = Peer::new(config);
        let (status_tx, status) = watch::channel(peer.status(clock::now()));
        let tells =
            Tells { id, events: self.events.clone(), notices: self.notices.clone(), status: status_tx };
        let driver = Driver::new(peer, transport, tells, Arc::clone(&self.lookout));
        let (liveness, changes) = mpsc::unbounded_channel();
        let inbox = Inbox { desired, watched, accepted, ending, liveness: changes };
        let task = tokio::spawn(async move {
            driver.start(inbox).await;
            drop(pass);
        });
        PeerHandle { id, desire, watch, status, liveness, end: Some(end), task }
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

/// One running peer. Dropping it closes its connections at once, without a NOTIFICATION; [`PeerHandle::stop`] sends
/// one.
#[derive(Debug)]
pub struct PeerHandle {
    id: PeerId,
    desire: watch::Sender<Desired>,
    watch: watch::Sender<Arc<Watched>>,
    status: watch::Receiver<PeerStatus>,
    liveness: mpsc::UnboundedSender<Liveness>,
    /// `None`: it was stopped or frozen.
    end: Option<oneshot::Sender<Ending>>,
    task: JoinHandle<()>,
}

impl PeerHandle {
    /// The id in its events.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Replaces the desired set, across sessions. The caller numbers its sets; [`PeerEvent::Synced`] with this version,
    /// or a later one, means that the kernel has all UPDATEs of an Established session.
    pub fn advertise(&self, version: Version, routes: Routes) {
        self.set_desired(version, routes, Extent::Whole);
    }

    /// The same, while some routes are undecided after a restart: End-of-RIB is held on sessions with graceful restart
    /// until [`Self::advertise`].
    pub fn advertise_partial(&self, version: Version, routes: Routes) {
        self.set_desired(version, routes, Extent::Partial);
    }

    fn set_desired(&self, version: Version, routes: Routes, extent: Extent) {
        self.desire
            .send_modify(|desired| *desired = Desired { tuning: desired.tuning, version, routes, extent });
    }

    /// Changes settings without a new session. Together with [`Self::advertise`] in any order, each route is sent once.
    pub fn tune(&self, tuning: Tuning) {
        self.desire.send_modify(|desired| desired.tuning = tuning);
    }

    /// Reports a change of BFD with the peer.
    pub fn liveness(&self, liveness: Liveness) {
        // The task has ended only if the peer was stopped.
        drop(self.liveness.send(liveness));
    }

    /// Replaces the watched prefixes, across sessions; the peer's paths to them are in its status. They are the
    /// prefixes that may be announced here: a single address among them is never a next hop.
    pub fn watch(&self, prefixes: Arc<Watched>) {
        self.watch.send_replace(prefixes);
    }

    /// A snapshot of the peer.
    pub fn status(&self) -> PeerStatus {
        self.status.borrow().clone()
    }

    /// Ends the session with `notification`, for example [`Notification::cease`], and waits until it is written and the
    /// connection closed: at most two seconds.
    pub async fn stop(mut self, notification: Notification) {
        if let Some(end) = self.end.take()
            && end.send(Ending::Stop(notification)).is_ok()
        {
            // An error means that the task has already ended.
            let _gone = (&mut self.task).await;
        }
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
