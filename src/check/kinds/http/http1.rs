//! One request over HTTP/1.1 (RFC 9112) on its own connection. The answer is read as tolerantly as by curl ([`head`]),
//! the body only as far as the caller wants.
//!
//! Bounds: a head of 300 KiB, of which only the decisive fields are kept; a line of 100 KiB; a body piece by piece.

mod head;

use std::io;
use std::ops::Range;
use std::pin::pin;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

pub(super) use self::head::ResponseHead;
use self::head::{HeadReader, LINE, may_begin, no_http};
use crate::check::kinds::http::{Chunks, Method};
use crate::check::quoted::quoted;
use crate::check::search::{PIECE, take_more};
use crate::check::tls;

/// Longest line that says how long a chunk is, in bytes.
const SIZE_LINE: usize = 16 * 1024;

const CLOSED: &str = "connection closed before the answer";

/// A request as it goes over the wire (RFC 9112 §3), and whether its answer has a body.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) bytes: Vec<u8>,
    pub(super) has_body: bool,
}

impl RequestHead {
    /// With a body, which may be empty.
    pub(super) fn new(method: Method, path: &str, fields: &[(&HeaderName, &[u8])], body: &[u8]) -> Self {
        let length: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let mut bytes = Vec::with_capacity(method.name().len() + path.len() + length + body.len() + 14);
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
        add(&[method.name().as_bytes(), b" ", path.as_bytes(), b" HTTP/1.1\r\n"]);
        fields.iter().for_each(|(name, value)| add(&[name.as_str().as_bytes(), b": ", value, b"\r\n"]));
        add(&[b"\r\n", body]);
        Self { bytes, has_body: !matches!(method, Method::Head) }
    }
}

/// Asks a question of which so much has been said already, and gives the answer to `read`. Dropping it closes the connection.
///
/// # Errors
/// In words, or those of `read`.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send, T>(
    stream: S,
    question: RequestHead,
    said: usize,
    read: impl AsyncFnOnce(ResponseHead, ResponseBody<tokio::io::ReadHalf<S>>) -> Result<T, String>,
) -> Result<T, String> {
    let (reading, mut writing) = tokio::io::split(stream);
    let mut sending = pin!(async {
        writing.write_all(&question.bytes[said..]).await?;
        writing.flush().await
    });
    let mut answering = pin!(async {
        let (head, body) = answer(reading, question.has_body).await?;
        read(head, body).await
    });
    // A server that does not want the whole request may have answered already and closed: read its answer.
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

/// The answer to a question that was sent.
///
/// # Errors
/// In words.
pub(super) async fn answer<S: AsyncRead + Unpin>(
    stream: S,
    has_body: bool,
) -> Result<(ResponseHead, ResponseBody<S>), String> {
    let mut incoming = Incoming { stream, buffer: Vec::new(), taken: 0, is_over: false };
    let head = incoming.head().await?;
    let framing = match head.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::Length(0),
        _ if !has_body => Framing::Length(0),
        _ if head.is_chunked => Framing::Chunks(Chunk::Size),
        _ => head.length.map_or(Framing::UntilClosed, Framing::Length),
    };
    Ok((head, ResponseBody { incoming, framing }))
}

/// What comes from the server.
struct Incoming<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Of the buffer.
    taken: usize,
    is_over: bool,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    /// What has come and is not taken yet.
    fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Reads more; `false` at the end.
    async fn more(&mut self) -> Result<bool, String> {
        if self.is_over {
            return Ok(false);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let read = match take_more(&mut self.stream, &mut self.buffer, PIECE).await {
            // A server that does not say goodbye in TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(tls::io_error(&error)),
            Ok(read) => read,
        };
        self.is_over = read == 0;
        Ok(read > 0)
    }

    /// Takes a line, and says where in the buffer it is, without its end, which is CRLF or LF. `None` where the connection ends
    /// before that.
    async fn line(&mut self, longest: usize, what: &str) -> Result<Option<Range<usize>>, String> {
        let mut seen = 0;
        loop {
            let rest = self.rest();
            let end = rest[seen..].iter().position(|byte| *byte == b'\n').map(|at| seen + at);
            if end.unwrap_or(rest.len()) > longest {
                return Err(format!("{what} is longer than {} KiB", longest / 1024));
            }
            if let Some(end) = end {
                let line = &rest[..end];
                let length = line.strip_suffix(b"\r").unwrap_or(line).len();
                let begin = self.taken;
                self.taken += end + 1;
                return Ok(Some(begin..begin + length));
            }
            seen = rest.len();
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    async fn head(&mut self) -> Result<ResponseHead, String> {
        // A server of another protocol may never end a line.
        while self.rest().len() < 5 && may_begin(self.rest()) {
            if !self.more().await? {
                return Err(CLOSED.into());
            }
        }
        if !may_begin(self.rest()) {
            let end = self.rest().iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            return Err(no_http(&self.rest()[..end.unwrap_or(self.rest().len())]));
        }
        let mut reader = HeadReader::default();
        loop {
            let line = self.line(LINE, "a line in the head of the answer").await?;
            let line = line.ok_or(CLOSED)?;
            if let Some(head) = reader.line(&self.buffer[line])? {
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
pub(super) struct ResponseBody<S> {
    incoming: Incoming<S>,
    framing: Framing,
}

impl<S: AsyncRead + Unpin + Send> Chunks for ResponseBody<S> {
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        self.piece().await.transpose()
    }
}

impl<S: AsyncRead + Unpin> ResponseBody<S> {
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
                        let end = quoted(&self.incoming.buffer[end]);
                        return Err(format!("a chunk is longer than it says: {end}"));
                    }
                }
                Ok(Some(piece))
            }
            Framing::Chunks(Chunk::Size) => {
                let line = self.incoming.line(SIZE_LINE, "the size of a chunk").await?.ok_or(CLOSED)?;
                let size = size(&self.incoming.buffer[line])?;
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
        if self.incoming.rest().is_empty() && !self.incoming.more().await? {
            return Ok(None);
        }
        let there = self.incoming.rest();
        let length = usize::try_from(most).map_or(there.len(), |most| most.min(there.len()));
        let piece = Bytes::copy_from_slice(&there[..length]);
        self.incoming.taken += length;
        Ok(Some(piece))
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

/// RFC 9112 §7.1: hexadecimal digits, and extensions.
fn size(line: &[u8]) -> Result<u64, String> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let follows = rest.first().is_none_or(|first| matches!(first, b';' | b' ' | b'\t'));
    let number = str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.filter(|_| follows).ok_or_else(|| format!("a chunk without a size: {}", quoted(line)))
}
