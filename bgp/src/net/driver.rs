//! The peer task: feeds one [`Peer`] and performs its outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ipnet::IpNet;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::clock::{self, sleep_until};
use super::drops::Drops;
use super::link::{self, Command, Halt, LinkEvent, Rest};
use super::lookout::Lookout;
use super::notices::Notices;
use super::{Desired, PeerId, sockopt};
use crate::adj_rib_in::Watched;
use crate::frozen::{Octets, peer as frozen};
use crate::fsm::{
    CloseReason, ConnId, Dropped, Endpoints, Input, Liveness, Output, Peer, PeerEvent, PeerStatus, State,
};
use crate::host::Host;
use crate::notice::Notice;
use crate::route::Routes;
use crate::time::Instant;
use crate::transport::Transport;
use crate::wire::Notification;

/// The capacity of the channel from a link to the peer task; when it is full, bytes wait in the kernel.
const LINK_EVENTS: usize = 8;

/// The interval between two looks at the kernel's drop counters, while there is no session.
const LOOK: Duration = Duration::from_secs(5);
/// The most links at once, including those that linger to close. Further connections of a peer are closed at once.
const MOST_LINKS: usize = 16;

/// The local end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct NearEnd {
    pub(super) born: Instant,
    /// Whether an interface had its address.
    pub(super) was_seen: bool,
}

/// The end of a peer task.
#[derive(Debug)]
pub(super) enum Ending {
    /// End the session with this NOTIFICATION.
    Stop(Notification),
    /// Give everything to the next program, and end without a word.
    Freeze(oneshot::Sender<(Arc<Transport>, Frozen)>),
}

/// A peer that has stopped between two inputs.
#[derive(Debug)]
pub(super) struct Frozen {
    /// With the octets that the sockets have not taken.
    pub(super) machine: frozen::Peer,
    pub(super) liveness: Liveness,
    pub(super) routes: Routes,
    pub(super) watched: Arc<Watched>,
    pub(super) connections: Vec<(ConnId, OwnedFd, NearEnd)>,
    pub(super) closing: Vec<(OwnedFd, BytesMut)>,
    pub(super) accepted: Vec<OwnedFd>,
}

/// A connection that a peer goes on with, and the octets that its socket has not taken.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) conn: ConnId,
    pub(super) stream: TcpStream,
    pub(super) pending: BytesMut,
    pub(super) near_end: NearEnd,
}

/// The streams of inputs of a peer task.
pub(super) struct Inbox {
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) watched: watch::Receiver<Arc<Watched>>,
    pub(super) accepted: mpsc::Receiver<TcpStream>,
    pub(super) ending: oneshot::Receiver<Ending>,
    pub(super) liveness: mpsc::UnboundedReceiver<Liveness>,
}

/// The outgoing channels of the peer task.
pub(super) struct Tells {
    /// The id in the events.
    pub(super) id: PeerId,
    pub(super) events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
    pub(super) notices: Notices,
    pub(super) status: watch::Sender<PeerStatus>,
}

pub(super) struct Driver {
    peer: Peer,
    /// The last one that the peer was told.
    liveness: Liveness,
    transport: Arc<Transport>,
    /// The drop counters at the last report.
    drops: Drops,
    /// The last report about a peer whose packets are dropped.
    told: Option<Dropped>,
    tells: Tells,
    /// The addresses of this host.
    host: watch::Receiver<Host>,
    /// Keeps the lookout thread alive without the speaker.
    _lookout: Arc<Lookout>,
    /// The watched host prefixes: service addresses, which are no next hops.
    services: BTreeSet<IpAddr>,
    links: BTreeMap<ConnId, mpsc::UnboundedSender<Command>>,
    /// The local ends of the connected connections.
    near_ends: BTreeMap<ConnId, NearEnd>,
    tasks: JoinSet<Option<Rest>>,
    /// Stops the links.
    halt: watch::Sender<bool>,
    halted: Halt,
    link_tx: mpsc::Sender<(ConnId, LinkEvent)>,
    link_rx: mpsc::Receiver<(ConnId, LinkEvent)>,
}

impl Driver {
    pub(super) fn new(peer: Peer, transport: Arc<Transport>, tells: Tells, lookout: Arc<Lookout>) -> Self {
        let (link_tx, link_rx) = mpsc::channel(LINK_EVENTS);
        let (halt, halted) = Halt::new();
        Self {
            peer,
            liveness: Liveness::Unknown,
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
            halt,
            halted,
            link_tx,
            link_rx,
        }
    }

