//! The addresses of this host: what is there, put on, taken off, and watched.
//!
//! ```text
//!  engine ── Bind, Unbind ──► binder task ── request ──► kernel
//!  engine ◄── Addresses, AddressAdded, AddressRemoved, AddressFailed ── binder task ◄── notification ──┘
//! ```
//!
//! One task owns the netlink socket. It may be dropped at any await: what it had asked the kernel for is seen by the
//! next listing. Our addresses carry the address protocol 86 (IFA_PROTO, Linux 5.18), so that whoever comes after a
//! crash knows them as ours; the kernel itself is the state file (I3). Older kernels: a note in the state directory.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

mod message;
mod note;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use futures_channel::mpsc::UnboundedReceiver;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::note::Note;
use crate::engine::{Address, Event, Owner};

/// Requests that are answered together, at most.
const AT_ONCE: usize = 256;

/// Why the addresses of the host cannot be managed.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// The netlink socket cannot be made.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The note of an old kernel's addresses cannot be read.
    #[error("cannot read which addresses are ours")]
    Note(#[source] io::Error),
    /// The kernel does not list what is there.
    #[error("cannot list the host's addresses")]
    List(#[source] rtnetlink::Error),
}

/// Puts addresses on the host and takes them off. Dropping it ends the task; the addresses stay.
#[derive(Debug)]
pub struct Binder {
    requests: mpsc::UnboundedSender<Request>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug)]
enum Request {
    Bind(Address),
    Unbind(Address),
}

type Notifications = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

impl Binder {
    /// Starts the task. Its first event is [`Event::Addresses`].
    ///
    /// # Errors
    /// There is no netlink here, which no Linux lacks; or the note of an old kernel cannot be read.
    pub async fn start(events: mpsc::UnboundedSender<Event>, state_dir: &Path) -> Result<Self, VipError> {
        let note = Note::if_needed(state_dir).map_err(VipError::Note)?;
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, notifications) =
            rtnetlink::new_multicast_connection(&groups).map_err(VipError::Socket)?;
        let connection = tokio::spawn(connection);
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut task = Task { handle, events, links: BTreeMap::new(), note };
        task.list().await?;
        let task = tokio::spawn(task.run(receiver, notifications));
        Ok(Self { requests, tasks: [connection, task] })
    }

    /// Puts an address on the host. The answer is [`Event::AddressAdded`] or [`Event::AddressFailed`].
    pub fn bind(&self, address: Address) {
        // The task ends only with the binder.
        drop(self.requests.send(Request::Bind(address)));
    }

    /// Takes an address off the host. The answer is [`Event::AddressRemoved`] or [`Event::AddressFailed`].
    pub fn unbind(&self, address: Address) {
        drop(self.requests.send(Request::Unbind(address)));
    }
}

impl Drop for Binder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Task {
    handle: Handle,
    events: mpsc::UnboundedSender<Event>,
    /// Names of interfaces by index, as far as they were seen.
    links: BTreeMap<u32, String>,
    /// Only where the kernel does not remember whose an address is.
    note: Option<Note>,
}

