//! A TCP connection that sends the whole request first, and then waits for the answer.
//!
//! ```text
//!   socket, connect ──► send at once ─┬─► all of it: epoll is asked for the answer ──► recv ──► close
//!                                     └─► not connected yet: epoll is asked for that first
//! ```
//!
//! On loopback, and with any server as near, the connection is made when `connect` returns, although it reports "in
//! progress"; so the request is sent without a wait. If the socket accepts only a part, the caller sends the rest.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use socket2::{SockRef, Socket};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest, ReadBuf};

use super::stream::Stream;

/// How far the caller got.
#[derive(Debug)]
pub(super) enum Said {
    /// Everything is said.
    All(Answering),
    /// This number of bytes was sent; the caller writes the rest.
    Part(Stream, usize),
}

/// A connection on which the answer is to come.
#[derive(Debug)]
pub(super) struct Answering(AsyncFd<TcpStream>);

/// Connects a socket that does not block, and says `words` on it.
///
/// # Errors
/// The connection failed. A connected client that cannot send has no error here: the answer may have the reason.
pub(super) async fn say(socket: Socket, to: SocketAddr, words: &[u8]) -> io::Result<Said> {
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    let socket = TcpStream::from(socket);
    match (&socket).write(words) {
        Ok(said) if said == words.len() => Ok(Said::All(Answering(watched(socket, Interest::READABLE)?))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Box::pin(when_connected(socket, words)).await
        }
        said => part(socket, said),
    }
}

async fn when_connected(socket: TcpStream, words: &[u8]) -> io::Result<Said> {
    let waiting = watched(socket, Interest::READABLE | Interest::WRITABLE)?;
    let said = waiting.async_io(Interest::WRITABLE, |mut socket| socket.write(words)).await;
    match said {
        Ok(said) if said == words.len() => Ok(Said::All(Answering(waiting))),
        said => part(waiting.into_inner(), said),
    }
}

#[expect(deprecated, reason = "a socket of its own is all that its unsafe successor asks for")]
fn watched(socket: TcpStream, interest: Interest) -> io::Result<AsyncFd<TcpStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// The service has closed already, or does not take it all at once.
fn part(socket: TcpStream, said: io::Result<usize>) -> io::Result<Said> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    let said = match said {
        Err(error) if !matches!(error.kind(), BrokenPipe | ConnectionReset) => return Err(error),
        said => said.unwrap_or(0),
    };
    Ok(Said::Part(Stream::Tcp(tokio::net::TcpStream::from_std(socket)?), said))
}

impl Answering {
    /// Where it comes from and goes to.
    pub(super) fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.0.get_ref().local_addr()?, self.0.get_ref().peer_addr()?))
    }
}

impl AsyncRead for Answering {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            if let Ok(read) = ready.try_io(|socket| socket.get_ref().read(room)) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The port is free again at once, and neither end has anything left to wait for: probes are many.
impl Drop for Answering {
    fn drop(&mut self) {
        // A socket that it cannot be set on has no connection any more.
        let _closed_as_usual = SockRef::from(self.0.get_ref()).set_linger(Some(std::time::Duration::ZERO));
    }
}
