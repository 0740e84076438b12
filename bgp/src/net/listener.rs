//! The listener task: accepts, and hands each connection to the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::gate::Gate;
use super::notices::Notices;
use super::words::io_error;
use crate::notice::Notice;

/// The pause after an error of `accept` itself, such as too many open files, which would repeat at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The pause between two attempts to get a port that another program has.
const LISTEN_RETRY: Duration = Duration::from_secs(1);
/// Of the errors of `accept` in a row the first is reported, then every hundredth, after ten seconds.
const TOLD: u32 = 100;

/// A bound socket that does not listen yet: the gate must know it first.
///
/// The address need not be on this host yet (IP_FREEBIND).
///
/// # Errors
/// The port is in use or privileged, or the host lacks the address family.
pub(super) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Each family has its own socket, so that IPv4 peers never appear as v4-mapped.
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A listening socket, registered with the gate.
///
/// # Errors
/// As [`bind`].
pub(super) fn open(address: SocketAddr, gate: &Gate) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    gate.listen(address, &socket)?;
    TcpListener::from_std(socket.into())
}

/// A listening socket that the gate knows.
///
/// # Errors
/// The system has no more descriptors.
pub(super) fn resume(address: SocketAddr, socket: Socket, gate: &Gate) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.try_clone()?.into())?;
    gate.resume_listener(address, socket);
    Ok(listener)
}

/// Tries until it can listen, and then accepts for ever; `trouble` has the error until then. May be dropped at any
/// await.
pub(super) async fn open_later(
    address: SocketAddr,
    gate: Arc<Gate>,
    notices: Notices,
    trouble: watch::Sender<Option<String>>,
) {
    loop {
        tokio::time::sleep(LISTEN_RETRY).await;
        match open(address, &gate) {
            Ok(listener) => {
                trouble.send_replace(None);
                notices.tell(Notice::Listens { address });
                return run(listener, gate, notices).await;
            }
            Err(error) => {
                trouble.send_replace(Some(io_error(&error)));
            }
        }
    }
}

/// Accepts for ever. Dropping it closes its socket; connections that were handed over go on.
pub(super) async fn run(listener: TcpListener, gate: Arc<Gate>, notices: Notices) {
    let mut errors: u32 = 0;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                errors = 0;
                gate.enter(stream, from);
            }
            Err(error) => {
                if errors.is_multiple_of(TOLD) {
                    notices.tell(Notice::NotAccepted { error: error.to_string() });
                }
                errors = errors.wrapping_add(1);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
