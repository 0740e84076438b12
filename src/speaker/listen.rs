//! The listening addresses for peers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;
use tokio::sync::mpsc;
use tracing::debug;
use vipcast_bgp::net::Speaker;
use vipcast_node::input::Input;
use vipcast_node::model::Listen;
use vipcast_node::notice::Notice;

/// Listens on every configured address; on unavailable ones as soon as possible.
pub(super) fn listen(speaker: &mut Speaker, listen: &Listen, noticed: &mpsc::UnboundedSender<Input>) {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let everywhere = listen.addresses.is_empty();
    for ip in if everywhere { &all[..] } else { &listen.addresses } {
        let address = SocketAddr::new(*ip, listen.port);
        match speaker.listen(address) {
            Ok(bound) => debug!(address = %bound, "listening for peers"),
            // A host without IPv6.
            Err(error)
                if everywhere && ip.is_ipv6() && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            }
            Err(error) => {
                let hint = why_deaf(&error).map(str::to_owned);
                let notice = Notice::Deaf { address, error: error.to_string(), hint };
                // An error occurs only while the daemon ends.
                drop(noticed.send(Input::Noticed(notice)));
                speaker.listen_later(address, &error);
            }
        }
    }
}

/// The hint for an address that is not available.
fn why_deaf(error: &io::Error) -> Option<&'static str> {
    let hints = [
        (io::ErrorKind::AddrInUse, "another program has the port: `ss -ltnp` names it"),
        (io::ErrorKind::PermissionDenied, "a port below 1024 needs CAP_NET_BIND_SERVICE"),
        (io::ErrorKind::AddrNotAvailable, "no interface has this address"),
    ];
    hints.into_iter().find(|(kind, _)| *kind == error.kind()).map(|(_, hint)| hint)
}
