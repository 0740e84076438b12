//! `listener`: a program listens on a port of this host.

mod probe;
mod read;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use self::probe::Listeners;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::subscriptions::Subscription;
use crate::check::target::Transport;
use crate::config::keys::section::section;
use crate::config::keys::shape::{IP, number, section};

const PROTOCOL: &str = "the protocol is a key, and the port its value: `tcp: 8080` or `udp: 53`";

section! {
    KEYS("listener", "under `listener`").exactly_one_of(&[&["tcp", "udp"]]).instead(&[("port", PROTOCOL), ("protocol", PROTOCOL)]) {
        /// a TCP port with a listener; or
        tcp: number(1, 65535) => required();
        /// a UDP port with an open, unconnected socket
        udp: number(1, 65535) => required();
        /// the address of the socket; a wildcard socket covers every address of its family, and `::` also IPv4 unless
        /// it is IPv6-only
        address: IP => written("IP address") default("any") called(&["host", "ip", "neighbor", "remote_address"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a program listens on a port of this host
    listener: section(&KEYS), [&KEYS], read::read
}
.local()
.told_by("the kernel");

/// `listener: {tcp: 8080}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerCheck {
    /// TCP or UDP.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// The address that has to be listened on, by itself or by a wildcard; `None`: any.
    pub address: Option<IpAddr>,
}

impl Definition for ListenerCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Local
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((self.transport, self.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        let listeners = shared.of_kind(Listeners::default);
        let subscription = listeners.subscribe(&self);
        Box::new(ListenerProbe { listeners, subscription, check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct ListenerProbe {
    check: Arc<ListenerCheck>,
    listeners: Arc<Listeners>,
    subscription: Subscription,
}

impl Probe for ListenerProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move { probe::probe(&self.check, &self.listeners, attempt.limit()).await })
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.subscription.notified())
    }
}
