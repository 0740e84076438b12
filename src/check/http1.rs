//! One request over HTTP/1.1 (RFC 9112) on a connection of its own, and an answer that is read as tolerantly as curl does
//! ([`head`]); of the body so much as is asked for.
//!
//! Bounds: a head of 300 KiB, of which nothing stays but what decides; a line of 100 KiB; a body piece by piece.

mod head;

use std::io;
use std::pin::pin;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf};

pub(super) use self::head::Head;
use self::head::{LINE, Reader, may_begin, no_http};
use super::http::Chunks;
use super::pattern::quoted;
use super::tls;

/// Room for the beginning of an answer, in bytes: a thousand servers may be silent at a time.
const FIRST: usize = 1024;
/// Read at a time from then on, in bytes.
const PIECE: usize = 8 * 1024;
/// Longest line that says how long a chunk is, in bytes.
const SIZE_LINE: usize = 16 * 1024;

const CLOSED: &str = "connection closed before the answer";

/// Sends a request with a body, which may be empty, and gives the answer to `read`. Dropping it closes the connection.
///
/// # Errors
/// In words, or those of `read`.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send, T>(
    stream: S,
    request: Request<()>,
    body: Bytes,
    read: impl AsyncFnOnce(Head, Body<S>) -> Result<T, String>,
) -> Result<T, String> {
    let has_body = request.method() != hyper::Method::HEAD;
    let question = [written(&request), body.to_vec()].concat();
    let (reading, mut writing) = tokio::io::split(stream);
    let mut sending = pin!(async {
        writing.write_all(&question).await?;
        writing.flush().await
    });
    let mut answering = pin!(async {
        let mut incoming = Incoming { stream: reading, buffer: BytesMut::new(), is_over: false };
        let head = incoming.head().await?;
        let framing = match head.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Length(0),
            _ if !has_body => Framing::Length(0),
            _ if head.is_chunked => Framing::Chunks(Chunk::Size),
            _ => head.length.map_or(Framing::UntilClosed, Framing::Length),
        };
        read(head, Body { incoming, framing }).await
    });
    // Who does not want the whole request may have answered already, and closed: that is told by the answer.
    tokio::select! {
        biased;
        answer = &mut answering => answer,
        sent = &mut sending => {
            let answer = answering.await;
            match (answer, sent) {
                (Err(cause), Err(error)) if cause == CLOSED => Err(tls::io_error(&error)),
                (answer, _) => answer,
            }
        }
    }
}

/// RFC 9112 §3.
fn written(request: &Request<()>) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut text = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// What comes from the server.
struct Incoming<S> {
    stream: ReadHalf<S>,
    buffer: BytesMut,
    is_over: bool,
}

impl<S: AsyncRead + AsyncWrite> Incoming<S> {
    /// Reads more; `false` at the end.
    async fn more(&mut self) -> Result<bool, String> {
        if self.is_over {
            return Ok(false);
        }
        self.buffer.reserve(if self.buffer.capacity() == 0 { FIRST } else { PIECE });
        let read = match self.stream.read_buf(&mut self.buffer).await {
            // A server that does not say goodbye in TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(tls::io_error(&error)),
            Ok(read) => read,
        };
        self.is_over = read == 0;
        Ok(read > 0)
    }

