//! The group that may use the control socket. Only the owner may use the socket until the group is found: the group may
//! appear later than the daemon (LDAP), and its look-up may hang, so a separate thread looks for it again and again.

use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use nix::unistd::Group;
use vipcast_bgp::net::words::io_error;

use super::socket::SocketFile;
use crate::log::{note, trouble};

/// The interval between two look-ups.
const AGAIN: Duration = Duration::from_secs(2);
/// The longest wait of a start for the first look-up, so that the group can use the socket from the beginning.
const PATIENCE: Duration = Duration::from_secs(1);

/// Dropping it ends the search.
#[derive(Debug)]
pub(super) struct Looking {
    _wanted: Arc<()>,
}

/// Gives the socket to `group` as soon as it exists.
pub(super) fn give(socket: &SocketFile, group: &str) -> Looking {
    let wanted = Arc::new(());
    let (first, looked) = mpsc::channel();
    let (socket, group, asked) = (socket.clone(), group.to_owned(), Arc::downgrade(&wanted));
    let looking = move || look(&socket, &group, &asked, &first);
    match thread::Builder::new().name("group".into()).spawn(looking) {
        Ok(_) => {
            // After a time-out the thread reports by itself.
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
        // Only the first look-up has a waiting caller.
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
