//! The group that may use the control socket. The socket is its owner's until the group is found: it may come later than the
//! daemon (LDAP), and to look it up may hang, so that is done on a thread of its own, again and again until it is there.

use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use nix::unistd::Group;
use vipcast_bgp::net::words::io_error;

use super::socket::SocketFile;
use crate::log::{note, trouble};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a start waits for the first look, so that the group can use the socket from the beginning.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends the looking when it is dropped.
#[derive(Debug)]
pub(super) struct Looking {
    _wanted: Arc<()>,
}

/// Gives the socket to `group` as soon as that is there.
pub(super) fn give(socket: &SocketFile, group: &str) -> Looking {
    let wanted = Arc::new(());
    let (first, looked) = mpsc::channel();
    let (socket, group, asked) = (socket.clone(), group.to_owned(), Arc::downgrade(&wanted));
    let looking = move || look(&socket, &group, &asked, &first);
    match thread::Builder::new().name("group".into()).spawn(looking) {
        Ok(_) => {
            // Silence is told by the thread, when it ends.
            let _silent = looked.recv_timeout(PATIENCE);
        }
        Err(error) => {
            trouble!(%error, "cannot look for the group of the control socket; only its owner may use it")
        }
    }
    Looking { _wanted: wanted }
}

fn look(socket: &SocketFile, group: &str, wanted: &Weak<()>, first: &mpsc::Sender<()>) {
    let mut told = None;
    while wanted.strong_count() > 0 {
        let result = try_once(socket, group);
        // Nobody waits any more for any but the first.
        let _late = first.send(());
        match result {
            Ok(()) => {
                if told.is_some() {
                    note!(group, "the group of the control socket is there");
                }
                return;
            }
            Err(cause) if told.as_ref() == Some(&cause) => {}
            Err(cause) => {
                trouble!(group, reason = cause, "only the owner of the control socket may use it");
                told = Some(cause);
            }
        }
        thread::sleep(AGAIN);
    }
}

fn try_once(socket: &SocketFile, group: &str) -> Result<(), String> {
    let found = Group::from_name(group)
        .map_err(|errno| format!("cannot look the group up: {}", io_error(&errno.into())))?;
    let found = found.ok_or_else(|| "there is no such group on this host (yet)".to_owned())?;
    socket.let_in(found.gid).map_err(|error| format!("cannot give it to the group: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::control::socket::listen;
    use vipcast_node::model::Control;

    #[test]
    fn a_missing_group_leaves_the_socket_to_its_owner_and_one_that_is_there_gets_it() {
        let path = std::env::temp_dir().join(format!("vipcast-group-{}", std::process::id()));
        drop(fs::remove_file(&path));
        let (_listener, socket) = listen(&Control { socket: path.clone(), group: None }).unwrap();
        assert_eq!(
            try_once(&socket, "no-such-group"),
            Err("there is no such group on this host (yet)".to_owned())
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mine = Group::from_gid(nix::unistd::getegid()).unwrap().unwrap().name;
        let looking = give(&socket, &mine);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(looking);
        fs::remove_file(&path).unwrap();
    }
}
