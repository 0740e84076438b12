//! The listener task: accepts, and hands each connection to the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::warn;

use super::gate::Gate;

/// Pause after an error of `accept` itself, such as too many open files: it would come back at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Errors of `accept` in a row are logged at the first and then once in so many, ten seconds.
const LOGGED: u32 = 100;

/// A bound socket that does not listen yet: nobody is let in before the gate knows it.
///
/// # Errors
/// The address is in use, not ours, or its port is privileged.
pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Each family has its own socket, so that IPv4 peers never appear as v4-mapped.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepts for ever. Dropped, it closes its socket; connections already handed over are not touched.
pub(super) async fn run(listener: TcpListener, gate: Arc<Gate>) {
    let mut errors: u32 = 0;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                errors = 0;
                gate.enter(stream, from);
            }
            Err(error) => {
                if errors.is_multiple_of(LOGGED) {
                    warn!(%error, "cannot accept a BGP connection");
                }
                errors = errors.wrapping_add(1);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
