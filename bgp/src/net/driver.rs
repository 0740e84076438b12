//! The peer task: feeds one [`Peer`] and performs its outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::{self, sleep_until};
use super::drops::Drops;
use super::link::{self, Command, LinkEvent};
use super::lookout::Lookout;
use super::notices::Notices;
use super::{Desired, News, PeerId};
use crate::adj_rib_in::Watched;
use crate::fsm::{ConnId, Dropped, Endpoints, Input, Output, Peer, PeerEvent, PeerStatus, State};
use crate::host::Host;
use crate::notice::Notice;
use crate::time::Instant;
use crate::transport::Transport;
use crate::wire::Notification;

/// Events that a link may be ahead of the peer task; beyond it, bytes wait in the kernel.
const LINK_EVENTS: usize = 8;

/// Between two looks at what the kernel has dropped, while there is no session.
const LOOK: Duration = Duration::from_secs(5);
/// Links at once, those that linger to close included. A peer that connects faster than they close is closed at once.
const MOST_LINKS: usize = 16;

/// What is known of our end of a connection.
#[derive(Debug, Clone, Copy)]
struct NearEnd {
    born: Instant,
    /// An interface had its address.
    was_seen: bool,
}

/// Where the peer task tells what happens.
pub(super) struct Tells {
    /// What the events carry.
    pub(super) id: PeerId,
    pub(super) events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
    pub(super) notices: Notices,
    pub(super) status: watch::Sender<PeerStatus>,
}

pub(super) struct Driver {
    peer: Peer,
    transport: Arc<Transport>,
    /// What the kernel had dropped when there was last something to be said about it.
    drops: Drops,
    /// What was said about a peer that does not get in.
    told: Option<Dropped>,
    tells: Tells,
    /// The addresses of this host.
    host: watch::Receiver<Host>,
    /// Also when the speaker is gone.
    _lookout: Arc<Lookout>,
    /// Watched prefixes of one address: a service's, and no next hop.
    services: BTreeSet<IpAddr>,
    links: BTreeMap<ConnId, mpsc::UnboundedSender<Command>>,
    /// The connections that stand.
    near_ends: BTreeMap<ConnId, NearEnd>,
    tasks: JoinSet<()>,
    link_tx: mpsc::Sender<(ConnId, LinkEvent)>,
    link_rx: mpsc::Receiver<(ConnId, LinkEvent)>,
}

impl Driver {
    pub(super) fn new(peer: Peer, transport: Arc<Transport>, tells: Tells, lookout: Arc<Lookout>) -> Self {
        let (link_tx, link_rx) = mpsc::channel(LINK_EVENTS);
        Self {
            peer,
            transport,
            drops: Drops::read().unwrap_or_default(),
            told: None,
            tells,
            host: lookout.host(),
            _lookout: lookout,
            services: BTreeSet::new(),
            links: BTreeMap::new(),
            near_ends: BTreeMap::new(),
            tasks: JoinSet::new(),
            link_tx,
            link_rx,
        }
    }

