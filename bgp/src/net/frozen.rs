//! Freeze and thaw of a speaker: its machines, with the sockets and the octets on their way.
//!
//! ```text
//!   gate ─── listening sockets, with keys and queued connections ────────────┐
//!   peer task ─ links stop ─► octets read go to the machine ─► frozen::Peer ─┤► frozen::Speaker + Descriptors
//!                             octets not written are in it                   │
//!               ended and accepted connections ──────────────────────────────┘
//! ```
//!
//! Nothing is sent and no connection is closed. Octets that the kernel has and nobody has read wait in the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Driver, Ending, Frozen, Inbox, NearEnd, Resumed, Tells};
use super::{ACCEPTED, Descriptors, Desired, PeerHandle, PeerId, Speaker, clock, link, listener};
use crate::adj_rib_in::Watched;
use crate::frozen::speaker::{Closing, Connection, Listener, Peer, Set, V1, Waiting};
use crate::frozen::{self, Error, Octets, agree, past};
use crate::fsm::{self, ConnId, Extent, Liveness, PeerConfig, PeerEvent, Version};
use crate::notice::Notice;
use crate::route::Routes;
use crate::time::Instant;
use crate::transport::Transport;
use crate::wire::iana::notification::{CEASE, cease};
use crate::wire::{Message, Notification, SessionContext};

/// A peer that goes on.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The caller's number of it, as at the freeze.
    pub id: u64,
    /// The same transport as at the freeze.
    pub transport: Transport,
    /// The settings. Those in [`Tuning`](crate::Tuning) are not applied: they are the first thing to give to the
    /// handle.
    pub config: PeerConfig,
    /// The state of BFD with it now. The peer is told the changes of its form, and this one if it is another.
    pub liveness: Liveness,
}

/// A speaker that goes on, and its streams as in [`Speaker::new`].
#[derive(Debug)]
pub struct Thawed {
    /// The speaker.
    pub speaker: Speaker,
    /// The events of peers.
    pub events: mpsc::UnboundedReceiver<(PeerId, PeerEvent)>,
    /// The notices.
    pub notices: mpsc::Receiver<Notice>,
    /// The peers by the caller's numbers. Each has the desired state of the freeze.
    pub handles: BTreeMap<u64, PeerHandle>,
}

