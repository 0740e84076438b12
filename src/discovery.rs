//! Discovery of routers on a link (BGP unnumbered): learns their link-local addresses from router advertisements, and
//! advertises ours in the same way, so that a router with `neighbor swp1 interface remote-as external` finds us.
//!
//! ```text
//!  router ── router advertisement ──► link task (one an interface) ── Input ──► peers: the session's address
//!         ◄── ours, with a lifetime of zero ──┘
//! ```
//!
//! A task waits for its interface, and opens a new socket when another interface gets the name. It may be dropped at
//! any await.

mod packet;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use vipcast_bgp::host::Host;
use vipcast_node::input::Input;
use vipcast_node::notice::Notice;

use self::packet::Packet;
use self::socket::LinkSocket;
use crate::blocking::Threads;

/// The interval between advertisements, like that of routers with unnumbered sessions.
const INTERVAL: Duration = Duration::from_secs(10);
/// The interval between the first advertisements, while no router is known.
const AT_FIRST: Duration = Duration::from_secs(1);
/// Solicitations in a row (RFC 4861 §10).
const SOLICITATIONS: u32 = 3;
/// The shortest interval between advertisements (RFC 4861 §10, MIN_DELAY_BETWEEN_RAS).
const LEAST: Duration = Duration::from_secs(3);
/// The pause before a socket is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// The most sockets of a link that wait for the kernel at a time.
const HANGING: usize = 2;

/// The tasks of the interfaces. Dropping it ends them.
#[derive(Debug)]
pub struct Discovery {
    tasks: BTreeMap<String, JoinHandle<()>>,
    heard: mpsc::UnboundedSender<Input>,
}

impl Discovery {
    /// No interface yet. Inputs go to `heard`.
    pub fn new(heard: mpsc::UnboundedSender<Input>) -> Self {
        Self { tasks: BTreeMap::new(), heard }
    }

    /// Listens and advertises on exactly these interfaces.
    pub fn set(&mut self, interfaces: &BTreeSet<String>, host: &watch::Receiver<Host>) {
        self.tasks.retain(|interface, task| {
            let stays = interfaces.contains(interface);
            if !stays {
                task.abort();
            }
            stays
        });
        for interface in interfaces {
            self.tasks
                .entry(interface.clone())
                .or_insert_with(|| tokio::spawn(attend(interface.clone(), host.clone(), self.heard.clone())));
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// The current interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    index: u32,
    link_layer: Option<[u8; 6]>,
    ours: BTreeSet<Ipv6Addr>,
}

/// `None`: the interface is missing, is down, or has no usable link-local address yet.
fn link(host: &Host, name: &str) -> Option<Link> {
    let (index, interface) = host.named(name).filter(|(_, interface)| interface.is_up)?;
    let mut ours = BTreeSet::new();
    for (ip, _, condition) in interface.addresses() {
        if let std::net::IpAddr::V6(v6) = ip
            && v6.is_unicast_link_local()
            && condition.is_usable()
        {
            ours.insert(v6);
        }
    }
    (!ours.is_empty()).then_some(Link { index, link_layer: interface.link_layer, ours })
}

async fn attend(name: String, mut host: watch::Receiver<Host>, heard: mpsc::UnboundedSender<Input>) {
    let (mut said, threads) = (None, Threads::new("link", HANGING));
    loop {
        let found = host.wait_for(|host| link(host, &name).is_some()).await.map(|host| link(&host, &name));
        // The speaker is gone.
        let Ok(Some(link)) = found else { return };
        if let Err(error) = serve(&threads, &name, &link, &mut host, &heard).await {
            let error = error.to_string();
            if said.as_ref() != Some(&error) {
                said = Some(error.clone());
                let notice = Notice::LinkUnheard { interface: name.clone(), error };
                // An error occurs only while the daemon ends.
                drop(heard.send(Input::Noticed(notice)));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Serves a link until it changes.
async fn serve(
    threads: &Threads,
    name: &str,
    link: &Link,
    host: &mut watch::Receiver<Host>,
    heard: &mpsc::UnboundedSender<Input>,
) -> io::Result<()> {
    let socket = LinkSocket::open(threads, name, link.index).await?;
    let (mut next, mut last, mut solicitations) = (Instant::now(), None::<Instant>, SOLICITATIONS);
    loop {
        tokio::select! {
            () = sleep_until(next) => {
                let now = Instant::now();
                socket.send(Packet::Advertisement, link.link_layer)?;
                last = Some(now);
                next = now + if solicitations > 0 { AT_FIRST } else { INTERVAL };
                if solicitations > 0 {
                    solicitations -= 1;
                    socket.send(Packet::Solicitation, link.link_layer)?;
                }
            }
            changed = host.changed() => {
                if changed.is_err() || self::link(&host.borrow_and_update(), name).as_ref() != Some(link) {
                    return Ok(());
                }
            }
            received = socket.receive() => match received? {
                (source, _) if link.ours.contains(&source) => {}
                (_, Ok(Some(Packet::Solicitation))) => {
                    next = next.min(last.map_or_else(Instant::now, |last| last + LEAST));
                }
                (router, Ok(Some(Packet::Advertisement))) => {
                    // An error occurs only while the daemon ends.
                    let _ending = heard.send(Input::Heard { interface: name.to_owned(), router });
                }
                (_, Ok(None)) => {}
                (from, Err(malformed)) => {
                    debug!(interface = name, %from, %malformed, "a packet of neighbor discovery is discarded");
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use vipcast_bgp::host::{Change, Condition};

    use super::*;

    #[test]
    fn a_link_is_ready_when_it_is_up_and_has_a_link_local_address_that_is_no_duplicate() {
        let mut host = Host::default();
        let up = |is_up| Change::Link {
            index: 2,
            name: Some("eth0".to_owned()),
            is_loopback: false,
            is_up,
            link_layer: Some([2, 0, 0, 0, 0, 1]),
        };
        let address = |is_tentative| Change::Address {
            index: 2,
            ip: "fe80::2".parse().unwrap(),
            length: 64,
            condition: Condition { is_tentative, ..Condition::default() },
        };
        let mut ready = |change| {
            host.fold(change);
            link(&host, "eth0").is_some()
        };
        assert!(!ready(up(true)));
        assert!(!ready(address(true)));
        assert!(ready(address(false)));
        assert!(!ready(up(false)));
        assert!(ready(up(true)));
        assert_eq!(link(&host, "eth1"), None);
    }
}
