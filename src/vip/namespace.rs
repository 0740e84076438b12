//! The lock for one daemon in a network namespace: a second daemon would take our addresses for those of a dead
//! predecessor, because the mark is the same. See `docs/adr/0006`.
//!
//! The lock is a unix socket with an abstract name. Such names belong to the network namespace, across containers with
//! other file systems and process ids, and the kernel frees them when the process dies. They have no permissions, so
//! the kernel's SO_PEERCRED identifies the holder: only root and our own user can keep us from running.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::log::trouble;

/// The name of the lock.
const NAME: &str = "vipcast/daemon";
/// The pause after a failed accept, when descriptors are short.
const PAUSE: Duration = Duration::from_secs(1);

/// The reason why the namespace cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Another daemon has the lock.
    #[error(
        "another vipcast ({who}) runs in this network namespace\nhint: one daemon may have all services; a second one \
             needs a network namespace of its own"
    )]
    Taken {
        /// The other process, or "in another container".
        who: String,
    },
}

/// The lock of the network namespace, held as long as this value lives.
#[derive(Debug)]
pub struct NamespaceLock {
    /// The socket and the task that accepts, if we have it.
    held: Option<(Arc<UnixListener>, JoinHandle<()>)>,
}

impl NamespaceLock {
    /// Locks the network namespace of this thread. Needs a runtime.
    ///
    /// # Errors
    /// Another daemon has the lock. Any other failure is logged, and the daemon runs without the lock.
    pub fn take() -> Result<Self, NamespaceError> {
        Self::take_named(NAME)
    }

    fn take_named(name: &str) -> Result<Self, NamespaceError> {
        match bind(name) {
            Ok(socket) => return Ok(Self::holding(socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                trouble!(%error, "cannot lock the network namespace: running without the lock");
                return Ok(Self { held: None });
            }
        }
        match holder(name) {
            Ok(holder) if holder.uid() == 0 || holder.uid() == nix::unistd::geteuid().as_raw() => {
                let who = match holder.pid() {
                    0 => "in another container".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(NamespaceError::Taken { who });
            }
            Ok(holder) => {
                let (pid, uid) = (holder.pid(), holder.uid());
                trouble!(
                    pid,
                    uid,
                    "a process that is no vipcast holds the lock of this network namespace: running without it"
                );
            }
            Err(error) => {
                trouble!(%error, "cannot tell who holds the lock of this network namespace: running without it");
            }
        }
        Ok(Self { held: None })
    }

    fn holding(socket: UnixListener) -> Self {
        let socket = Arc::new(socket);
        let task = tokio::spawn(show_out(Arc::clone(&socket)));
        Self { held: Some((socket, task)) }
    }

    /// The lock for the next program; `None`: we run without it. The name stays taken all the time.
    pub(crate) fn freeze(&self) -> Option<OwnedFd> {
        let (socket, _) = self.held.as_ref()?;
        match socket.as_fd().try_clone_to_owned() {
            Ok(socket) => Some(socket),
            Err(error) => {
                trouble!(%error, "the lock of the network namespace is taken anew after the upgrade");
                None
            }
        }
    }

    /// The lock of the program before. Needs a runtime.
    ///
    /// # Errors
    /// As [`Self::take`], if there is none.
    pub(crate) fn thaw(handed: Option<OwnedFd>) -> Result<Self, NamespaceError> {
        match handed.map(|socket| UnixListener::from_std(socket.into())) {
            Some(Ok(socket)) => Ok(Self::holding(socket)),
            Some(Err(_)) | None => Self::take(),
        }
    }
}

impl Drop for NamespaceLock {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.held {
            task.abort();
        }
    }
}

fn bind(name: &str) -> io::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(name)?;
    let socket = std::os::unix::net::UnixListener::bind_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// Accepts and closes connections. A daemon that connects identifies us by the connection itself; without the accept it
/// could not distinguish a full backlog from a refusal.
async fn show_out(socket: Arc<UnixListener>) {
    loop {
        if socket.accept().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The process that listens at the name. Never waits: the holder may not accept.
fn holder(name: &str) -> io::Result<UnixCredentials> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_daemon_is_refused_and_told_who_is_there_until_the_first_is_gone() {
        let name = format!("vipcast/test-{}", std::process::id());
        let first = NamespaceLock::take_named(&name).unwrap();
        assert!(first.held.is_some());
        let process = std::process::id();
        // More connections than the backlog holds.
        for _ in 0..500 {
            let error = NamespaceLock::take_named(&name).unwrap_err();
            assert_eq!(
                error.to_string().lines().next().unwrap(),
                format!("another vipcast (process {process}) runs in this network namespace")
            );
            tokio::task::yield_now().await;
        }
        // The next program has it, and no moment is without it.
        let handed = first.freeze();
        assert!(handed.is_some());
        drop(first);
        tokio::task::yield_now().await;
        let second = NamespaceLock::thaw(handed).unwrap();
        assert!(NamespaceLock::take_named(&name).is_err());
        drop(second);
        let again = async {
            while NamespaceLock::take_named(&name).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    }
}
