//! The sockets of the API, and who connects to them: a user on the control socket, an address over TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use vipcast_bgp::net::words::io_error;

use super::crowd::Whose;
use super::line::Line;
use crate::log::{note, trouble};

/// The interval between attempts to listen.
const AGAIN: Duration = Duration::from_secs(5);
/// The queue of connections that are not accepted yet.
const BACKLOG: i32 = 1024;
/// The longest time for which a client may acknowledge nothing.
const DEAD: Duration = Duration::from_secs(30);

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// The client of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Client {
    /// A user of this host, from the kernel.
    User(UCred),
    /// Anybody who can reach us; reads only.
    Address(IpAddr),
}

impl Client {
    /// The one whose share of the connections it takes.
    pub(super) fn whose(self) -> Whose {
        match self {
            Self::User(credentials) => Whose::User(credentials.uid()),
            Self::Address(address) => Whose::Address(address),
        }
    }
}

impl Listener {
    /// The socket for the next program, with the connections that wait in its queue.
    pub(super) fn into_descriptor(self) -> io::Result<OwnedFd> {
        Ok(match self {
            Self::Unix(listener) => listener.into_std()?.into(),
            Self::Tcp(listener) => listener.into_std()?.into(),
        })
    }

    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Client, Line)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Client::User(stream.peer_cred()?), stream.into()))
            }
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_user_timeout(Some(DEAD))?;
                Ok((Client::Address(address.ip().to_canonical()), stream.into()))
            }
        }
    }
}

/// Listens on a TCP address, with the socket of the program before if there is one, and tries again until that succeeds:
/// no route depends on it.
pub(super) async fn listen(
    endpoint: SocketAddr,
    mut handed: Option<OwnedFd>,
    listeners: mpsc::Sender<Listener>,
) {
    let mut told = None;
    loop {
        let listener = match handed.take() {
            Some(socket) => TcpListener::from_std(socket.into()),
            None => bind(endpoint),
        };
        match listener {
            Ok(listener) => {
                if told.is_some() {
                    note!(socket = %endpoint, "the API listens");
                }
                // The server may be gone.
                drop(listeners.send(Listener::Tcp(listener)).await);
                return;
            }
            Err(error) => {
                let cause = io_error(&error);
                if told.as_ref() != Some(&cause) {
                    trouble!(socket = %endpoint, cause, "the API does not listen; it is tried again every {AGAIN:?}");
                }
                told = Some(cause);
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
