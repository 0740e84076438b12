//! The gate for incoming connections: the listening sockets, the keys on them, and the peers behind.
//!
//! ```text
//!            listening sockets            doors, by address
//!  SYN ──►  [ keys, TTL 255, min TTL ] ─► 10.0.1.1  TTL, interface ─► peer task
//!             the kernel drops packets    10.0.2.1  shut: the key could not be set
//!             with a wrong signature      any other address: closed
//! ```
//!
//! A peer with a password must never connect without it: *before* its door opens, its key is set on every listening
//! socket, and their queued connections are handled. If a key cannot be set, the door stays shut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::net::if_::if_indextoname;
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::clock;
use super::notices::Notices;
use super::sockopt;
use super::{Limiter, PeerId};
use crate::frozen::speaker::Key;
use crate::notice::{ArrivalLimit, Notice};
use crate::time::Instant;
use crate::transport::Transport;
use crate::wire::Peering;

/// The number of connections that the kernel keeps until we accept them.
const BACKLOG: i32 = 128;
/// The number of strangers that are remembered, so that each is reported once; further strangers are not reported.
const STRANGERS: usize = 64;
/// How long a stranger is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The state that the listeners and the peers of one speaker share. Its lock is never held across an await.
#[derive(Debug)]
pub(super) struct Gate(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    notices: Notices,
    listeners: Vec<(SocketAddr, Socket)>,
    doors: BTreeMap<Origin, Door>,
    strangers: BTreeMap<IpAddr, Instant>,
    limiter: Limiter<IpAddr>,
}

/// The origin of a connection. A link-local address needs its interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    ip: IpAddr,
    interface: Option<String>,
}

impl Origin {
    fn of(transport: &Transport) -> Self {
        let ip = transport.ip();
        Self { ip, interface: transport.interface.clone().filter(|_| is_link_local(ip)) }
    }

    /// `None`: the interface is gone.
    fn from(address: SocketAddr) -> Option<Self> {
        let ip = address.ip().to_canonical();
        let interface = match address {
            SocketAddr::V6(v6) if is_link_local(ip) => {
                Some(if_indextoname(v6.scope_id()).ok()?.into_string().ok()?)
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => None,
        };
        Some(Self { ip, interface })
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[derive(Debug)]
struct Door {
    id: PeerId,
    transport: Arc<Transport>,
    peering: Peering,
    accepted: mpsc::Sender<TcpStream>,
    /// Whether its key is missing on a listening socket.
    shut: bool,
}

/// The admission of one peer. Dropping it closes its door and removes its key from the listeners.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    origin: Origin,
    id: PeerId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inner = self.gate.lock();
        // A later peer at the same address may have taken the door over.
        if inner.doors.get(&self.origin).is_some_and(|door| door.id == self.id) {
            inner.close(&self.origin);
        }
    }
}

impl Gate {
    /// A gate without listeners and peers.
    pub(super) fn new(notices: Notices) -> Self {
        Self(Mutex::new(Inner {
            notices,
            listeners: Vec::new(),
            doors: BTreeMap::new(),
            strangers: BTreeMap::new(),
            limiter: Limiter::default(),
        }))
    }

    /// Listens on a bound socket, with the keys of the present peers.
    pub(super) fn listen(&self, address: SocketAddr, socket: &Socket) -> io::Result<()> {
        let socket = socket.try_clone()?;
        let mut inner = self.lock();
        // A SYN-ACK leaves before the peer is known. A peer with GTSM requires TTL 255; other peers accept it.
        sockopt::set_ttl(&SockRef::from(&socket), u8::MAX)?;
        let Inner { doors, notices, .. } = &mut *inner;
        for door in doors.values_mut() {
            door.shut |= !authenticate(&door.transport, address, &socket, notices);
        }
        socket.listen(BACKLOG)?;
        inner.listeners.push((address, socket));
        inner.limit_arrivals();
        Ok(())
    }

    /// Closes the listening sockets.
    pub(super) fn close(&self) {
        self.lock().listeners.clear();
    }

    /// Takes the listening sockets out, with their keys and queued connections, and the ids of the peers whose door is
    /// shut. From now on the gate leaves the keys alone.
    pub(super) fn freeze(&self) -> (Vec<(SocketAddr, Socket)>, BTreeSet<PeerId>) {
        let mut inner = self.lock();
        let shut = inner.doors.values().filter(|door| door.shut).map(|door| door.id).collect();
        (std::mem::take(&mut inner.listeners), shut)
    }

