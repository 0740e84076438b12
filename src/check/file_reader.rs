//! Looks at files, which may hang: a look blocks, and on the mount of a dead NFS server it blocks for ever and cannot
//! be interrupted. This holds for every path, including the path of a socket.
//!
//! So looks run on the runtime's pool of blocking threads, within the bounds of [`Lanes`]: those of one service never
//! wait for those of another. The thread, not the probe, holds the slot. A look that hangs fails its own check until it
//! returns, and never takes a second thread.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::Semaphore;

use super::lanes::{Bounds, Lanes, Slot};
use super::limit::Limit;
use super::pool::{self, NoResult};

#[cfg(test)]
mod tests;

/// FileReader at the same time.
pub(super) const READS: Bounds = Bounds { of_one: 8, most: 128 };

/// Bounds how many looks there are at a time. Clones share the bounds.
#[derive(Debug, Clone)]
pub(super) struct FileReader(Lanes);

impl Default for FileReader {
    fn default() -> Self {
        Self(Lanes::new(READS))
    }
}

/// Free while no look of this check hangs.
#[derive(Debug)]
pub(super) struct LastRead(Arc<Semaphore>);

impl Default for LastRead {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The owner of the look.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileAccess<'a> {
    /// Bounded with all others.
    pub(super) file_reader: &'a FileReader,
    /// Of this check.
    pub(super) last: &'a LastRead,
    /// The service that it is for.
    pub(super) owner: &'a str,
}

impl FileReader {
    /// Waits for the turn of a service to do what blocks, for as long as the slot is kept. Cancel-safe.
    pub(super) async fn turn(&self, owner: &str) -> Slot {
        self.0.slot(owner).await
    }
}

impl FileAccess<'_> {
    /// What `look`, which blocks, sees at `path`.
    ///
    /// Cancel-safe: the look goes on by itself, and frees its place when it comes back.
    ///
    /// # Errors
    /// In words, when it does not come back within the limit.
    pub(super) async fn at<T: Send + 'static>(
        &self,
        path: &Path,
        limit: Limit,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let Ok(alone) = Arc::clone(&self.last.0).try_acquire_owned() else {
            let path = path.display();
            return Err(format!("the last look at {path} has not come back: the file system hangs"));
        };
        let Some(turn) = limit.within(self.file_reader.turn(self.owner)).await else {
            let others = match self.file_reader.0.is_full(self.owner) {
                true => format!("{} other files of this service hang", READS.of_one),
                false => format!("{} files of other services hang", READS.most),
            };
            return Err(limit.exceeded(&format!("{others}, and none came back")));
        };
        match limit.within(pool::run((alone, turn), look)).await {
            Some(Ok(seen)) => Ok(seen),
            Some(Err(NoResult::Panicked)) => Err(format!("looking at {} panicked", path.display())),
            Some(Err(NoResult::NoThread)) => Err("this host has no thread left to look at files".to_owned()),
            None => Err(limit.exceeded("the file system did not answer")),
        }
    }
}

/// Connects to the socket at `path`. Blocks during the look-up of the path, not until the server accepts.
///
/// # Errors
/// Nobody listens there, or too many wait to be accepted.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}
