//! Our BGP identifier if the configuration lacks one: the address that the host uses towards the first peer.
//!
//! At boot the address or the route may appear after the start of the daemon, so this module waits for it. No packet is
//! sent to find it, and the identifier is the same after every start.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use vipcast_bgp::net::clock;
use vipcast_node::input::Input;
use vipcast_node::model::{Config, Peer};
use vipcast_node::notice::Notice;
use vipcast_node::vip::Vip;

/// The interval between two looks.
const AGAIN: Duration = Duration::from_millis(500);
/// The wait for the first peer's route, before that of another peer is used.
const FIRST: Duration = Duration::from_secs(10);

/// The reason why the identifier is not known.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Kernel(#[from] io::Error),
    #[error("the host would use {0}, a VIP that other nodes also have")]
    Vip(IpAddr),
}

/// The identifier; `None`: it goes to `told` when it is known, with notices until then. Without peers it is not needed.
pub(super) fn find(config: &Config, told: &mpsc::UnboundedSender<Input>) -> Option<Ipv4Addr> {
    if config.router_id.is_some() {
        return config.router_id;
    }
    let vips: BTreeSet<IpAddr> = config
        .services
        .values()
        .flat_map(|service| &service.vips)
        .filter(|vip| vip.is_host())
        .map(Vip::ip)
        .collect();
    // A configuration with peers has one of these, or a `router_id`.
    let ipv4 = |peer: &&Peer| peer.address.ip().is_some_and(|ip| ip.is_ipv4());
    let peers: Vec<Peer> = config.peers.values().filter(ipv4).cloned().collect();
    let first = peers.first()?;
    match towards(first, &vips) {
        Ok(router_id) => Some(router_id),
        Err(error) => {
            let notice = Notice::NoIdentity { towards: first.address.ip(), error: error.to_string() };
            // An error occurs only while the daemon ends.
            let _ending = told.send(Input::Noticed(notice));
            let told = told.clone();
            tokio::spawn(async move {
                let began = clock::now();
                loop {
                    sleep(AGAIN).await;
                    let patient = clock::now() - began < FIRST;
                    let candidates = if patient { peers.get(..1).unwrap_or_default() } else { &peers };
                    if let Some(router_id) = candidates.iter().find_map(|peer| towards(peer, &vips).ok()) {
                        // An error occurs only while the daemon ends.
                        let _ending = told.send(Input::Identified(router_id));
                        return;
                    }
                }
            });
            None
        }
    }
}

/// Our address towards a peer, chosen by the kernel.
fn towards(peer: &Peer, vips: &BTreeSet<IpAddr>) -> Result<Ipv4Addr, Unknown> {
    let local = match peer.source_address {
        Some(source) => source,
        None => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let ip = peer.address.ip().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
            socket.connect(SocketAddr::new(ip, peer.port))?;
            socket.local_addr()?.ip()
        }
    };
    match local {
        local if vips.contains(&local) => Err(Unknown::Vip(local)),
        IpAddr::V4(router_id) => Ok(router_id),
        // A source address has the family of its peer.
        IpAddr::V6(_) => Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into()),
    }
}