    /// The strangers that were reported, and when.
    pub(super) fn strangers(&self) -> Vec<(IpAddr, Instant)> {
        self.lock().strangers.iter().map(|(ip, seen)| (*ip, *seen)).collect()
    }

    /// Knows strangers that the program before has reported. One of the future is none.
    pub(super) fn know_strangers(&self, strangers: Vec<(IpAddr, Instant)>) {
        let now = clock::now();
        let past = strangers.into_iter().filter(|(_, seen)| *seen <= now);
        self.lock().strangers.extend(past.take(STRANGERS));
    }

    /// Knows a listening socket of the program before.
    pub(super) fn resume_listener(&self, address: SocketAddr, socket: Socket) {
        self.lock().listeners.push((address, socket));
    }

    /// Opens the door of a peer whose key the listeners have from the program before.
    ///
    /// The key of TCP MD5 is set once more, which changes nothing if it is the same; if its file has changed since, the
    /// door and the listeners agree again. The kernel refuses a key of TCP-AO that it has. A door that was `shut` stays
    /// shut: connections from before may be in the queues.
    pub(super) fn resume(
        self: &Arc<Self>,
        id: PeerId,
        transport: Arc<Transport>,
        peering: Peering,
        accepted: mpsc::Sender<TcpStream>,
        mut shut: bool,
    ) -> Pass {
        let origin = Origin::of(&transport);
        let mut inner = self.lock();
        for (address, socket) in &inner.listeners {
            if transport.concerns(*address)
                && let Err(error) = transport.authenticate_again(&SockRef::from(socket))
            {
                let (peer, listener, cause) = (transport.ip(), *address, error.in_words());
                inner.notices.tell(Notice::KeyNotSet { peer, listener, cause });
                shut = true;
            }
        }
        inner.doors.insert(origin.clone(), Door { id, transport, peering, accepted, shut });
        Pass { gate: Arc::clone(self), origin, id }
    }

    /// Removes the key of a peer that does not go on, unless a door has the same address.
    pub(super) fn forget(&self, ip: IpAddr, key: Key) {
        let inner = self.lock();
        if inner.doors.keys().any(|origin| origin.ip == ip) {
            return;
        }
        for (address, socket) in &inner.listeners {
            if ip.is_ipv4() == address.ip().to_canonical().is_ipv4() {
                super::transport::forget(&SockRef::from(socket), ip, key);
            }
        }
    }

    /// The doors of all peers are open again.
    pub(super) fn resumed(&self) {
        self.lock().limit_arrivals();
    }

    /// Opens the door of a peer, in place of an earlier peer at its address.
    pub(super) fn open(
        self: &Arc<Self>,
        id: PeerId,
        transport: Arc<Transport>,
        peering: Peering,
        accepted: mpsc::Sender<TcpStream>,
    ) -> Pass {
        let origin = Origin::of(&transport);
        let mut inner = self.lock();
        inner.close(&origin);
        let mut shut = false;
        for (address, socket) in &inner.listeners {
            shut |= !authenticate(&transport, *address, socket, &inner.notices);
        }
        if transport.authentication.is_some() {
            inner.empty_queues();
        }
        inner.doors.insert(origin.clone(), Door { id, transport, peering, accepted, shut });
        inner.limit_arrivals();
        Pass { gate: Arc::clone(self), origin, id }
    }

