//! Captures the output of a program: enough of it to quote, and the rest is read and dropped, so that the program does
//! not block. A program that writes without end is read slowly, so that it does not keep this thread busy.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::unix::pipe;

use crate::check::words;

/// Kept of each stream, in bytes.
const KEPT: usize = 4 * 1024;
/// Read of each stream as fast as it comes, in bytes; from then on a pipe full at a time.
const AT_ONCE: usize = 1024 * 1024;
/// The pause between two of those reads: 32 MiB a second, for less than a hundredth of this thread.
const PAUSE: Duration = Duration::from_millis(2);
/// The capacity of a pipe, pipe(7).
const PIPE: usize = 64 * 1024;

/// Which part of the stream is kept, and which line of it is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The beginning, and the first line.
    First,
    /// The end, and the last line.
    Last,
}

/// One stream of a program.
#[derive(Debug)]
pub(super) struct Capture {
    pipe: Option<pipe::Receiver>,
    keep: Keep,
    kept: Vec<u8>,
    read: usize,
}

impl Capture {
    /// Reads from the reading end of a pipe.
    ///
    /// # Errors
    /// When it cannot be registered with the runtime.
    pub(super) fn new(pipe: OwnedFd, keep: Keep) -> io::Result<Self> {
        Ok(Self { pipe: Some(pipe::Receiver::from_owned_fd(pipe)?), keep, kept: Vec::new(), read: 0 })
    }

    /// Whether there may be more to read.
    pub(super) fn wants_more(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits until there is something, and takes it. Cancel-safe: nothing is taken before it is stored.
    pub(super) async fn read(&mut self) {
        if self.read >= AT_ONCE {
            tokio::time::sleep(PAUSE).await;
        }
        let Some(pipe) = &self.pipe else { return };
        match pipe.readable().await {
            Ok(()) if self.read >= AT_ONCE => self.take(&mut vec![0; PIPE]),
            Ok(()) => self.take(&mut [0; KEPT]),
            Err(_) => self.pipe = None,
        }
    }

    /// Takes the available output without waiting, and closes the pipe, even if a process still holds the other end.
    pub(super) fn drain(&mut self) {
        // Past tokio, which learns only at its next turn that there is something to read.
        let Some(Ok(pipe)) = self.pipe.take().map(pipe::Receiver::into_nonblocking_fd) else { return };
        let mut pipe = File::from(pipe);
        let mut buffer = [0; KEPT];
        let mut left = AT_ONCE;
        // A process that has left the group may write for ever.
        while left > 0 {
            match pipe.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    left = left.saturating_sub(length);
                    self.store(&buffer[..length]);
                }
            }
        }
    }

    /// The line to quote; `None` when the program wrote nothing.
    pub(super) fn line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let mut lines = text.lines().map(words::one_line).filter(|line| !line.is_empty());
        match self.keep {
            Keep::First => lines.next(),
            Keep::Last => lines.next_back(),
        }
    }

    fn take(&mut self, buffer: &mut [u8]) {
        let Some(pipe) = &self.pipe else { return };
        match pipe.try_read(buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => self.store(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }

    fn store(&mut self, bytes: &[u8]) {
        self.read = self.read.saturating_add(bytes.len());
        match self.keep {
            Keep::First => {
                let room = KEPT - self.kept.len();
                self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Keep::Last => {
                self.kept.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
                self.kept.drain(..self.kept.len().saturating_sub(KEPT));
            }
        }
    }
}
