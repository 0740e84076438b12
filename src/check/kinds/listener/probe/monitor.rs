//! The listening sockets of this host: asks the kernel (sock_diag) for all checks, and receives its events.
//!
//! ```text
//!   checks ── Question ──► answer_all ── one dump for all that wait ──► kernel
//!   checks ◄── bell ────── hear ◄── "a socket was destroyed" (SKNLGRP_INET_TCP_DESTROY and siblings) ──┘
//! ```
//!
//! **Tasks.** `answer_all` and `hear`, both owned by [`Sockets`] and ended with it. The answer to a dropped probe is
//! dropped.
//!
//! **Events.** The kernel reports the end of every socket of the host, including connections. A filter on the socket
//! drops connections in the kernel: a server that closes ten thousand connections a second does not even wake this
//! thread. Of the sockets without a peer the port selects the checks to trigger. After an overflow (ENOBUFS) all checks
//! are triggered.
//!
//! **Questions.** For TCP only the listening sockets, for UDP those without a peer. Waiting questions are answered
//! together, from dumps requested after them: a dump of each port if the ports are [`FEW`], because the kernel selects
//! those sockets itself, and otherwise one dump of all. The kernel writes a long dump in parts, and a socket that ends
//! between two of them may hide its neighbour; so before a port counts as closed it is asked for alone, which is one
//! part.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage};
use rtnetlink::packet_core::{NLM_F_DUMP, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_SOCK_DIAG;
use socket2::{SockFilter, SockRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::judge;
use crate::check::kinds::listener::ListenerCheck;
use crate::check::limit::Answer;
use crate::check::listening::{self, Listening};
use crate::check::netlink::{Asker, Netlink, messages};
use crate::check::subscriptions::{Monitor, Subscriptions, Topic};
use crate::check::target::Transport;
use crate::check::words;
use crate::log::trouble;

/// Questions that wait; who comes later waits to ask.
const WAITING: usize = 1024;
/// Ports that are asked for one by one.
const FEW: usize = 8;
/// Until the kernel is asked again for its events, where it had none left to give.
const PAUSE: Duration = Duration::from_secs(1);

/// The sockets of this host. Dropping it ends its tasks.
#[derive(Debug)]
pub(super) struct Sockets {
    questions: mpsc::Sender<SocketQuery>,
    _tasks: JoinSet<()>,
}

impl Monitor for Sockets {}

#[derive(Debug)]
struct SocketQuery {
    check: ListenerCheck,
    answer: oneshot::Sender<Answer>,
}

impl Sockets {
    /// Hears of what ends from now on. On the thread of the checks.
    pub(super) fn start(subscriptions: &Arc<Subscriptions>, asker: &Asker) -> Self {
        let (questions, asked) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_all(asked, asker.clone()));
        tasks.spawn(hear(subscribe(), Arc::clone(subscriptions)));
        Self { questions, _tasks: tasks }
    }

    /// The listening sockets, asked of the kernel from now on.
    pub(super) async fn ask(&self, check: &ListenerCheck) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = SocketQuery { check: check.clone(), answer };
        // Both end only by a panic of the task.
        self.questions.send(question).await.map_err(|_| String::from("nobody asks the kernel any more"))?;
        answered.await.unwrap_or_else(|_| Err("the kernel was not asked to the end".into()))
    }
}

async fn answer_all(mut asked: mpsc::Receiver<SocketQuery>, asker: Asker) {
    let mut questions = Vec::new();
    while asked.recv_many(&mut questions, WAITING).await > 0 {
        for transport in [Transport::Tcp, Transport::Udp] {
            let these: Vec<_> =
                questions.extract_if(.., |question| question.check.transport == transport).collect();
            if !these.is_empty() {
                answer(transport, these, &asker).await;
            }
        }
    }
}

async fn answer(transport: Transport, questions: Vec<SocketQuery>, asker: &Asker) {
    let ports: BTreeSet<u16> = questions.iter().map(|question| question.check.port).collect();
    let all = if ports.len() > FEW { Dump::take(transport, None, asker).await.ok() } else { None };
    let mut by_port: BTreeMap<u16, io::Result<Dump>> = BTreeMap::new();
    for SocketQuery { check, answer } in questions {
        let seen = all.as_ref().map(|dump| (dump.judge(&check), dump.may_lack_some));
        let judged = match seen {
            Some((judged, may_lack_some)) if judged.is_ok() || !may_lack_some => judged,
            Some(_) | None => {
                let own = match by_port.entry(check.port) {
                    Entry::Occupied(taken) => taken.into_mut(),
                    Entry::Vacant(place) => {
                        place.insert(Dump::take(transport, Some(check.port), asker).await)
                    }
                };
                match own {
                    Ok(dump) => dump.judge(&check),
                    Err(error) => Err(cannot(error)),
                }
            }
        };
        // It may have been asked by a probe whose time is over.
        drop(answer.send(judged));
    }
}