    /// Gives an accepted connection to its peer.
    pub(super) fn enter(&self, stream: TcpStream, from: SocketAddr) {
        self.lock().enter(stream, from);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enter(&mut self, stream: TcpStream, from: SocketAddr) {
        let door = Origin::from(from).and_then(|origin| self.doors.get(&origin));
        let Some(door) = door else { return self.turn_away(from.ip().to_canonical()) };
        if door.shut {
            if let Some(left_out) = self.limiter.ask(from.ip(), clock::now()) {
                self.notices.tell(Notice::ShutOut { from, left_out });
            }
            return;
        }
        // Before the first byte is sent: the other side would drop a NOTIFICATION or RST with a wrong TTL.
        let socket = SockRef::from(&stream);
        if let Err(error) = door.transport.prepare(&socket, door.peering) {
            if let Some(left_out) = self.limiter.ask(from.ip(), clock::now()) {
                self.notices.tell(Notice::NotSetUp { from, cause: error.in_words(), left_out });
            }
            return;
        }
        // A peer that floods us with connections loses those that its task has not taken.
        drop(door.accepted.try_send(stream));
    }

    fn turn_away(&mut self, ip: IpAddr) {
        let now = clock::now();
        if self.strangers.len() >= STRANGERS {
            self.strangers.retain(|_, seen| now - *seen < REMEMBERED);
        }
        let known = self.strangers.get(&ip).is_some_and(|seen| now - *seen < REMEMBERED);
        if !known && self.strangers.len() < STRANGERS {
            self.strangers.insert(ip, now);
            self.notices.tell(Notice::Stranger { ip });
        }
    }

    fn close(&mut self, origin: &Origin) {
        let Some(door) = self.doors.remove(origin) else { return };
        // The kernel keeps keys by address alone.
        let is_shared = self.doors.keys().any(|other| other.ip == origin.ip);
        for (_, socket) in
            self.listeners.iter().filter(|(address, _)| !is_shared && door.transport.concerns(*address))
        {
            door.transport.forget(&SockRef::from(socket));
        }
        self.limit_arrivals();
    }

    /// Handles the connections that were made before a key was set, as if they had come a moment earlier. The kernel
    /// checks half-open connections against the new key.
    fn empty_queues(&mut self) {
        let mut queued = Vec::new();
        for (_, socket) in &self.listeners {
            while let Ok((stream, from)) = socket.accept() {
                queued.extend(from.as_socket().map(|from| (stream, from)));
            }
        }
        for (stream, from) in queued {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream.into()));
            // An unusable connection is closed.
            if let Ok(stream) = stream {
                self.enter(stream, from);
            }
        }
    }

    /// Sets the limits for all incoming connections: a host that is too far away for every peer cannot complete a
    /// handshake, and the handshake negotiates the segment size.
    fn limit_arrivals(&self) {
        let failed = |listener, limit, error: io::Error| {
            self.notices.tell(Notice::NotLimited { listener, limit, error: error.to_string() });
        };
        for (address, socket) in &self.listeners {
            let peers = self.doors.values().filter(|door| door.transport.concerns(*address));
            let least = peers.clone().map(|door| door.transport.reach.min_ttl()).min().unwrap_or(0);
            let segment = peers.filter_map(|door| door.transport.segment_size).min();
            // 0 removes the limit.
            if let Err(error) = SockRef::from(socket).set_tcp_mss(segment.unwrap_or(0).into()) {
                failed(*address, ArrivalLimit::SegmentSize, error);
            }
            // Each connection is checked again.
            if let Err(error) = sockopt::set_min_ttl(&SockRef::from(socket), least) {
                failed(*address, ArrivalLimit::LowestTtl, error);
            }
        }
    }
}

/// Whether a listening socket has the key of this peer, or needs none.
fn authenticate(transport: &Transport, listener: SocketAddr, socket: &Socket, notices: &Notices) -> bool {
    if !transport.concerns(listener) {
        return true;
    }
    match transport.authenticate(&SockRef::from(socket)) {
        Ok(()) => true,
        Err(error) => {
            notices.tell(Notice::KeyNotSet { peer: transport.ip(), listener, cause: error.in_words() });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_that_the_program_before_has_reported_is_not_reported_again() {
        let [one, other, later] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let (notices, mut told) = Notices::new();
        let before = Gate::new(notices.clone());
        before.lock().turn_away(one);
        before.lock().turn_away(one);
        assert_eq!(told.try_recv().ok(), Some(Notice::Stranger { ip: one }));
        assert!(told.try_recv().is_err(), "once");
        let next = Gate::new(notices);
        let mut strangers = before.strangers();
        strangers.push((later, clock::now() + REMEMBERED));
        next.know_strangers(strangers);
        assert_eq!(next.strangers(), before.strangers(), "what is yet to come was not reported");
        next.lock().turn_away(one);
        next.lock().turn_away(other);
        assert_eq!(told.try_recv().ok(), Some(Notice::Stranger { ip: other }));
    }
}
