//! One daemon in a network namespace: whoever else runs here would take our addresses for those of a dead predecessor,
//! because the mark that they carry is the same. Why so: `docs/adr/0006`.
//!
//! The lock is a unix socket with an abstract name. Such names belong to the network namespace, whatever file systems and
//! process ids its containers have, and the kernel frees them when the process dies. They have no permissions, though, so
//! the kernel is asked who holds the name (SO_PEERCRED): only root and our own user can keep us from running.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::log::trouble;

/// The name of the lock.
const NAME: &str = "vipcast/daemon";
/// Before the next visitor is let in, when there was no descriptor for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the namespace cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Another daemon has it.
    #[error(
        "another vipcast ({who}) runs in this network namespace\nhint: one daemon may have all services; a second one \
             needs a network namespace of its own"
    )]
    Taken {
        /// Its process, or that it is in another container.
        who: String,
    },
}

/// The network namespace is ours for as long as this value lives.
#[derive(Debug)]
pub struct NamespaceLock {
    /// Owns the socket, if we have it.
    task: Option<JoinHandle<()>>,
}

impl NamespaceLock {
    /// Takes the network namespace that this thread is in. Needs a runtime.
    ///
    /// # Errors
    /// Another daemon has it. Where the lock cannot be had for another reason, that is logged, and we run without it.
    pub fn take() -> Result<Self, NamespaceError> {
        Self::take_named(NAME)
    }

    fn take_named(name: &str) -> Result<Self, NamespaceError> {
        match bind(name) {
            Ok(socket) => return Ok(Self { task: Some(tokio::spawn(show_out(socket))) }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                trouble!(%error, "cannot lock the network namespace: running without the lock");
                return Ok(Self { task: None });
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
        Ok(Self { task: None })
    }
}

impl Drop for NamespaceLock {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
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

/// Whoever looks who we are has seen it when he is connected. He is let in, because those who wait at a full door could not
/// be told from those who are kept out.
async fn show_out(socket: UnixListener) {
    loop {
        if socket.accept().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Who listens at the name. Never waits: whoever holds the name may let nobody in.
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
        assert!(first.task.is_some());
        let process = std::process::id();
        // More often than there is room for at the door.
        for _ in 0..500 {
            let error = NamespaceLock::take_named(&name).unwrap_err();
            assert_eq!(
                error.to_string().lines().next().unwrap(),
                format!("another vipcast (process {process}) runs in this network namespace")
            );
            tokio::task::yield_now().await;
        }
        drop(first);
        let again = async {
            while NamespaceLock::take_named(&name).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    }
}
