//! The file of the control socket: accessible only to its users from the first moment, and never replacing another
//! file.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, setfsgid};
use rustix::fs::{Mode, OFlags, fchmod, open};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::debug;
use vipcast_node::model::Control;

/// The backlog of the listening socket.
const BACKLOG: i32 = 64;

/// The reason why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// It cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Bind {
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// Another daemon answers there.
    #[error("another daemon answers on the control socket {}", path.display())]
    Taken { path: PathBuf },
    /// Something else has its name.
    #[error("cannot make the control socket {}: {what} has this name", path.display())]
    NotASocket {
        path: PathBuf,
        /// The kind of that file.
        what: &'static str,
    },
}

impl SocketError {
    /// The hint for the operator, of a daemon that only observes or one that announces.
    pub(super) fn hint(&self, observes: bool) -> Option<String> {
        let elsewhere = if observes {
            "name another path with `--socket`"
        } else {
            "name another path with `control: {socket: …}`"
        };
        Some(match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!(
                    "the user that vipcast runs as must be able to write to its directory, or {elsewhere}"
                )
            }
            Self::Bind { .. } => return None,
            Self::Taken { .. } => format!("commands with this path reach that one; {elsewhere}"),
            Self::NotASocket { .. } => format!("remove it, or {elsewhere}"),
        })
    }
}

/// The file of a socket that we have made.
#[derive(Debug, Clone)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// The file itself, even under another name: as long as it is open, no other file can get its inode number.
    held: Arc<File>,
}

/// The file with the name of our socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Ours,
    Nothing,
    Another,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        // Not by `custom_flags`: where the C library is musl, O_PATH is a part of O_ACCMODE, which they leave out.
        let held = File::from(open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
        let found = held.metadata()?;
        if !found.file_type().is_socket() {
            return Err(io::Error::other("another program has replaced it"));
        }
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino(), held: Arc::new(held) })
    }

    /// The file for the next program.
    pub(super) fn freeze(&self) -> io::Result<OwnedFd> {
        Ok(self.held.try_clone()?.into())
    }

    /// The file of the program before, unless another one has its name now. May block in the file system.
    pub(super) fn thaw(path: &Path, held: OwnedFd) -> Option<Self> {
        let held = File::from(held);
        let found = held.metadata().ok()?;
        let (device, inode) = (found.dev(), found.ino());
        let file = Self { path: path.to_owned(), device, inode, held: Arc::new(held) };
        (file.look().ok()? == Found::Ours).then_some(file)
    }

    /// Lets a group use the socket. By descriptor, because a user who may write to the directory could replace the file
    /// by a link.
    ///
    /// The owner of a file may give it to a group that the thread is in: with CAP_SETGID it joins the group for a moment,
    /// so the daemon needs no CAP_CHOWN. A unit whose own group it is may forbid the system call.
    pub(super) fn let_in(&self, group: Gid) -> io::Result<()> {
        let held = format!("/proc/self/fd/{}", self.held.as_raw_fd());
        if self.held.metadata()?.gid() != group.as_raw() {
            // It reports no error. If it was refused, the next call is, unless the group is one of the process's own.
            let before = setfsgid(group);
            let given = chown(&held, None, Some(group.as_raw()));
            setfsgid(before);
            given?;
        }
        fs::set_permissions(held, fs::Permissions::from_mode(0o660))
    }

    /// Looks at the file. May block in the file system.
    pub(super) fn look(&self) -> io::Result<Found> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(Found::Ours),
            Ok(_) => Ok(Found::Another),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Removes the file, unless another one has its name.
    pub(super) fn remove(&self) {
        let removed = match self.look() {
            Ok(Found::Ours) => fs::remove_file(&self.path),
            Ok(Found::Nothing | Found::Another) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            debug!(path = %self.path.display(), %error, "the control socket stays");
        }
    }
}