    /// Runs until the peer is stopped and its connections are closed, or until it is frozen.
    pub(super) async fn start(mut self, mut inbox: Inbox) {
        self.watch(&mut inbox.watched);
        self.take_desired(&mut inbox.desired);
        self.handle(Input::Start);
        self.run(inbox).await;
    }

    /// The same for a thawed peer: it goes on with these connections, and the values in the inbox are those that it
    /// has.
    pub(super) async fn resume(
        mut self,
        inbox: Inbox,
        liveness: Liveness,
        connections: Vec<Resumed>,
        closing: Vec<(TcpStream, BytesMut)>,
    ) {
        self.liveness = liveness;
        self.services = services(&inbox.watched.borrow());
        for Resumed { conn, stream, pending, near_end } in connections {
            self.near_ends.insert(conn, near_end);
            self.run_link(conn, stream, pending);
        }
        for (stream, pending) in closing {
            let conn = self.peer.allocate();
            self.tasks.spawn(link::finish(conn, stream, pending, self.halted.clone()));
        }
        self.run(inbox).await;
    }

    async fn run(mut self, mut inbox: Inbox) {
        let Inbox { desired, watched, accepted, ending, liveness } = &mut inbox;
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
                ending = &mut *ending => match ending {
                    Ok(Ending::Stop(notification)) => {
                        self.handle(Input::Stop(notification));
                        break;
                    }
                    Ok(Ending::Freeze(answer)) => {
                        let transport = Arc::clone(&self.transport);
                        // An error means that the caller has given up; then the sockets are closed.
                        drop(answer.send((transport, self.freeze(inbox).await)));
                        return;
                    }
                    // The handle was dropped: close without a NOTIFICATION.
                    Err(_dropped) => return,
                },
                Ok(()) = desired.changed() => self.take_desired(desired),
                Ok(()) = watched.changed() => self.watch(watched),
                Ok(()) = self.host.changed() => {
                    self.look_at_addresses();
                    // The missing address, interface or route may be there now. An attempt without it sends no packet.
                    self.handle(Input::HostChanged);
                }
                // Before the links: a peer that floods us must not delay our KEEPALIVE to it.
                () = timer => self.tick().await,
                Some(stream) = accepted.recv() => self.accept(stream),
                Some((conn, event)) = self.link_rx.recv() => {
                    self.link_event(conn, event);
                    // One piece at a time: the runtime looks at timers and sockets before the next, so a flood delays
                    // another peer's KEEPALIVE, or the caller, only by the reading of 16 KiB.
                    tokio::task::yield_now().await;
                }
                Some(liveness) = liveness.recv() => self.learn(liveness),
                _ = look.tick() => self.look_for_drops(),
                // Reaps the tasks of ended links.
                Some(_) = self.tasks.join_next() => {}
            }
        }
        // A link closes within a second; its events are not read any more.
        drop(self.link_rx);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Takes everything in, and stops between two inputs. What the links have read goes to the machine; what the machine
    /// says meanwhile waits with the unsent octets.
    async fn freeze(mut self, mut inbox: Inbox) -> Frozen {
        if inbox.watched.has_changed().unwrap_or(false) {
            self.watch(&mut inbox.watched);
        }
        if inbox.desired.has_changed().unwrap_or(false) {
            self.take_desired(&mut inbox.desired);
        }
        while let Ok(liveness) = inbox.liveness.try_recv() {
            self.learn(liveness);
        }
        self.halt.send_replace(true);
        let mut rests = Vec::new();
        while !self.tasks.is_empty() {
            tokio::select! {
                Some((conn, event)) = self.link_rx.recv() => self.link_event(conn, event),
                Some(ended) = self.tasks.join_next() => rests.extend(ended.ok().flatten()),
            }
        }
        while let Ok((conn, event)) = self.link_rx.try_recv() {
            self.link_event(conn, event);
        }
        // Every connection has a link until the machine was told of its end.
        let is_lost = |conn: &ConnId| rests.iter().all(|rest: &Rest| rest.conn != *conn);
        let lost: Vec<ConnId> = self.peer.endpoints().map(|(conn, _)| conn).filter(is_lost).collect();
        for conn in lost {
            let reason = CloseReason::Other("its socket was lost before a hand-over".to_owned());
            self.handle(Input::Closed(conn, reason));
        }
        // A command may lead to another one, also for another connection.
        while rests.iter_mut().any(|rest| self.obey(rest)) {}
        let (mut connections, mut closing) = (BTreeMap::new(), Vec::new());
        for Rest { conn, stream, pending, commands } in rests {
            // It fails only if the runtime does not know the socket.
            let Ok(socket) = stream.into_std() else { continue };
            if commands.is_some() {
                connections.insert(conn, (OwnedFd::from(socket), pending));
            } else {
                closing.push((OwnedFd::from(socket), pending));
            }
        }
        let mut machine = self.peer.freeze();
        for connection in machine.connections_mut() {
            let queued = connections.iter().find(|(conn, _)| conn.as_u64() == connection.id);
            connection.queued = Octets(queued.map(|(_, (_, pending))| pending.to_vec()).unwrap_or_default());
        }
        let lately = NearEnd { born: clock::now(), was_seen: false };
        let near_end = |conn| self.near_ends.get(&conn).copied().unwrap_or(lately);
        let connections =
            connections.into_iter().map(|(conn, (socket, _))| (conn, socket, near_end(conn))).collect();
        inbox.accepted.close();
        let accepted = std::iter::from_fn(|| inbox.accepted.try_recv().ok());
        Frozen {
            machine,
            liveness: self.liveness,
            routes: self.peer.wanted().clone(),
            watched: Arc::clone(self.peer.watched()),
            connections,
            closing,
            accepted: accepted.filter_map(|stream| stream.into_std().ok()).map(OwnedFd::from).collect(),
        }
    }

    /// Performs the commands that a stopped link has not seen. Returns whether there were any.
    fn obey(&mut self, rest: &mut Rest) -> bool {
        let mut any = false;
        while let Some(Ok(command)) = rest.commands.as_mut().map(mpsc::UnboundedReceiver::try_recv) {
            any = true;
            match command {
                Command::Send(bytes) => rest.pending.extend_from_slice(&bytes),
                Command::Look => {
                    if let Ok(queue) = sockopt::send_queue(&SockRef::from(&rest.stream)) {
                        self.handle(Input::Queue(rest.conn, queue));
                    }
                }
                Command::Close => rest.commands = None,
            }
        }
        any
    }

    fn learn(&mut self, liveness: Liveness) {
        self.liveness = liveness.clone();
        self.handle(Input::Liveness(liveness));
    }

    fn take_desired(&mut self, desired: &mut watch::Receiver<Desired>) {
        let Desired { tuning, version, routes, extent } = desired.borrow_and_update().clone();
        let tune = (tuning != self.peer.config().tuning()).then_some(Input::Tune(tuning));
        self.handle_together([Input::Advertise(version, routes, extent)].into_iter().chain(tune));
    }

    fn watch(&mut self, watched: &mut watch::Receiver<Arc<Watched>>) {
        let watched = Arc::clone(&watched.borrow_and_update());
        self.services = services(&watched);
        self.handle(Input::Watch(watched));
        self.look_at_addresses();
    }

    /// The deadline has passed. If this process slept, data that the peer sent in time is still in the socket: let the
    /// links read it first.
    async fn tick(&mut self) {
        tokio::task::yield_now().await;
        // Only the events that wait now, not those that come in meanwhile: the timer is due.
        for _ in 0..=LINK_EVENTS {
            let Ok((conn, event)) = self.link_rx.try_recv() else { break };
            self.link_event(conn, event);
        }
        self.handle(Input::Tick);
    }

    /// Checks the local ends of the connections against the host's addresses.
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

    /// Whether the local end of a connection, which no interface has, has left this host.
    fn is_gone(&self, conn: ConnId, local: SocketAddr) -> bool {
        let Some(end) = self.near_ends.get(&conn) else { return false };
        // Knowledge from before the connection was made proves nothing about its address.
        let is_known = self.host.borrow().complete_at.is_some_and(|at| end.born < at);
        // A local route may cover a whole prefix, like 127.0.0.0/8; then only the kernel can tell.
        is_known && (end.was_seen || is_foreign(local))
    }

    /// The endpoints of a connection, with the host's addresses; `None`: the local address is not on this host.
    fn located(&self, ends: Endpoints) -> Option<Endpoints> {
        let interface_addresses = self.host.borrow().beside(ends.local, ends.remote, &self.services)?;
        let local_is_service = self.services.contains(&ends.local.ip());
        Some(Endpoints { interface_addresses, local_is_service, ..ends })
    }

    /// The same for a new connection, whose local address may be newer than the known ones.
    fn new_ends(&mut self, conn: ConnId, ends: Endpoints) -> Endpoints {
        let located = self.located(ends.clone());
        self.near_ends.insert(conn, NearEnd { born: clock::now(), was_seen: located.is_some() });
        let local_is_service = self.services.contains(&ends.local.ip());
        located.unwrap_or(Endpoints { local_is_service, ..ends })
    }

    /// Reports packets that the kernel drops. It is the only trace of a peer that we do not dial, and of a peer whose
    /// handshake passes and whose OPEN is dropped (FRR sends its SYN-ACK with TTL 255, and the rest with 1). A failed
    /// dial has the drops in its own cause.
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

    /// The packets that the kernel dropped since the last call. `None` without /proc.
    fn dropped(&mut self) -> Option<Dropped> {
        let now = Drops::read().unwrap_or_default();
        let dropped = now.since(&self.drops, &self.transport);
        self.drops = now;
        dropped
    }

    fn link_event(&mut self, conn: ConnId, event: LinkEvent) {
        if let LinkEvent::DialFailed(_) = event {
            // The task of the link has ended, and no Close will follow.
            self.links.remove(&conn);
        }
        let input = match event {
            LinkEvent::Dialled(ends) => Input::Dialled(conn, self.new_ends(conn, ends)),
            LinkEvent::DialFailed(error) => Input::DialFailed(conn, error.explained_by(|| self.dropped())),
            LinkEvent::Received(bytes) => Input::Received(conn, bytes),
            LinkEvent::Sent(count) => Input::Sent(conn, count),
            LinkEvent::Queue(queue) => Input::Queue(conn, queue),
            // Drops of this connection may have been reported before.
            LinkEvent::Closed(reason) => {
                Input::Closed(conn, reason.explained_by(|| self.dropped().or(self.told)))
            }
        };
        self.handle(input);
    }

    fn accept(&mut self, stream: TcpStream) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= MOST_LINKS {
            return;
        }
        // A socket without addresses was already closed by the peer.
        let Ok(endpoints) = link::endpoints(&stream) else { return };
        let conn = self.peer.allocate();
        self.run_link(conn, stream, BytesMut::new());
        let endpoints = self.new_ends(conn, endpoints);
        self.handle(Input::Accepted(conn, endpoints));
    }

    fn run_link(&mut self, conn: ConnId, stream: TcpStream, pending: BytesMut) {
        let (commands, receiver) = mpsc::unbounded_channel();
        self.links.insert(conn, commands);
        let (events, halt) = (self.link_tx.clone(), self.halted.clone());
        self.tasks.spawn(link::run(conn, stream, pending, receiver, events, halt));
    }

    fn handle(&mut self, input: Input) {
        self.handle_together([input]);
    }

    fn handle_together(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let now = clock::now();
        let outputs = self.peer.handle_together(inputs, now);
        // First, so that the status is at least as new as the event.
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
                    let (events, halt) = (self.link_tx.clone(), self.halted.clone());
                    self.tasks.spawn(link::dial(conn, to, receiver, events, halt));
                }
                Output::Send { conn, bytes } => self.command(conn, Command::Send(bytes)),
                Output::Look(conn) => self.command(conn, Command::Look),
                Output::Close(conn) => {
                    self.command(conn, Command::Close);
                    self.links.remove(&conn);
                }
                // An error occurs only while the speaker is being dropped.
                Output::Event(event) => drop(self.tells.events.send((self.tells.id, event))),
            }
        }
    }

    /// Sends a command to a link. If the link has ended, its `Closed` is on the way.
    fn command(&self, conn: ConnId, command: Command) {
        if let Some(link) = self.links.get(&conn) {
            drop(link.send(command));
        }
    }
}

/// The host prefixes among the watched ones.
fn services(watched: &Watched) -> BTreeSet<IpAddr> {
    let hosts = watched.iter().filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
    hosts.map(IpNet::addr).collect()
}

/// Whether the kernel refuses to bind to this address.
fn is_foreign(mut local: SocketAddr) -> bool {
    local.set_port(0);
    UdpSocket::bind(local).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}
