//! A connection that speaks PostgreSQL's protocol, over TCP, a unix socket or TLS: messages out, and messages in, each within the
//! time of the probe.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::message::{self, Arriving, ServerMessage};
use crate::check::limit::Limit;
use crate::check::quoted::quoted;
use crate::check::words;

/// Read at a time, in bytes.
const READ: usize = 4096;
/// Arriving of a server that are looked at, of a whole probe: a login and a query have some thirty.
const MOST: usize = 1000;

/// A connection, with what has arrived on it.
#[derive(Debug)]
pub(super) struct Session<S> {
    stream: S,
    limit: Limit,
    messages: Arriving,
    seen: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(stream: S, limit: Limit) -> Self {
        Self { stream, limit, messages: Arriving::default(), seen: 0 }
    }

    /// # Errors
    /// In words.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), String> {
        let sent = async {
            self.stream.write_all(message).await?;
            self.stream.flush().await
        };
        let sent = self.limit.within(sent).await;
        sent.ok_or_else(|| self.limit.exceeded("not all could be sent"))?
            .map_err(|error| words::io_error(&error))
    }

    /// The next message that says something. `what` names the one that is waited for: "answer to the query".
    ///
    /// # Errors
    /// There is none, in words.
    pub(super) async fn next(&mut self, what: &str) -> Result<ServerMessage, String> {
        let mut buffer = [0; READ];
        while self.seen < MOST {
            if let Some(message) = self.messages.next()? {
                self.seen += 1;
                if message == ServerMessage::Other {
                    continue;
                }
                return Ok(message);
            }
            let read = self.limit.within(self.stream.read(&mut buffer)).await;
            match read.ok_or_else(|| self.limit.exceeded(&format!("no {what}")))? {
                Ok(0) => return Err(self.closed(what)),
                Ok(length) => self.messages.arrived(&buffer[..length]),
                Err(error) => return Err(format!("{} before the {what}", words::io_error(&error))),
            }
        }
        Err(format!("{MOST} messages and no {what}"))
    }

    fn closed(&self, what: &str) -> String {
        match self.messages.rest() {
            [] => format!("connection closed before the {what}"),
            rest => format!("connection closed before the {what}, received {}", quoted(rest)),
        }
    }

    /// Ends the session; without that the server writes of each probe that its client has vanished. The verdict is there already,
    /// so nothing depends on it.
    pub(super) async fn end(mut self) {
        let end = async {
            self.stream.write_all(&message::terminate()).await?;
            self.stream.shutdown().await
        };
        let _gone_or_not = self.limit.within(end).await;
    }
}
