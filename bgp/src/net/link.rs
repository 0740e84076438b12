//! The link task: one TCP connection, its socket and the bytes that wait for it.
//!
//! ```text
//!   dial ──► run ──► close          [`Halt`] at any time: the task ends with its [`Rest`]
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::drops::Drops;
use super::sockopt;
use super::transport::TransportError;
use super::words::{close_reason, dial_error};
use crate::fsm::{CloseReason, ConnId, DialError, Endpoints, SendQueue};
use crate::transport::Transport;
use crate::wire::Peering;

/// The size of one read. Enough for four full messages.
const READ_BUFFER: usize = 16 * 1024;
/// The time-out of a closing connection, to flush its NOTIFICATION, and then to wait for the peer's close.
const LINGER: Duration = Duration::from_secs(1);

/// The time-out of a TCP connect. A little shorter than that of the machine, so that the peer task reports it and can
/// add the reason for the silence.
const CONNECT: Duration = Duration::from_millis(4_900);

/// A command of the peer task to a link.
#[derive(Debug)]
pub(super) enum Command {
    /// Write these bytes.
    Send(Bytes),
    /// Report the kernel's send queue.
    Look,
    /// Flush, then close.
    Close,
}

/// An event of a link for the peer task.
#[derive(Debug)]
pub(super) enum LinkEvent {
    Dialled(Endpoints),
    DialFailed(DialError),
    Received(Bytes),
    Sent(usize),
    Queue(SendQueue),
    Closed(CloseReason),
}

type Commands = mpsc::UnboundedReceiver<Command>;
type Events = mpsc::Sender<(ConnId, LinkEvent)>;

/// The links of a peer are asked to stop, for a freeze.
#[derive(Debug, Clone)]
pub(super) struct Halt(watch::Receiver<bool>);

impl Halt {
    /// The sender of `true` stops the links.
    pub(super) fn new() -> (watch::Sender<bool>, Self) {
        let (halt, halted) = watch::channel(false);
        (halt, Self(halted))
    }

    /// Cancel-safe.
    async fn asked(&mut self) {
        if self.0.wait_for(|halt| *halt).await.is_err() {
            // The peer task has ended, and this one will be dropped.
            std::future::pending::<()>().await;
        }
    }
}

/// A connection that goes on with the next program: its socket, and all octets that the socket has not taken.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) conn: ConnId,
    pub(super) stream: TcpStream,
    pub(super) pending: BytesMut,
    /// Commands that came in later; `None`: the connection is closing.
    pub(super) commands: Option<Commands>,
}

/// Connects, then runs the connection. An attempt is not part of the rest.
pub(super) async fn dial(
    conn: ConnId,
    (transport, peering): (Arc<Transport>, Peering),
    mut commands: Commands,
    events: Events,
    mut halt: Halt,
) -> Option<Rest> {
    let connected = tokio::select! {
        biased;
        () = halt.asked() => return None,
        connected = timeout(CONNECT, connect(&transport, peering)) => connected,
        // The only command before a connection is to give up.
        _ = commands.recv() => return None,
    };
    let error = match connected {
        Ok(Ok(stream)) => match endpoints(&stream) {
            Ok(endpoints) => {
                drop(events.send((conn, LinkEvent::Dialled(endpoints))).await);
                return run(conn, stream, BytesMut::new(), commands, events, halt).await;
            }
            Err(error) => dial_error(&error),
        },
        Ok(Err(error)) => error.into(),
        Err(_elapsed) => DialError::NoAnswer { dropped: None },
    };
    drop(events.send((conn, LinkEvent::DialFailed(error))).await);
    None
}

/// Connects to a peer as a session would, and closes the connection at once: the answer tells whether the address, the
/// port, the TTL and the key are right. Only while no speaker runs: a router takes it for the begin of a session.
///
/// # Errors
/// The error of the dial, with the packets that the kernel dropped meanwhile.
pub async fn knock(transport: &Transport, peering: Peering, patience: Duration) -> Result<(), DialError> {
    let before = Drops::read();
    let error = match timeout(patience, connect(transport, peering)).await {
        Ok(Ok(_stream)) => return Ok(()),
        Ok(Err(error)) => error.into(),
        Err(_elapsed) => DialError::NoAnswer { dropped: None },
    };
    Err(error.explained_by(|| Drops::read().ok()?.since(before.as_ref().ok()?, transport)))
}

async fn connect(transport: &Transport, peering: Peering) -> Result<TcpStream, TransportError> {
    let remote = SocketAddr::new(transport.ip(), transport.address.remote.port());
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(TransportError::Open)?;
    transport.prepare(&SockRef::from(&socket), peering)?;
    transport.authenticate(&SockRef::from(&socket))?;
    if let Some(source) = transport.address.source {
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| TransportError::Source(source, error))?;
    }
    socket.connect(remote).await.map_err(TransportError::Connect)
}

/// The two ends of `stream`. The peer task adds the host's other addresses.
pub(super) fn endpoints(stream: &TcpStream) -> io::Result<Endpoints> {
    let local = canonical(stream.local_addr()?);
    let remote = canonical(stream.peer_addr()?);
    Ok(Endpoints { local, remote, interface_addresses: Vec::new(), local_is_service: false })
}

