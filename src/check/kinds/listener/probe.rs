//! `listener:` checks: any program listens on a port of this host.
//!
//! The probe asks the kernel (`monitor`), which knows all sockets of the host, and not the service. The kernel reports
//! the end of every socket on the port, and the probe asks again: with SO_REUSEPORT any socket that is left keeps the
//! check up.

mod monitor;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::check::kinds::listener::ListenerCheck;
use crate::check::limit::{Answer, Limit};
use crate::check::listening::Listening;
use crate::check::netlink::Asker;
use crate::check::subscriptions::{Subscription, Subscriptions, Topic, WhileUsed};

#[cfg(test)]
mod tests;

/// Addresses that are named in an answer; more are counted.
const NAMED: usize = 3;

/// The one who asks the kernel for all checks, and hears from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Listeners {
    monitor: Arc<WhileUsed<monitor::Sockets>>,
    subscriptions: Arc<Subscriptions>,
    asker: Asker,
}

impl Listeners {
    /// Rings when a socket on the port of this check is gone.
    pub(super) fn subscribe(&self, check: &ListenerCheck) -> Subscription {
        self.subscriptions.subscribe(Topic::Port(check.transport, check.port), self.monitor())
    }

    fn monitor(&self) -> Arc<monitor::Sockets> {
        self.monitor.get(|| monitor::Sockets::start(&self.subscriptions, &self.asker))
    }
}

/// Passes when a program listens.
pub(super) async fn probe(check: &ListenerCheck, listeners: &Listeners, limit: Limit) -> Answer {
    let monitor = listeners.monitor();
    limit.within(monitor.ask(check)).await.unwrap_or_else(|| Err(limit.exceeded("no answer of the kernel")))
}

/// What the sockets on the port of a check mean for it.
fn judge(check: &ListenerCheck, sockets: &BTreeSet<Listening>) -> Answer {
    let Some(wanted) = check.address else {
        if sockets.is_empty() {
            return Err(format!("no program listens on {} {}", check.transport, check.port));
        }
        let addresses = named(sockets, |socket| socket.address.to_string());
        return Ok(format!("a program listens on {} {} ({addresses})", check.transport, check.port));
    };
    let wanted_port = SocketAddr::new(wanted, check.port);
    let covering: BTreeSet<_> = sockets.iter().copied().filter(|socket| socket.covers(wanted)).collect();
    if covering.iter().any(|socket| socket.address == wanted) {
        return Ok(format!("a program listens on {} {wanted_port}", check.transport));
    }
    if !covering.is_empty() {
        let addresses = named(&covering, |socket| socket.address.to_string());
        return Ok(format!("a program listens on {} {wanted_port} ({addresses})", check.transport));
    }
    let nobody = format!("no program listens on {} {wanted_port}", check.transport);
    if sockets.is_empty() {
        return Err(nobody);
    }
    let others = named(sockets, |socket| {
        let others = SocketAddr::new(socket.address, check.port);
        let is_any = socket.address.is_unspecified();
        if is_any && socket.only_v6 { format!("{others} (IPv6 alone)") } else { others.to_string() }
    });
    Err(format!("{nobody}, only on {others}"))
}

/// `0.0.0.0, :: and 3 more`.
fn named(sockets: &BTreeSet<Listening>, name: impl Fn(&Listening) -> String) -> String {
    let names: Vec<_> = sockets.iter().take(NAMED).map(name).collect();
    match sockets.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
