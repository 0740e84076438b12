//! One daemon in a network namespace: whoever else runs here would take our addresses for those of a dead predecessor,
//! because the mark that they carry is the same. Why so: `docs/adr/0006`.
//!
//! The lock is a unix socket with an abstract name. Such names belong to the network namespace, whatever file systems and
//! process ids its containers have, and the kernel frees them when the process dies. They have no permissions, though, so
//! the kernel is asked who holds the name (SO_PEERCRED): only root and our own user can keep us from running.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};

/// The name of the lock.
const NAME: &str = "vipcast/daemon";

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
    _socket: Option<UnixListener>,
}

impl NamespaceLock {
    /// Takes the network namespace that this thread is in.
    ///
    /// # Errors
    /// Another daemon has it. Where the lock cannot be had for another reason, that is logged, and we run without it.
    pub fn take() -> Result<Self, NamespaceError> {
        Self::take_named(NAME)
    }

    fn take_named(name: &str) -> Result<Self, NamespaceError> {
        let bound = SocketAddr::from_abstract_name(name).and_then(|name| {
            UnixListener::bind_addr(&name).map_err(|error| (error, name)).map_or_else(
                |(error, name)| if is_taken(&error) { holder(&name).map(Err) } else { Err(error) },
                |socket| Ok(Ok(socket)),
            )
        });
        match bound {
            Ok(Ok(socket)) => return Ok(Self { _socket: Some(socket) }),
            Ok(Err(holder)) if holder.uid() == 0 || holder.uid() == nix::unistd::geteuid().as_raw() => {
                let who = match holder.pid() {
                    0 => "in another container".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(NamespaceError::Taken { who });
            }
            Ok(Err(holder)) => {
                let (pid, uid) = (holder.pid(), holder.uid());
                tracing::warn!(
                    pid,
                    uid,
                    "a process that is no vipcast holds the lock of this network namespace: running without it"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "cannot lock the network namespace: running without the lock");
            }
        }
        Ok(Self { _socket: None })
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Who has bound the name.
fn holder(name: &SocketAddr) -> io::Result<UnixCredentials> {
    let socket = UnixStream::connect_addr(name)?;
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_refused_and_told_who_is_there_until_the_first_is_gone() {
        let name = format!("vipcast/test-{}", std::process::id());
        let first = NamespaceLock::take_named(&name).unwrap();
        assert!(first._socket.is_some());
        let error = NamespaceLock::take_named(&name).unwrap_err();
        let process = std::process::id();
        assert_eq!(
            error.to_string().lines().next().unwrap(),
            format!("another vipcast (process {process}) runs in this network namespace")
        );
        drop(first);
        assert!(NamespaceLock::take_named(&name).unwrap()._socket.is_some());
    }
}
