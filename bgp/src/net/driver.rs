//! The peer task: feeds one [`Peer`] and performs its outputs.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::link::{self, Command, LinkEvent};
use super::{PeerAddress, PeerId};
use crate::fsm::{ConnId, Input, Output, Peer, PeerEvent, PeerStatus, Version};
use crate::route::Routes;
use crate::wire::Notification;

/// Events that a link may be ahead of the peer task; beyond it, bytes wait in the kernel.
const LINK_EVENTS: usize = 8;

pub(super) struct Driver {
    peer: Peer,
    address: PeerAddress,
    id: PeerId,
    events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
    status: watch::Sender<PeerStatus>,
    links: BTreeMap<ConnId, mpsc::UnboundedSender<Command>>,
    tasks: JoinSet<()>,
    link_tx: mpsc::Sender<(ConnId, LinkEvent)>,
    link_rx: mpsc::Receiver<(ConnId, LinkEvent)>,
}

impl Driver {
    pub(super) fn new(
        peer: Peer,
        address: PeerAddress,
        events: mpsc::UnboundedSender<(PeerId, PeerEvent)>,
        id: PeerId,
        status: watch::Sender<PeerStatus>,
    ) -> Self {
        let (link_tx, link_rx) = mpsc::channel(LINK_EVENTS);
        let (links, tasks) = (BTreeMap::new(), JoinSet::new());
        Self { peer, address, id, events, status, links, tasks, link_tx, link_rx }
    }

    /// Runs until it was stopped and its connections are closed.
    pub(super) async fn run(
        mut self,
        mut desired: watch::Receiver<(Version, Arc<Routes>)>,
        mut accepted: mpsc::Receiver<TcpStream>,
        mut stopped: oneshot::Receiver<Notification>,
    ) {
        self.advertise(&mut desired);
        self.handle(Input::Start);
        loop {
            let deadline = self.peer.deadline();
            let timer = async move {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
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
                // Before the links: a peer that floods us must not delay our KEEPALIVE to it.
                () = timer => self.tick().await,
                Some(stream) = accepted.recv() => self.accept(stream),
                Some((conn, event)) = self.link_rx.recv() => self.link_event(conn, event),
                // Reaps the tasks of links that ended.
                Some(_) = self.tasks.join_next() => {}
            }
        }
        // A link closes within a second; nobody reads their events any more.
        drop(self.link_rx);
        while self.tasks.join_next().await.is_some() {}
    }

    fn advertise(&mut self, desired: &mut watch::Receiver<(Version, Arc<Routes>)>) {
        let (version, routes) = desired.borrow_and_update().clone();
        self.handle(Input::Advertise(version, routes));
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

    fn link_event(&mut self, conn: ConnId, event: LinkEvent) {
        if matches!(event, LinkEvent::DialFailed(_)) {
            // Its task has ended, and nobody will ask for a close.
            self.links.remove(&conn);
        }
        self.handle(match event {
            LinkEvent::Dialled(endpoints) => Input::Dialled(conn, endpoints),
            LinkEvent::DialFailed(cause) => Input::DialFailed(conn, cause),
            LinkEvent::Received(bytes) => Input::Received(conn, bytes),
            LinkEvent::Sent(count) => Input::Sent(conn, count),
            LinkEvent::Closed(cause) => Input::Closed(conn, cause),
        });
    }

    fn accept(&mut self, stream: TcpStream) {
        // A socket that has no addresses any more was closed by the peer already.
        let Ok(endpoints) = link::endpoints(&stream) else { return };
        let conn = self.peer.allocate();
        let (commands, receiver) = mpsc::unbounded_channel();
        self.links.insert(conn, commands);
        self.tasks.spawn(link::run(conn, stream, receiver, self.link_tx.clone()));
        self.handle(Input::Accepted(conn, endpoints));
    }

    fn handle(&mut self, input: Input) {
        let now = Instant::now();
        let outputs = self.peer.handle(input, now);
        // First, so that whoever acts on an event sees a status that is no older.
        let status = self.peer.status(now);
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
        for output in outputs {
            match output {
                Output::Dial(conn) => {
                    let (commands, receiver) = mpsc::unbounded_channel();
                    self.links.insert(conn, commands);
                    self.tasks.spawn(link::dial(conn, self.address, receiver, self.link_tx.clone()));
                }
                Output::Send { conn, bytes } => self.command(conn, Command::Send(bytes)),
                Output::Close(conn) => {
                    self.command(conn, Command::Close);
                    self.links.remove(&conn);
                }
                // Nobody listens only while the speaker is being dropped.
                Output::Event(event) => drop(self.events.send((self.id, event))),
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
