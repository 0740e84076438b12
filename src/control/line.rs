//! A connection of a client, which shows at any time whether the client is still there.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// One end of a connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Stream>);

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl From<UnixStream> for Line {
    fn from(stream: UnixStream) -> Self {
        Self(Arc::new(Stream::Unix(stream)))
    }
}

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(Stream::Tcp(stream)))
    }
}

/// Calls a method of the stream, which both kinds have.
macro_rules! of {
    ($line:expr, $stream:ident => $call:expr) => {
        match &*$line.0 {
            Stream::Unix($stream) => $call,
            Stream::Tcp($stream) => $call,
        }
    };
}

impl Line {
    /// Waits until the client has sent something, or has gone.
    pub(super) async fn readable(&self) -> io::Result<()> {
        of!(self, stream => stream.readable().await)
    }

    /// Whether the client has closed its end, and no longer waits for an answer. Known at once, even right after its
    /// request was read.
    pub(super) fn is_gone(&self) -> bool {
        let fd = of!(self, stream => stream.as_fd());
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let asked = poll(&mut fds, Some(&now));
        asked.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(of!(self, stream => stream.poll_read_ready(context)))?;
            match of!(self, stream => stream.try_read(buffer.initialize_unfilled())) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(of!(self, stream => stream.poll_write_ready(context)))?;
            match of!(self, stream => stream.try_write(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(of!(self, stream => stream.poll_write_ready(context)))?;
            match of!(self, stream => stream.try_write_vectored(slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Without it hyper copies each answer to put it behind its head, and answers are shared.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Clones may live a moment longer, and the client must not wait for them.
        let fd = of!(self, stream => stream.as_fd());
        Poll::Ready(socket2::SockRef::from(&fd).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_client_that_closed_is_gone_although_its_request_can_still_be_read() {
        let (client, server) = UnixStream::pair().unwrap();
        let (mut client, mut line) = (client, Line::from(server));
        client.write_all(b"drain").await.unwrap();
        assert!(!line.is_gone(), "it waits for an answer");
        drop(client);
        assert!(line.is_gone());
        let mut request = String::new();
        line.read_to_string(&mut request).await.unwrap();
        assert_eq!(request, "drain");
    }

    #[tokio::test]
    async fn a_client_that_only_ended_its_request_is_not_gone() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut line = Line::from(server);
        client.shutdown().await.unwrap();
        assert!(!line.is_gone());
        line.write_all(b"done").await.unwrap();
        line.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "done");
    }
}