/// Makes the socket and listens, accessible only to the owner. May block in the file system.
///
/// # Errors
/// See [`SocketError`].
pub(super) fn listen(control: &Control) -> Result<(UnixListener, SocketFile), SocketError> {
    let path = &control.socket;
    let failed = |source| SocketError::Bind { path: path.clone(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // The file of `bind` gets the mode of the socket, so other users can never open it.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| failed(errno.into()))?;
    socket.bind(&SockAddr::unix(path).map_err(failed)?).map_err(failed)?;
    let file = SocketFile::at(path).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok((socket.into(), file))
}

/// Removes a socket without a listener, which a crash has left. Any other file stays.
fn make_room(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Bind { path: path.to_owned(), source };
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let what = if kind.is_socket() {
        None
    } else if kind.is_file() {
        Some("a file")
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_symlink() {
        Some("a symbolic link")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else {
        Some("a device")
    };
    if let Some(what) = what {
        return Err(SocketError::NotASocket { path: path.to_owned(), what });
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // A daemon that stands still does not accept; do not wait for it.
    probe.set_nonblocking(true).map_err(failed)?;
    match probe.connect(&SockAddr::unix(path).map_err(failed)?) {
        Ok(()) => Err(SocketError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::Taken { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipcast-socket-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        path
    }

    fn control(path: &Path) -> Control {
        Control { socket: path.to_owned(), group: None }
    }

    #[test]
    fn what_is_no_socket_is_never_deleted() {
        let directory = scratch("others");
        let path = directory.join("control.sock");
        let refused = |what: &str| {
            let error = listen(&control(&path)).unwrap_err();
            assert_eq!(
                error.hint(false).as_deref(),
                Some("remove it, or name another path with `control: {socket: …}`")
            );
            assert_eq!(
                error.to_string(),
                format!("cannot make the control socket {}: {what} has this name", path.display())
            );
            assert!(path.symlink_metadata().is_ok(), "{what} is still there");
            if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
        };
        fs::write(&path, "precious").unwrap();
        refused("a file");
        fs::create_dir(&path).unwrap();
        refused("a directory");
        std::os::unix::fs::symlink(directory.join("elsewhere"), &path).unwrap();
        refused("a symbolic link");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        refused("a pipe");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_socket_is_taken_over_from_the_dead_and_from_nobody_else() {
        let directory = scratch("taken");
        let path = directory.join("control.sock");
        let (first, file) = listen(&control(&path)).unwrap();
        let taken = listen(&control(&path)).unwrap_err();
        assert!(matches!(taken, SocketError::Taken { .. }), "{taken}");
        let hint = taken.hint(true).unwrap();
        assert!(hint.ends_with("; name another path with `--socket`"), "{hint}");
        // A daemon that stands still: nobody accepts, and the queue is full.
        let mut waiting = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let connected = client.connect(&SockAddr::unix(&path).unwrap());
            waiting.push(client);
            if connected.is_err() {
                break;
            }
        }
        let taken = listen(&control(&path)).unwrap_err();
        assert!(matches!(taken, SocketError::Taken { .. }), "{taken}");
        drop((first, waiting));
        let (_second, other) = listen(&control(&path)).unwrap();
        assert_eq!(file.look().unwrap(), Found::Another);
        file.remove();
        assert_eq!(other.look().unwrap(), Found::Ours, "what is not ours is not removed");
        other.remove();
        assert_eq!(other.look().unwrap(), Found::Nothing);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_mode_of_the_socket_is_that_of_its_users_whatever_the_umask() {
        let directory = scratch("mode");
        let path = directory.join("control.sock");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (listener, _) = listen(&control(&path)).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        let (_listener, file) = listen(&control(&path)).unwrap();
        file.let_in(nix::unistd::getegid()).unwrap();
        assert_eq!(mode(&path), 0o660);
        UnixStream::connect(&path).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_socket_is_given_to_any_group_without_the_capability_to_change_owners() {
        const GROUP: u32 = 12345;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = scratch("group");
        let (_listener, file) = listen(&control(&directory.join("control.sock"))).unwrap();
        // Capabilities are a thread's own.
        let in_a_thread = || {
            let mut ours = rustix::thread::capabilities(None).unwrap();
            ours.effective.remove(rustix::thread::CapabilitySet::CHOWN);
            rustix::thread::set_capabilities(None, ours).unwrap();
            assert_eq!(
                chown(&file.path, None, Some(GROUP)).unwrap_err().kind(),
                io::ErrorKind::PermissionDenied
            );
            file.let_in(Gid::from_raw(GROUP)).unwrap();
            // It has left the group again.
            fs::write(directory.join("later"), "").unwrap();
        };
        std::thread::scope(|scope| scope.spawn(in_a_thread).join().unwrap());
        let group = |path: &Path| fs::metadata(path).unwrap().gid();
        assert_eq!((group(&file.path), group(&directory.join("later"))), (GROUP, 0));
        fs::remove_dir_all(directory).unwrap();
    }
}
