//! The listener task: accepts, and hands each connection to the peer at the address it came from.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::Registry;

/// Pause after an error of `accept` itself, such as too many open files: it would come back at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// # Errors
/// The address is in use, not ours, or its port is privileged.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Each family has its own socket, so that IPv4 peers never appear as v4-mapped.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Accepts for ever. Dropped, it closes its socket; connections already handed over are not touched.
pub(super) async fn run(listener: TcpListener, registry: watch::Receiver<Registry>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let peer = registry.borrow().get(&from.ip().to_canonical()).cloned();
                match peer {
                    // A peer that floods us with connections loses those that its task has not come to.
                    Some(peer) => drop(peer.try_send(stream)),
                    None => debug!(%from, "connection from an address that is no peer's, closed"),
                }
            }
            Err(error) => {
                warn!(%error, "cannot accept a BGP connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
