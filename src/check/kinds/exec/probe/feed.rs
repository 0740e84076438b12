//! The input of a program, written as far as the program reads it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStdin;

use bytes::{Buf as _, Bytes};
use tokio::net::unix::pipe;

/// What is not written yet. The program sees its end when this is written or dropped.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: Option<pipe::Sender>,
    input: Bytes,
}

impl Feed {
    /// Writes to the writing end of a pipe, if the program has one.
    ///
    /// # Errors
    /// When it cannot be registered with the runtime.
    pub(super) fn new(pipe: Option<ChildStdin>, input: Bytes) -> io::Result<Self> {
        let pipe = pipe.map(|pipe| pipe::Sender::from_owned_fd(OwnedFd::from(pipe))).transpose()?;
        Ok(Self { pipe, input })
    }

    /// Whether there is more to write.
    pub(super) fn has_more(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits until the program reads, and writes. Cancel-safe.
    pub(super) async fn write(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let written = match pipe.writable().await {
            Ok(()) => pipe.try_write(&self.input),
            Err(error) => Err(error),
        };
        match written {
            Ok(length) => self.input.advance(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // A program need not read its input.
            Err(_) => self.input.clear(),
        }
        if self.input.is_empty() {
            self.pipe = None;
        }
    }
}
