//! A D-Bus client that can only call methods with strings, receive signals, and be given descriptors (`docs/adr/0004`).

pub(crate) mod wire;

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

use self::wire::{Arguments, BusMessage, MethodCall, decode};

#[cfg(test)]
pub(crate) mod tests;

/// The longest line of the authentication.
const LONGEST_LINE: usize = 512;
/// What is read at a time, at least.
const CHUNK: usize = 4096;
/// Until the other end has to take what we write, and to let us in.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// The most descriptors that are kept until somebody takes them, and that come at a time.
const DESCRIPTORS: usize = 4;
/// The bus itself.
const BUS: MethodCall<'_> = MethodCall {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

/// A connection to a bus, or to one program alone.
#[derive(Debug)]
pub(crate) struct BusConnection {
    stream: UnixStream,
    /// What has come and was not read yet: less than one message, and what came with it.
    received: Vec<u8>,
    serial: u32,
    /// Descriptors that have come and were not taken yet; `None`: none may come.
    descriptors: Option<VecDeque<OwnedFd>>,
    /// Whether there is a bus between us, which needs the destination of calls and the match rules of signals.
    is_bus: bool,
}

impl BusConnection {
    /// Logs in as the user that we are.
    ///
    /// # Errors
    /// We are not let in, or it takes too long.
    pub(crate) async fn over(stream: UnixStream) -> io::Result<Self> {
        Self::begin_in_time(stream, None).await
    }

    /// The same, and answers may have descriptors.
    ///
    /// # Errors
    /// We are not let in, the other end passes no descriptors, or it takes too long.
    pub(crate) async fn with_descriptors(stream: UnixStream) -> io::Result<Self> {
        Self::begin_in_time(stream, Some(VecDeque::new())).await
    }

    async fn begin_in_time(stream: UnixStream, descriptors: Option<VecDeque<OwnedFd>>) -> io::Result<Self> {
        let begun = tokio::time::timeout(PATIENCE, Self::begin(stream, descriptors)).await;
        begun.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn begin(stream: UnixStream, descriptors: Option<VecDeque<OwnedFd>>) -> io::Result<Self> {
        let negotiates = descriptors.is_some();
        let mut connection = Self { stream, received: Vec::new(), serial: 0, descriptors, is_bus: true };
        let user: String =
            nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let negotiation = if negotiates { "NEGOTIATE_UNIX_FD\r\n" } else { "" };
        // BEGIN goes along, as systemd's own clients do it: were it to come in one piece with the first message, systemd would
        // look at that only when more comes.
        connection.write(format!("\0AUTH EXTERNAL {user}\r\n{negotiation}BEGIN\r\n").as_bytes()).await?;
        if !connection.line().await?.starts_with("OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if negotiates && connection.line().await? != "AGREE_UNIX_FD\r\n" {
            return Err(io::Error::other("the bus passes no descriptors"));
        }
        connection.is_bus = connection.ask(&BUS, &[]).await?.is_ok();
        Ok(connection)
    }

    /// Calls a method; returns the number that its answer will have.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn call(&mut self, method: &MethodCall<'_>, arguments: &[&str]) -> io::Result<u32> {
        // Zero is not allowed.
        self.serial = self.serial.wrapping_add(1).max(1);
        let method = MethodCall { destination: method.destination.filter(|_| self.is_bus), ..*method };
        let message = wire::call(self.serial, &method, arguments);
        self.write(&message).await?;
        Ok(self.serial)
    }

    /// Calls a method, and waits a second for its answer; `Err` inside: the name of its error. Other messages are dropped.
    ///
    /// # Errors
    /// The connection is broken, or there is no answer.
    pub(crate) async fn ask(
        &mut self,
        method: &MethodCall<'_>,
        arguments: &[&str],
    ) -> io::Result<Result<Arguments, String>> {
        let wanted = self.call(method, arguments).await?;
        let answer = async {
            loop {
                match self.next().await? {
                    BusMessage::Return { serial, body } if serial == wanted => return Ok(Ok(body)),
                    BusMessage::Error { serial, name } if serial == wanted => return Ok(Err(name)),
                    BusMessage::Return { .. }
                    | BusMessage::Error { .. }
                    | BusMessage::Signal { .. }
                    | BusMessage::Other => {}
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether a program has this name on the bus. Asking starts none.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub(crate) async fn has_owner(&mut self, name: &str) -> io::Result<bool> {
        let answer = self.ask(&MethodCall { member: "NameHasOwner", ..BUS }, &[name]).await?;
        Ok(answer.is_ok_and(|body| body.boolean() == Some(true)))
    }

    /// Wants to hear of the signals that this rule picks, where that has to be said.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn hear(&mut self, rule: &str) -> io::Result<()> {
        if self.is_bus {
            self.call(&MethodCall { member: "AddMatch", ..BUS }, &[rule]).await?;
        }
        Ok(())
    }

    /// The next message.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken, or the other end does not speak D-Bus.
    pub(crate) async fn next(&mut self) -> io::Result<BusMessage> {
        loop {
            if let Some((message, length)) = decode(&self.received).map_err(io::Error::other)? {
                self.received.drain(..length);
                return Ok(message);
            }
            self.read().await?;
        }
    }

    /// The oldest descriptor that came with a message and was not taken yet.
    pub(crate) fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.as_mut()?.pop_front()
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|octets| octets == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.received.len() > LONGEST_LINE {
                return Err(io::Error::other(wire::WireError::NotDbus));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        let Some(descriptors) = &mut self.descriptors else {
            self.received.reserve(CHUNK);
            return match self.stream.read_buf(&mut self.received).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            };
        };
        let mut chunk = [0; CHUNK];
        let (length, new) =
            self.stream.async_io(Interest::READABLE, || receive(&self.stream, &mut chunk)).await?;
        self.received.extend(&chunk[..length]);
        // Only those that somebody waits for are kept.
        descriptors.extend(new);
        descriptors.truncate(DESCRIPTORS);
        match length {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Reads what is there, with its descriptors.
fn receive(stream: &UnixStream, chunk: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(chunk)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    Ok((got.bytes, rights.flatten().collect()))
}