    /// A line without its end, which is CRLF or LF. `None` where the connection ends before that.
    async fn line(&mut self, longest: usize, what: &str) -> Result<Option<BytesMut>, String> {
        let mut seen = 0;
        loop {
            let end = self.buffer[seen..].iter().position(|byte| *byte == b'\n');
            if end.map_or(self.buffer.len(), |at| seen + at) > longest {
                return Err(format!("{what} is longer than {} KiB", longest / 1024));
            }
            if let Some(at) = end {
                let mut line = self.buffer.split_to(seen + at + 1);
                line.truncate(line.len() - 1);
                if line.last() == Some(&b'\r') {
                    line.truncate(line.len() - 1);
                }
                return Ok(Some(line));
            }
            seen = self.buffer.len();
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    async fn head(&mut self) -> Result<Head, String> {
        // Who speaks something else may never end a line.
        while self.buffer.len() < 5 && may_begin(&self.buffer) {
            if !self.more().await? {
                return Err(CLOSED.into());
            }
        }
        if !may_begin(&self.buffer) {
            let end = self.buffer.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            return Err(no_http(&self.buffer[..end.unwrap_or(self.buffer.len())]));
        }
        let mut reader = Reader::default();
        loop {
            let line = self.line(LINE, "a line in the head of the answer").await?;
            let line = line.ok_or(CLOSED)?;
            if let Some(head) = reader.line(&line)? {
                return Ok(head);
            }
        }
    }
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// So many bytes are to come.
    Length(u64),
    Chunks(Chunk),
    UntilClosed,
}

/// Where in a body of chunks the next byte is.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// Before the line with a size.
    Size,
    /// Within a chunk of which so much is to come.
    Data(u64),
    /// Behind the last.
    Over,
}

/// A body that arrives in pieces.
pub(super) struct Body<S> {
    incoming: Incoming<S>,
    framing: Framing,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Chunks for Body<S> {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        self.piece().await.transpose()
    }
}

impl<S: AsyncRead + AsyncWrite> Body<S> {
    async fn piece(&mut self) -> Result<Option<Bytes>, String> {
        const CLOSED: &str = "connection closed";
        match self.framing {
            Framing::Length(0) | Framing::Chunks(Chunk::Over) => Ok(None),
            Framing::Length(left) => {
                let piece = self.some(left).await?.ok_or(CLOSED)?;
                self.framing = Framing::Length(left - length_of(&piece));
                Ok(Some(piece))
            }
            Framing::UntilClosed => self.some(u64::MAX).await,
            Framing::Chunks(Chunk::Data(left)) => {
                let piece = self.some(left).await?.ok_or(CLOSED)?;
                let left = left - length_of(&piece);
                self.framing = Framing::Chunks(if left == 0 { Chunk::Size } else { Chunk::Data(left) });
                if left == 0 {
                    let end = self.incoming.line(SIZE_LINE, "the end of a chunk").await?.ok_or(CLOSED)?;
                    if !end.is_empty() {
                        return Err(format!("a chunk is longer than it says: {}", quoted(&end)));
                    }
                }
                Ok(Some(piece))
            }
            Framing::Chunks(Chunk::Size) => {
                let line = self.incoming.line(SIZE_LINE, "the size of a chunk").await?.ok_or(CLOSED)?;
                let size = size(&line)?;
                self.framing = Framing::Chunks(if size == 0 { Chunk::Over } else { Chunk::Data(size) });
                if size == 0 {
                    self.trailers().await?;
                    return Ok(None);
                }
                Ok(Some(Bytes::new()))
            }
        }
    }

    /// What is there, at most so much. `None` at the end of the connection.
    async fn some(&mut self, most: u64) -> Result<Option<Bytes>, String> {
        if self.incoming.buffer.is_empty() && !self.incoming.more().await? {
            return Ok(None);
        }
        let there = self.incoming.buffer.remaining();
        let length = usize::try_from(most).map_or(there, |most| most.min(there));
        Ok(Some(self.incoming.buffer.split_to(length).freeze()))
    }

    /// Fields behind the last chunk, which decide nothing.
    async fn trailers(&mut self) -> Result<(), String> {
        let mut taken = 0;
        loop {
            let line = self.incoming.line(LINE, "a trailer").await?.ok_or("connection closed")?;
            taken += line.len() + 2;
            if line.is_empty() {
                return Ok(());
            }
            if taken > head::TOTAL {
                return Err(format!("the trailers are longer than {} KiB", head::TOTAL / 1024));
            }
        }
    }
}

fn length_of(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

/// RFC 9112 §7.1: hexadecimal digits, and whatever follows them.
fn size(line: &[u8]) -> Result<u64, String> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let follows = rest.first().is_none_or(|first| matches!(first, b';' | b' ' | b'\t'));
    let number = str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.filter(|_| follows).ok_or_else(|| format!("a chunk without a size: {}", quoted(line)))
}
