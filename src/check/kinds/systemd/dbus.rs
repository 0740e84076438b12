//! A D-Bus client that can only call methods with strings and receive signals (`docs/adr/0004`).

pub(super) mod wire;

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use self::wire::{BusMessage, MethodCall, decode};
use crate::check::file_reader::{self, FileAccess};
use crate::check::limit::Limit;

#[cfg(test)]
pub(super) mod tests;

/// The longest line of the authentication.
const LONGEST_LINE: usize = 512;
/// What is read at a time, at least.
const CHUNK: usize = 4096;
/// Until the other end has to take what we write, and to let us in.
const PATIENCE: Duration = Duration::from_secs(1);
/// The bus itself.
const BUS: MethodCall<'_> = MethodCall {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

/// A connection to a bus, or to one program alone.
#[derive(Debug)]
pub(super) struct BusConnection {
    stream: UnixStream,
    /// What has come and was not read yet: less than one message, and what came with it.
    received: Vec<u8>,
    serial: u32,
    /// Whether there is a bus between us, which needs the destination of calls and the match rules of signals.
    is_bus: bool,
}

impl BusConnection {
    /// Connects as the user that we are.
    ///
    /// # Errors
    /// Nobody listens there, we are not let in, or it takes too long.
    pub(super) async fn open(path: &Path, reader: FileAccess<'_>) -> io::Result<Self> {
        let socket = path.to_owned();
        let connected =
            reader.at(path, Limit::starting_now(PATIENCE), move || file_reader::connect(&socket)).await;
        let stream = UnixStream::from_std(connected.map_err(io::Error::other)??)?;
        tokio::time::timeout(PATIENCE, Self::begin(stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn begin(stream: UnixStream) -> io::Result<Self> {
        let mut connection = Self { stream, received: Vec::new(), serial: 0, is_bus: true };
        let user: String =
            nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        // BEGIN goes along, as systemd's own clients do it: were it to come in one piece with the first message, systemd would
        // look at that only when more comes.
        connection.write(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes()).await?;
        if !connection.line().await?.starts_with("OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let hello = connection.call(&BUS, &[]).await?;
        loop {
            match connection.next().await? {
                BusMessage::Return { serial, .. } if serial == hello => break,
                BusMessage::Error { serial, .. } if serial == hello => {
                    connection.is_bus = false;
                    break;
                }
                BusMessage::Return { .. }
                | BusMessage::Error { .. }
                | BusMessage::Signal { .. }
                | BusMessage::Other => {}
            }
        }
        Ok(connection)
    }

    /// Calls a method; returns the number that its answer will have.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn call(&mut self, method: &MethodCall<'_>, arguments: &[&str]) -> io::Result<u32> {
        // Zero is not allowed.
        self.serial = self.serial.wrapping_add(1).max(1);
        let method = MethodCall { destination: method.destination.filter(|_| self.is_bus), ..*method };
        let message = wire::call(self.serial, &method, arguments);
        self.write(&message).await?;
        Ok(self.serial)
    }

    /// Wants to hear of the signals that this rule picks, where that has to be said.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) async fn hear(&mut self, rule: &str) -> io::Result<()> {
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
    pub(super) async fn next(&mut self) -> io::Result<BusMessage> {
        loop {
            if let Some((message, length)) = decode(&self.received).map_err(io::Error::other)? {
                self.received.drain(..length);
                return Ok(message);
            }
            self.read().await?;
        }
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
        self.received.reserve(CHUNK);
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