/// Converts a v4-mapped address to IPv4; a link-local address keeps its interface.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Runs a connection until either side closes it. `pending` are octets that an earlier program has left. Every branch of
/// the select is cancel-safe: bytes that a losing branch did not read or write are still in the socket or in `pending`.
pub(super) async fn run(
    conn: ConnId,
    stream: TcpStream,
    mut pending: BytesMut,
    mut commands: Commands,
    events: Events,
    mut halt: Halt,
) -> Option<Rest> {
    // Without TCP_NODELAY a KEEPALIVE may wait for the acknowledgement of the UPDATE before it.
    if let Err(error) = stream.set_nodelay(true) {
        drop(events.send((conn, LinkEvent::Closed(close_reason(&error)))).await);
        return None;
    }
    let (mut reader, mut writer) = stream.into_split();
    let mut received = BytesMut::new();
    let mut write_error: Option<io::Error> = None;
    loop {
        received.reserve(READ_BUFFER);
        let event = tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Send(bytes)) => {
                    if write_error.is_none() {
                        pending.extend_from_slice(&bytes);
                    }
                    continue;
                }
                Some(Command::Look) => match sockopt::send_queue(&SockRef::from(writer.as_ref())) {
                    Ok(queue) => LinkEvent::Queue(queue),
                    // The next read or write will report it.
                    Err(_gone) => continue,
                },
                Some(Command::Close) => return close(conn, reader, writer, pending, halt).await,
                None => return None,
            },
            written = writer.write_buf(&mut pending), if pending.has_remaining() => match written {
                Ok(count) => LinkEvent::Sent(count),
                // The peer is gone, but its NOTIFICATION may still be in the socket, and says more than this error.
                Err(error) => {
                    pending.clear();
                    write_error = Some(error);
                    continue;
                }
            },
            read = reader.read_buf(&mut received) => match read {
                Ok(0) => LinkEvent::Closed(closed(write_error.take())),
                Ok(_) => LinkEvent::Received(received.split().freeze()),
                Err(error) => LinkEvent::Closed(close_reason(&write_error.take().unwrap_or(error))),
            },
            () = halt.asked() => match write_error.take() {
                None => return rest(conn, reader, writer, pending, Some(commands)),
                // The connection is dead.
                Some(error) => {
                    while let Ok(1..) = reader.try_read_buf(&mut received) {}
                    drop(events.send((conn, LinkEvent::Received(received.split().freeze()))).await);
                    LinkEvent::Closed(close_reason(&error))
                }
            },
        };
        let closed = matches!(event, LinkEvent::Closed(_));
        if events.send((conn, event)).await.is_err() || closed {
            return wait_for_close(conn, reader, writer, pending, commands, closed, halt).await;
        }
    }
}

/// The reason for the end of the input.
fn closed(write_error: Option<io::Error>) -> CloseReason {
    write_error.map_or(CloseReason::EndedByPeer, |error| close_reason(&error))
}

/// The rest of a connection. `None` is impossible: both halves are of one stream.
fn rest(
    conn: ConnId,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    pending: BytesMut,
    commands: Option<Commands>,
) -> Option<Rest> {
    let stream = reader.reunite(writer).ok()?;
    Some(Rest { conn, stream, pending, commands })
}

/// Waits for the `Close` of the peer task, which has ended or knows that the connection is dead.
async fn wait_for_close(
    conn: ConnId,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    mut pending: BytesMut,
    mut commands: Commands,
    dead: bool,
    mut halt: Halt,
) -> Option<Rest> {
    loop {
        let command = tokio::select! {
            command = commands.recv() => command?,
            () = halt.asked() => return None,
        };
        match command {
            Command::Send(bytes) => pending.extend_from_slice(&bytes),
            Command::Look => {}
            Command::Close if dead => return None,
            Command::Close => return close(conn, reader, writer, pending, halt).await,
        }
    }
}

/// Closes a connection whose machine is gone: an earlier program has left these octets.
pub(super) async fn finish(conn: ConnId, stream: TcpStream, pending: BytesMut, halt: Halt) -> Option<Rest> {
    let (reader, writer) = stream.into_split();
    close(conn, reader, writer, pending, halt).await
}

/// The same for a connection without a peer task.
pub(super) async fn close_at_last(mut stream: TcpStream, mut pending: BytesMut) {
    let flush = async {
        stream.write_all_buf(&mut pending).await?;
        stream.shutdown().await
    };
    if let Ok(Ok(())) = timeout(LINGER, flush).await {
        // The time-out has the same effect as the peer's close.
        drop(timeout(LINGER, drain(&mut stream)).await);
    }
}

/// Flushes, shuts down the write side, and reads the peer's remaining bytes: a close with unread bytes would send a
/// RST, and a RST may overtake the NOTIFICATION.
async fn close(
    conn: ConnId,
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut pending: BytesMut,
    mut halt: Halt,
) -> Option<Rest> {
    let flush = async {
        writer.write_all_buf(&mut pending).await?;
        writer.shutdown().await
    };
    let flushed = tokio::select! {
        flushed = timeout(LINGER, flush) => Some(flushed),
        () = halt.asked() => None,
    };
    match flushed {
        Some(Ok(Ok(()))) => {}
        Some(_given_up) => return None,
        None => return rest(conn, reader, writer, pending, None),
    }
    tokio::select! {
        // The time-out has the same effect as the peer's close.
        _ = timeout(LINGER, drain(&mut reader)) => None,
        () = halt.asked() => rest(conn, reader, writer, pending, None),
    }
}

/// Reads to the peer's close.
async fn drain(reader: &mut (impl AsyncRead + Unpin)) {
    let mut discarded = [0; 4096];
    while matches!(reader.read(&mut discarded).await, Ok(1..)) {}
}
