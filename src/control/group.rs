//! The group that may use the control socket. The socket is its owner's until the group is found: it may come later than the
//! daemon (LDAP), and to look it up may hang, so that is done on a thread of its own, again and again until it is there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use nix::unistd::Group;
use tracing::{info, warn};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a start waits for the first look, so that the group can use the socket from the beginning.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends the looking when it is dropped.
#[derive(Debug)]
pub(super) struct Looking {
    _wanted: Arc<()>,
}

/// Gives the socket at `path` to `group` as soon as that is there.
pub(super) fn give(path: &Path, group: &str) -> Looking {
    let wanted = Arc::new(());
    let (first, looked) = mpsc::channel();
    let (path, group, asked) = (path.to_owned(), group.to_owned(), Arc::downgrade(&wanted));
    let looking = move || look(path, group, asked, first);
    match thread::Builder::new().name("group".into()).spawn(looking) {
        Ok(_) => {
            // Silence is told by the thread, when it ends.
            let _silent = looked.recv_timeout(PATIENCE);
        }
        Err(error) => {
            warn!(%error, "cannot look for the group of the control socket; only its owner may use it")
        }
    }
    Looking { _wanted: wanted }
}

fn look(path: PathBuf, group: String, wanted: Weak<()>, first: mpsc::Sender<()>) {
    let mut told = None;
    while wanted.strong_count() > 0 {
        let result = try_once(&path, &group);
        // Nobody waits any more for any but the first.
        let _late = first.send(());
        match result {
            Ok(()) => {
                if told.is_some() {
                    info!(group, "the group of the control socket is there");
                }
                return;
            }
            Err(cause) if told.as_ref() == Some(&cause) => {}
            Err(cause) => {
                warn!(group, reason = cause, "only the owner of the control socket may use it");
                told = Some(cause);
            }
        }
        thread::sleep(AGAIN);
    }
}

fn try_once(path: &Path, group: &str) -> Result<(), String> {
    let found =
        Group::from_name(group).map_err(|errno| format!("cannot look the group up: {}", errno.desc()))?;
    let found = found.ok_or_else(|| "there is no such group on this host (yet)".to_owned())?;
    let given = std::os::unix::fs::chown(path, None, Some(found.gid.as_raw()))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)));
    given.map_err(|error| format!("cannot give it to the group: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_missing_group_leaves_the_socket_to_its_owner_and_one_that_is_there_gets_it() {
        let path = std::env::temp_dir().join(format!("vipcast-group-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            try_once(&path, "no-such-group"),
            Err("there is no such group on this host (yet)".to_owned())
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let mine = Group::from_gid(nix::unistd::getegid()).unwrap().unwrap().name;
        let looking = give(&path, &mine);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(looking);
        fs::remove_file(&path).unwrap();
    }
}