/// The reason why a frozen form cannot be thawed.
#[derive(Debug, thiserror::Error)]
pub enum ThawError {
    /// The form is damaged, or does not fit the settings.
    #[error(transparent)]
    Form(#[from] Error),
    /// The form of a peer is.
    #[error("peer {ip}")]
    Peer {
        /// Its address.
        ip: IpAddr,
        /// The reason.
        #[source]
        error: Error,
    },
    /// The kernel refuses.
    #[error("cannot go on with a socket")]
    Io(#[from] io::Error),
}

impl Speaker {
    /// Stops the speaker and these peers between two inputs, and puts their sockets into `descriptors`. The caller
    /// gives each peer a number. Each has taken the last values of its handle. Nothing is sent; a dial that is under
    /// way is given up, and begins anew after the thaw.
    ///
    /// The handles of the peers show their last status, and have no effect any more. Peers that are not among them, or
    /// that are being stopped, are closed when this process ends.
    pub async fn freeze(
        &mut self,
        peers: impl IntoIterator<Item = (u64, &mut PeerHandle)>,
        descriptors: &mut Descriptors,
    ) -> frozen::Speaker {
        for listener in &mut self.listeners {
            listener.abort();
            // An error says that it was aborted.
            let _aborted = listener.await;
        }
        self.listeners.clear();
        let (sockets, shut) = self.gate.freeze();
        let mut answers = Vec::new();
        for (number, handle) in peers {
            let (answer, answered) = oneshot::channel();
            if let Some(end) = handle.end.take()
                && end.send(Ending::Freeze(answer)).is_ok()
            {
                answers.push((number, shut.contains(&handle.id), answered));
            }
        }
        let mut sets = Sets::default();
        let mut frozen = Vec::with_capacity(answers.len());
        for (number, shut, answer) in answers {
            // An error says that the task has ended.
            let Ok((transport, peer)) = answer.await else { continue };
            frozen.push(sets.freeze(number, &transport, shut, peer, descriptors));
        }
        let listener = |(address, socket): (SocketAddr, Socket)| Listener {
            address: address.into(),
            socket: descriptors.put(socket),
        };
        let listeners = sockets.into_iter().map(listener).collect();
        let waiting = self.not_listening();
        let waiting = waiting.map(|(address, error)| Waiting { address: address.into(), error }).collect();
        let Sets { routes, watched } = sets;
        frozen::Speaker::V1(V1 {
            sets: routes.iter().map(Set::from).collect(),
            watched: watched.iter().map(|watched| (**watched).clone()).collect(),
            peers: frozen,
            listeners,
            waiting,
        })
    }

    /// The hosts whose connections were turned away and reported, and when. They are no part of the form.
    pub fn strangers(&self) -> Vec<(IpAddr, Instant)> {
        self.gate.strangers()
    }

    /// Does not report these again that the speaker before has reported.
    pub fn know_strangers(&self, strangers: Vec<(IpAddr, Instant)>) {
        self.gate.know_strangers(strangers);
    }

    /// A speaker that goes on where the frozen one was. The sockets of frozen peers that are not among `peers` are
    /// closed after a NOTIFICATION (Cease / Other Configuration Change), and their keys are removed from the listeners.
    ///
    /// # Errors
    /// Something does not fit; all sockets of the form are closed then, and nothing was sent on them.
    pub fn thaw(
        frozen: &frozen::Speaker,
        descriptors: &mut Descriptors,
        peers: Vec<Resume>,
    ) -> Result<Thawed, ThawError> {
        let frozen::Speaker::V1(frozen) = frozen;
        let now = clock::now();
        let routes: Vec<Routes> = frozen.sets.iter().map(Routes::try_from).collect::<Result<_, _>>()?;
        let watched: Vec<Arc<Watched>> = frozen.watched.iter().cloned().map(Arc::new).collect();
        let sets = Sets { routes, watched };
        let mut resumes: BTreeMap<u64, Resume> = BTreeMap::new();
        for resume in peers {
            agree(resumes.insert(resume.id, resume).is_none(), "peers.id")?;
        }
        // Everything is checked before the first task runs.
        let mut listeners = Vec::new();
        for listener in &frozen.listeners {
            let socket = take(descriptors, listener.socket, Type::STREAM, "listener")?;
            agree(SockRef::from(&socket).is_listener()?, "listener")?;
            listeners.push((SocketAddr::from(listener.address), Socket::from(socket)));
        }
        let (mut ready, mut dropped) = (Vec::new(), Vec::new());
        for peer in &frozen.peers {
            let sockets = Sockets::take(peer, descriptors)?;
            match resumes.remove(&peer.id) {
                Some(resume) => {
                    let error = |error| ThawError::Peer { ip: peer.ip, error };
                    ready.push(sets.thaw(peer, resume, sockets, now).map_err(error)?);
                }
                None => dropped.push((peer, sockets)),
            }
        }
        agree(resumes.is_empty(), "peers.id")?;
        let (mut speaker, events, notices) = Self::new();
        let accepting = listeners.into_iter();
        let accepting: Vec<_> = accepting
            .map(|(address, socket)| listener::resume(address, socket, &speaker.gate))
            .collect::<Result<_, _>>()?;
        let handles: BTreeMap<u64, PeerHandle> =
            ready.into_iter().map(|ready| (ready.number, speaker.resume(ready))).collect();
        for (peer, sockets) in dropped {
            speaker.gate.forget(peer.ip, peer.key);
            sockets.close(peer);
        }
        speaker.gate.resumed();
        for listener in accepting {
            let (gate, notices) = (Arc::clone(&speaker.gate), speaker.notices.clone());
            speaker.listeners.push(tokio::spawn(listener::run(listener, gate, notices)));
        }
        for Waiting { address, error } in &frozen.waiting {
            speaker.listen_later((*address).into(), &io::Error::other(error.clone()));
        }
        Ok(Thawed { speaker, events, notices, handles })
    }

    /// Starts the task of a peer that goes on.
    fn resume(&mut self, ready: Ready) -> PeerHandle {
        let Ready { number: _, machine, liveness, transport, shut, sockets, desired, watched } = ready;
        self.next_id += 1;
        let id = PeerId(self.next_id);
        let (accepted_tx, accepted) = mpsc::channel(ACCEPTED);
        let (end, ending) = oneshot::channel();
        let (desire, desired) = watch::channel(desired);
        let (watch, watched) = watch::channel(watched);
        for stream in sockets.accepted {
            // There were never more than fit.
            drop(accepted_tx.try_send(stream));
        }
        let peering = machine.config().peering();
        let pass = self.gate.resume(id, Arc::clone(&transport), peering, accepted_tx, shut);
        let (status_tx, status) = watch::channel(machine.status(clock::now()));
        let tells =
            Tells { id, events: self.events.clone(), notices: self.notices.clone(), status: status_tx };
        let driver = Driver::new(machine, transport, tells, Arc::clone(&self.lookout));
        let (before, news) = liveness;
        let (liveness, changes) = mpsc::unbounded_channel();
        for news in news {
            // The receiver is here.
            drop(liveness.send(news));
        }
        let inbox = Inbox { desired, watched, accepted, ending, liveness: changes };
        let task = tokio::spawn(async move {
            driver.resume(inbox, before, sockets.connections, sockets.closing).await;
            drop(pass);
        });
        PeerHandle { id, desire, watch, status, liveness, end: Some(end), task }
    }
}

/// The desired sets and the watched prefixes, each once: most peers share them.
#[derive(Debug, Default)]
struct Sets {
    routes: Vec<Routes>,
    watched: Vec<Arc<Watched>>,
}

impl Sets {
    fn freeze(
        &mut self,
        id: u64,
        transport: &Transport,
        shut: bool,
        peer: Frozen,
        descriptors: &mut Descriptors,
    ) -> Peer {
        let Frozen { machine, liveness, routes, watched, connections, closing, accepted } = peer;
        Peer {
            id,
            ip: transport.ip(),
            interface: transport.interface.clone(),
            key: transport.key(),
            shut,
            routes: index(&mut self.routes, routes),
            watched: index(&mut self.watched, watched),
            liveness: (&liveness).into(),
            untold: Vec::new(),
            machine,
            connections: connections
                .into_iter()
                .map(|(conn, socket, NearEnd { born, was_seen })| Connection {
                    id: conn.as_u64(),
                    socket: descriptors.put(socket),
                    born,
                    was_seen,
                })
                .collect(),
            closing: closing
                .into_iter()
                .map(|(socket, pending)| Closing {
                    socket: descriptors.put(socket),
                    queued: Octets(pending.to_vec()),
                })
                .collect(),
            accepted: accepted.into_iter().map(|socket| descriptors.put(socket)).collect(),
        }
    }

    fn thaw(&self, peer: &Peer, resume: Resume, sockets: Sockets, now: Instant) -> Result<Ready, Error> {
        let Resume { id: number, transport, config, liveness } = resume;
        let same = [
            ("address", transport.ip() == peer.ip),
            ("interface", transport.interface == peer.interface),
            ("authentication", transport.key() == peer.key),
        ];
        if let Some((setting, _)) = same.into_iter().find(|(_, same)| !same) {
            return Err(Error::Setting(setting));
        }
        let routes = at(&self.routes, peer.routes).ok_or(Error::Range("routes"))?;
        let watched = at(&self.watched, peer.watched).ok_or(Error::Range("watched"))?;
        let machine = fsm::Peer::thaw(config, &peer.machine, routes.clone(), Arc::clone(watched), now)?;
        let frozen::Peer::V1(form) = &peer.machine;
        let desired = Desired {
            tuning: machine.config().tuning(),
            version: Version(form.version),
            routes: routes.clone(),
            extent: Extent::from(form.extent),
        };
        let sockets = sockets.fit(&machine, peer, now)?;
        let (transport, watched) = (Arc::new(transport), Arc::clone(watched));
        let liveness = (Liveness::from(&peer.liveness), news(peer, liveness));
        Ok(Ready { number, machine, liveness, transport, shut: peer.shut, sockets, desired, watched })
    }
}

/// A peer that was checked, and whose task does not run yet.
struct Ready {
    number: u64,
    machine: fsm::Peer,
    /// At the freeze, and what is to be told since.
    liveness: (Liveness, Vec<Liveness>),
    transport: Arc<Transport>,
    shut: bool,
    sockets: Streams,
    desired: Desired,
    watched: Arc<Watched>,
}

/// The sockets of a peer, in the order of its form.
struct Sockets {
    connections: Vec<TcpStream>,
    closing: Vec<TcpStream>,
    accepted: Vec<TcpStream>,
}

/// The same with what belongs to each.
struct Streams {
    connections: Vec<Resumed>,
    closing: Vec<(TcpStream, BytesMut)>,
    accepted: Vec<TcpStream>,
}

impl Sockets {
    /// Closes the connections of a peer that does not go on, each after its octets and a NOTIFICATION. A router that
    /// keeps routes would take a close without one for a restart.
    fn close(self, peer: &Peer) {
        let notification = Notification::new(CEASE, cease::OTHER_CONFIGURATION_CHANGE, Bytes::new());
        // A NOTIFICATION is the same in every session, and this one fits.
        let notification = Message::Notification(notification).encode(&SessionContext::default());
        let connections = peer.connections.iter().zip(self.connections).map(|(form, stream)| {
            let machine = peer.machine.connections().iter().find(|connection| connection.id == form.id);
            let mut octets = BytesMut::from(machine.map_or(&[][..], |form| form.queued.0.as_slice()));
            octets.extend_from_slice(notification.as_deref().unwrap_or_default());
            (stream, octets)
        });
        let closing = peer.closing.iter().map(|form| BytesMut::from(form.queued.0.as_slice()));
        for (stream, octets) in connections.chain(self.closing.into_iter().zip(closing)) {
            tokio::spawn(link::close_at_last(stream, octets));
        }
    }

    fn take(peer: &Peer, descriptors: &mut Descriptors) -> Result<Self, ThawError> {
        let mut stream = |number| {
            let socket = take(descriptors, number, Type::STREAM, "connection")?;
            agree(!SockRef::from(&socket).is_listener()?, "socket")?;
            let stream = std::net::TcpStream::from(socket);
            stream.set_nonblocking(true)?;
            Ok(TcpStream::from_std(stream)?)
        };
        let connections = peer.connections.iter().map(|connection| stream(connection.socket));
        let connections = connections.collect::<Result<_, ThawError>>()?;
        let closing = peer.closing.iter().map(|closing| stream(closing.socket));
        let closing = closing.collect::<Result<_, ThawError>>()?;
        let accepted =
            peer.accepted.iter().map(|socket| stream(*socket)).collect::<Result<_, ThawError>>()?;
        Ok(Self { connections, closing, accepted })
    }

    /// Each connection of the machine has one socket with its ends, and the octets that the machine counts on.
    fn fit(self, machine: &fsm::Peer, peer: &Peer, now: Instant) -> Result<Streams, Error> {
        let ends: BTreeMap<u64, ConnId> =
            machine.endpoints().map(|(conn, _)| (conn.as_u64(), conn)).collect();
        let named: BTreeSet<u64> = peer.connections.iter().map(|connection| connection.id).collect();
        agree(ends.keys().eq(&named) && named.len() == peer.connections.len(), "connections.id")?;
        let mut connections = Vec::with_capacity(self.connections.len());
        for (form, stream) in peer.connections.iter().zip(self.connections) {
            let machine_form = peer.machine.connections().iter().find(|connection| connection.id == form.id);
            let (Some(machine_form), Some(conn)) = (machine_form, ends.get(&form.id)) else {
                return Err(Error::Contradiction("connections.id"));
            };
            let queued = machine_form.queued.0.as_slice();
            agree(u64::try_from(queued.len()) == Ok(machine_form.unsent), "queued")?;
            // The socket of a connection that the peer has closed has no ends any more.
            if let Ok(ends) = link::endpoints(&stream) {
                let same =
                    ends.local == machine_form.local.into() && ends.remote == machine_form.remote.into();
                agree(same, "connections.socket")?;
            }
            let near_end = NearEnd { born: past(form.born, now, "born")?, was_seen: form.was_seen };
            connections.push(Resumed { conn: *conn, stream, pending: BytesMut::from(queued), near_end });
        }
        if self.accepted.len() > ACCEPTED {
            return Err(Error::Range("accepted"));
        }
        let queued = peer.closing.iter().map(|closing| BytesMut::from(closing.queued.0.as_slice()));
        let closing = self.closing.into_iter().zip(queued).collect();
        Ok(Streams { connections, closing, accepted: self.accepted })
    }
}

/// What a peer must be told of BFD, in its order.
fn news(peer: &Peer, now: Liveness) -> Vec<Liveness> {
    let mut news: Vec<Liveness> = peer.untold.iter().map(Liveness::from).collect();
    let told = news.last().cloned().unwrap_or_else(|| Liveness::from(&peer.liveness));
    // Nothing follows a loss until BFD is up again.
    let follows = now != told && !(matches!(told, Liveness::Lost(_)) && now == Liveness::Unknown);
    news.extend(follows.then_some(now));
    news
}

/// The socket of this number, of this type.
pub(super) fn take(
    descriptors: &mut Descriptors,
    number: u32,
    kind: Type,
    whose: &'static str,
) -> Result<OwnedFd, ThawError> {
    let socket = descriptors.take(number).ok_or(Error::Socket(whose))?;
    // Another kind of descriptor has no type.
    agree(SockRef::from(&socket).r#type().is_ok_and(|found| found == kind), "socket")?;
    Ok(socket)
}

/// The index of a value that is in the list once.
fn index<T: PartialEq>(list: &mut Vec<T>, value: T) -> u32 {
    let index = list.iter().position(|known| *known == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn at<T>(list: &[T], index: u32) -> Option<&T> {
    list.get(usize::try_from(index).ok()?)
}