impl Task {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>, mut notifications: Notifications) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.work(request, &mut requests, &mut notifications).await,
                    None => return,
                },
                notification = notifications.next() => match notification {
                    Some((message, _)) => self.notified(message.payload).await,
                    None => return,
                },
            }
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens only while the daemon ends.
        drop(self.events.send(event));
    }

    /// Does what was asked for, and what was asked for behind it, and then answers it all at once: thousands of
    /// addresses are few sets of routes. What the kernel has to say goes first, so that nothing is heard of the past
    /// after an answer.
    async fn work(
        &mut self,
        first: Request,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        notifications: &mut Notifications,
    ) {
        let mut answers = vec![self.request(first).await];
        while answers.len() < AT_ONCE
            && let Ok(next) = requests.try_recv()
        {
            answers.push(self.request(next).await);
        }
        while let Some(Some((message, _))) = notifications.next().now_or_never() {
            self.notified(message.payload).await;
        }
        for answer in answers {
            self.tell(answer);
        }
    }

    async fn request(&mut self, request: Request) -> Event {
        let (address, result, done) = match request {
            Request::Bind(address) => {
                let result = self.bind(&address).await;
                let done = Event::AddressAdded(address.clone(), Owner::Us);
                (address, result, done)
            }
            Request::Unbind(address) => {
                let result = self.unbind(&address).await;
                let done = Event::AddressRemoved(address.clone());
                (address, result, done)
            }
        };
        match result {
            Ok(()) => done,
            Err(cause) => Event::AddressFailed(address, cause),
        }
    }

    async fn bind(&mut self, address: &Address) -> Result<(), String> {
        let index = self.index(&address.interface).await?;
        if let Some(note) = &mut self.note {
            note.insert(address).map_err(|error| format!("cannot note that it is ours: {error}"))?;
        }
        let mut request = self.handle.address().add(index, address.ip, message::host_length(address.ip));
        *request.message_mut() = message::ours(index, address.ip);
        match request.execute().await {
            Ok(()) => Ok(()),
            // Also when someone was faster: then it is theirs, and the notification has said so.
            Err(error) => {
                if let Some(note) = &mut self.note {
                    note.remove(address)
                        .map_err(|error| format!("cannot note that it is not ours: {error}"))?;
                }
                Err(in_words(&error))
            }
        }
    }

    async fn unbind(&mut self, address: &Address) -> Result<(), String> {
        let index = self.index(&address.interface).await?;
        match self.handle.address().del(message::ours(index, address.ip)).execute().await {
            Ok(()) => {}
            // It is gone already.
            Err(error) if message::errno(&error) == Some(nix::errno::Errno::EADDRNOTAVAIL) => {}
            Err(error) => return Err(in_words(&error)),
        }
        match &mut self.note {
            Some(note) => {
                note.remove(address).map_err(|error| format!("cannot note that it is gone: {error}"))
            }
            None => Ok(()),
        }
    }

    async fn index(&mut self, name: &str) -> Result<u32, String> {
        if let Some((index, _)) = self.links.iter().find(|(_, known)| *known == name) {
            return Ok(*index);
        }
        self.list_links().await.map_err(|error| in_words(&error))?;
        let index = self.links.iter().find(|(_, known)| *known == name).map(|(index, _)| *index);
        index.ok_or_else(|| format!("there is no interface {name:?}"))
    }

    async fn notified(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) {
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                if let Some((address, owner)) = self.parse(&message).await {
                    self.tell(Event::AddressAdded(address, owner));
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
                if let Some((address, _)) = self.parse(&message).await {
                    self.tell(Event::AddressRemoved(address));
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.learn(&link),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                self.links.remove(&link.header.index);
            }
            // The kernel had more to say than fitted: ask for everything anew.
            NetlinkPayload::Overrun(_) => {
                if let Err(error) = self.list().await {
                    tracing::warn!(%error, "notifications of address changes were lost");
                }
            }
            _other => {}
        }
    }

    async fn parse(
        &mut self,
        message: &rtnetlink::packet_route::address::AddressMessage,
    ) -> Option<(Address, Owner)> {
        if !self.links.contains_key(&message.header.index) {
            // A new interface whose announcement is still behind this message. If it is gone again, so is the address.
            self.list_links().await.ok()?;
        }
        let interface = self.links.get(&message.header.index)?.clone();
        let (ip, owner) = message::parse(message)?;
        let address = Address { ip, interface };
        let noted = self.note.as_ref().is_some_and(|note| note.contains(&address));
        Some((address, if noted { Owner::Us } else { owner }))
    }

    async fn list(&mut self) -> Result<(), VipError> {
        self.list_links().await.map_err(VipError::List)?;
        let mut addresses = BTreeMap::new();
        let mut messages = self.handle.address().get().execute();
        while let Some(message) = messages.try_next().await.map_err(VipError::List)? {
            if let Some((address, owner)) = self.parse(&message).await {
                addresses.insert(address, owner);
            }
        }
        self.tell(Event::Addresses(addresses));
        Ok(())
    }

    async fn list_links(&mut self) -> Result<(), rtnetlink::Error> {
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            self.learn(&link);
        }
        Ok(())
    }

    fn learn(&mut self, link: &LinkMessage) {
        let name = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _other => None,
        });
        if let Some(name) = name {
            self.links.insert(link.header.index, name);
        }
    }
}

/// The kernel's answer, with what an operator can do about the common one.
fn in_words(error: &rtnetlink::Error) -> String {
    match message::errno(error) {
        Some(nix::errno::Errno::EPERM) => "not permitted: CAP_NET_ADMIN is needed".to_owned(),
        Some(errno) => errno.desc().to_lowercase(),
        None => error.to_string(),
    }
}