    /// Runs until it was stopped and its connections are closed.
    pub(super) async fn run(
        mut self,
        mut desired: watch::Receiver<Desired>,
        mut watched: watch::Receiver<Arc<Watched>>,
        mut accepted: mpsc::Receiver<TcpStream>,
        mut stopped: oneshot::Receiver<Notification>,
        mut news: mpsc::UnboundedReceiver<News>,
    ) {
        self.watch(&mut watched);
        self.advertise(&mut desired);
        self.handle(Input::Start);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.peer.deadline();
            let timer = async move {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                notification = &mut stopped => {
                    // The handle was dropped: close without a word.
                    let Ok(notification) = notification else { return };
                    self.handle(Input::Stop(notification));
                    break;
                }
                Ok(()) = desired.changed() => self.advertise(&mut desired),
                Ok(()) = watched.changed() => self.watch(&mut watched),
                Ok(()) = self.host.changed() => {
                    self.look_at_addresses();
                    // What was missing may have come. An attempt that fails for want of it sends nothing.
                    self.handle(Input::HostChanged);
                }
                // Before the links: a peer that floods us must not delay our KEEPALIVE to it.
                () = timer => self.tick().await,
                Some(stream) = accepted.recv() => self.accept(stream),
                Some((conn, event)) = self.link_rx.recv() => {
                    self.link_event(conn, event);
                    // One piece at a time: the runtime looks at timers and sockets again before the next, so a flood takes
                    // no more from another peer's KEEPALIVE, or from the caller, than it takes to read 16 KiB.
                    tokio::task::yield_now().await;
                }
                Some(news) = news.recv() => match news {
                    News::Tuning(tuning) => self.handle(Input::Tune(tuning)),
                    News::Liveness(liveness) => self.handle(Input::Liveness(liveness)),
                },
                _ = look.tick() => self.look_for_drops(),
                // Reaps the tasks of links that ended.
                Some(_) = self.tasks.join_next() => {}
            }
        }
        // A link closes within a second; nobody reads their events any more.
        drop(self.link_rx);
        while self.tasks.join_next().await.is_some() {}
    }

    fn advertise(&mut self, desired: &mut watch::Receiver<Desired>) {
        let (version, routes, extent) = desired.borrow_and_update().clone();
        self.handle(Input::Advertise(version, routes, extent));
    }

    fn watch(&mut self, watched: &mut watch::Receiver<Arc<Watched>>) {
        let watched = Arc::clone(&watched.borrow_and_update());
        let hosts = watched.iter().filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
        self.services = hosts.map(IpNet::addr).collect();
        self.handle(Input::Watch(watched));
        self.look_at_addresses();
    }

    /// The deadline has passed, but if it was us who slept, what the peer sent in time is still in the socket:
    /// let the links read it first.
    async fn tick(&mut self) {
        tokio::task::yield_now().await;
        // As many as wait now, and not those that come in meanwhile: the timer is due.
        for _ in 0..=LINK_EVENTS {
            let Ok((conn, event)) = self.link_rx.try_recv() else { break };
            self.link_event(conn, event);
        }
        self.handle(Input::Tick);
    }

    /// What became of our ends of the connections.
    fn look_at_addresses(&mut self) {
        self.host.borrow_and_update();
        let ends: Vec<(ConnId, Endpoints)> =
            self.peer.endpoints().map(|(conn, endpoints)| (conn, endpoints.clone())).collect();
        self.near_ends.retain(|conn, _| ends.iter().any(|(known, _)| known == conn));
        for (conn, before) in ends {
            let after = self.located(before.clone());
            let is_news = match &after {
                Some(after) => *after != before,
                None => self.is_gone(conn, before.local),
            };
            if let Some(end) = self.near_ends.get_mut(&conn) {
                end.was_seen |= after.is_some();
            }
            if is_news {
                self.handle(Input::AddressesChanged(conn, after));
            }
        }
    }

    /// Whether our end of a connection, which no interface has, has left this host.
    fn is_gone(&self, conn: ConnId, local: SocketAddr) -> bool {
        let Some(end) = self.near_ends.get(&conn) else { return false };
        // What was known before the connection was made says nothing against it.
        let is_known = self.host.borrow().complete_at.is_some_and(|at| end.born < at);
        // A route may make a whole prefix local, as 127.0.0.0/8 is; then only the kernel can tell.
        is_known && (end.was_seen || is_foreign(local))
    }

    /// Ends of a connection, with what is known of the near one now; `None`: it is not on this host.
    fn located(&self, ends: Endpoints) -> Option<Endpoints> {
        let interface_addresses = self.host.borrow().beside(ends.local, ends.remote, &self.services)?;
        let local_is_service = self.services.contains(&ends.local.ip());
        Some(Endpoints { interface_addresses, local_is_service, ..ends })
    }

    /// The same for a connection that was just made, whose address may be younger than what is known.
    fn new_ends(&mut self, conn: ConnId, ends: Endpoints) -> Endpoints {
        let located = self.located(ends.clone());
        self.near_ends.insert(conn, NearEnd { born: clock::now(), was_seen: located.is_some() });
        let local_is_service = self.services.contains(&ends.local.ip());
        located.unwrap_or(Endpoints { local_is_service, ..ends })
    }

    /// A peer that we do not dial, and that the kernel turns away, leaves no trace but this; nor does one whose handshake
    /// passes and whose OPEN does not (FRR sends its SYN-ACK with TTL 255, and the rest with 1). What happens to a dial
    /// stands in its cause.
    fn look_for_drops(&mut self) {
        let state = self.tells.status.borrow().state;
        if matches!(state, State::Idle | State::Connect) {
            return;
        }
        let dropped = self.dropped();
        if state == State::Established {
            self.told = None;
            return;
        }
        if let Some(dropped) = dropped.filter(|dropped| self.told != Some(*dropped)) {
            self.told = Some(dropped);
            self.tells.notices.tell(Notice::Unheard { peer: self.transport.ip(), dropped });
        }
    }

    /// What the kernel has dropped since this was asked last. Without /proc there is nothing to tell.
    fn dropped(&mut self) -> Option<Dropped> {
        let now = Drops::read().unwrap_or_default();
        let dropped = now.since(&self.drops, &self.transport);
        self.drops = now;
        dropped
    }

    fn link_event(&mut self, conn: ConnId, event: LinkEvent) {
        if let LinkEvent::DialFailed(_) = event {
            // Its task has ended, and nobody will ask for a close.
            self.links.remove(&conn);
        }
        let input = match event {
            LinkEvent::Dialled(ends) => Input::Dialled(conn, self.new_ends(conn, ends)),
            LinkEvent::DialFailed(error) => Input::DialFailed(conn, error.explained_by(|| self.dropped())),
            LinkEvent::Received(bytes) => Input::Received(conn, bytes),
            LinkEvent::Sent(count) => Input::Sent(conn, count),
            LinkEvent::Queue(queue) => Input::Queue(conn, queue),
            LinkEvent::Closed(reason) => Input::Closed(conn, reason.explained_by(|| self.dropped())),
        };
        self.handle(input);
    }

    fn accept(&mut self, stream: TcpStream) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= MOST_LINKS {
            return;
        }
        // A socket that has no addresses any more was closed by the peer already.
        let Ok(endpoints) = link::endpoints(&stream) else { return };
        let conn = self.peer.allocate();
        let (commands, receiver) = mpsc::unbounded_channel();
        self.links.insert(conn, commands);
        self.tasks.spawn(link::run(conn, stream, receiver, self.link_tx.clone()));
        let endpoints = self.new_ends(conn, endpoints);
        self.handle(Input::Accepted(conn, endpoints));
    }

    fn handle(&mut self, input: Input) {
        let now = clock::now();
        let outputs = self.peer.handle(input, now);
        // First, so that whoever acts on an event sees a status that is no older.
        let status = self.peer.status(now);
        self.tells.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
        for output in outputs {
            match output {
                Output::Dial(conn) => {
                    let (commands, receiver) = mpsc::unbounded_channel();
                    self.links.insert(conn, commands);
                    let to = (Arc::clone(&self.transport), self.peer.config().peering());
                    self.tasks.spawn(link::dial(conn, to, receiver, self.link_tx.clone()));
                }
                Output::Send { conn, bytes } => self.command(conn, Command::Send(bytes)),
                Output::Look(conn) => self.command(conn, Command::Look),
                Output::Close(conn) => {
                    self.command(conn, Command::Close);
                    self.links.remove(&conn);
                }
                // Nobody listens only while the speaker is being dropped.
                Output::Event(event) => drop(self.tells.events.send((self.tells.id, event))),
            }
        }
    }

    /// To a link that has ended meanwhile: its `Closed` is on the way.
    fn command(&self, conn: ConnId, command: Command) {
        if let Some(link) = self.links.get(&conn) {
            drop(link.send(command));
        }
    }
}

/// Whether the kernel refuses to let anything begin at this address.
fn is_foreign(mut local: SocketAddr) -> bool {
    local.set_port(0);
    UdpSocket::bind(local).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}