fn cannot(error: &io::Error) -> String {
    let cause = match error.kind() {
        io::ErrorKind::NotFound => "it lacks sock_diag (modules inet_diag, tcp_diag, udp_diag)".into(),
        _ => words::io_error(error),
    };
    format!("the kernel does not say who listens: {cause}")
}

/// The listening sockets, by port.
pub(super) struct Dump {
    sockets: BTreeMap<u16, BTreeSet<Listening>>,
    /// It came in several parts, and not for one port alone.
    pub(super) may_lack_some: bool,
}

impl Dump {
    /// Asks for all sockets, or for those on one port.
    pub(super) async fn take(transport: Transport, port: Option<u16>, asker: &Asker) -> io::Result<Self> {
        let mut sockets: BTreeMap<u16, BTreeSet<Listening>> = BTreeMap::new();
        let mut may_lack_some = false;
        for family in [AF_INET, AF_INET6] {
            let pick = |message| {
                let socket = listening::answer(message)?;
                Some((socket.header.socket_id.source_port, Listening::of(&socket)))
            };
            let question = listening::request(transport, family, port);
            let (found, parts) = asker.ask(NETLINK_SOCK_DIAG, question, NLM_F_DUMP, pick).await?;
            for (port, socket) in found {
                sockets.entry(port).or_default().insert(socket);
            }
            may_lack_some |= parts > 1 && port.is_none();
        }
        Ok(Self { sockets, may_lack_some })
    }

    pub(super) fn judge(&self, check: &ListenerCheck) -> Answer {
        judge(check, self.sockets.get(&check.port).unwrap_or(&BTreeSet::new()))
    }
}

/// A socket that hears of the end of sockets without a peer, TCP and UDP of both families.
fn subscribe() -> io::Result<Netlink> {
    /// SKNLGRP_INET_TCP_DESTROY, INET_UDP, INET6_TCP, INET6_UDP (linux/sock_diag.h).
    const DESTROYED: [u32; 4] = [1, 2, 3, 4];
    /// `idiag_dport`: behind struct nlmsghdr, four octets of struct inet_diag_msg and the port of the socket itself.
    const PEER_PORT: u32 = 16 + 4 + 2;
    /// `ldh [k]`, `jeq #k`, `ret #k` of the classic packet filter.
    const LOAD: u16 = 0x28;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let netlink = Netlink::open(NETLINK_SOCK_DIAG)?;
    SockRef::from(&netlink.as_fd()).attach_filter(&[
        SockFilter::new(LOAD, 0, 0, PEER_PORT),
        SockFilter::new(IF_EQUAL, 0, 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ])?;
    for group in DESTROYED {
        netlink.join(group)?;
    }
    Ok(netlink)
}

/// Rings the subscriptions. Ends only where the kernel refuses for good: then the checks are polled.
async fn hear(mut subscribed: io::Result<Netlink>, subscriptions: Arc<Subscriptions>) {
    let everything = || subscriptions.notify_all(|topic| matches!(topic, Topic::Port(..)));
    let mut buffer = Vec::new();
    loop {
        let error = match &subscribed {
            Ok(netlink) => loop {
                match netlink.receive(&mut buffer).await {
                    Ok(()) => heard(&buffer, &subscriptions),
                    // More was told than fitted.
                    Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => {
                        everything()
                    }
                    Err(error) => break words::io_error(&error),
                }
            },
            Err(error) => match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => {
                    let cause = words::io_error(error);
                    trouble!(
                        cause,
                        "the kernel does not tell when sockets end: `listener` checks are polled"
                    );
                    return;
                }
                _ => words::io_error(error),
            },
        };
        trouble!(cause = error, "not told when sockets end: trying again");
        tokio::time::sleep(PAUSE).await;
        subscribed = subscribe();
        everything();
    }
}

fn heard(datagram: &[u8], subscriptions: &Subscriptions) {
    for message in messages::<SockDiagMessage>(datagram) {
        let Ok(NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket))) = message else {
            continue;
        };
        let port = socket.header.socket_id.source_port;
        let protocol = socket.nlas.iter().find_map(|nla| match nla {
            Nla::Protocol(protocol) => Some(*protocol),
            _ => None,
        });
        for (transport, number) in [(Transport::Tcp, IPPROTO_TCP), (Transport::Udp, IPPROTO_UDP)] {
            if protocol.is_none_or(|protocol| protocol == number) {
                subscriptions.notify(&Topic::Port(transport, port));
            }
        }
    }
}
