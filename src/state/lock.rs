//! The lock of the state directory: one daemon uses it at a time.
//!
//! Only another vipcast is a reason not to start. A lock that another program holds, or that is no plain file, is set
//! aside and made anew; on a disk without locks the daemon runs without one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::file::{MODE, set_aside};

use crate::log::trouble;

/// The reason why there is no lock.
#[derive(Debug)]
pub(super) enum Unlocked {
    /// Another daemon has it; the process id that it wrote.
    Taken(String),
    /// The file system refused it.
    Disk(io::Error),
}

impl From<io::Error> for Unlocked {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Takes the lock; it is held as long as the file is open.
pub(super) fn take(path: &Path) -> Result<File, Unlocked> {
    // Each turn either gets the lock or removes an obstacle; a program that interferes must not keep us here for ever.
    for _ in 0..3 {
        let mut lock = match open(path) {
            Ok(lock) => lock,
            Err(error) if path.symlink_metadata().is_ok_and(|about| !about.is_file()) => {
                trouble!(%error, path = %path.display(), "the lock is no plain file; it is set aside");
                set_aside(path)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let about = lock.metadata()?;
                let mut pid = Vec::new();
                (&lock).take(32).read_to_end(&mut pid)?;
                let pid = String::from_utf8_lossy(&pid);
                if holders(&about).iter().all(|holder| !is_vipcast(*holder)) {
                    trouble!(path = %path.display(), "a program that is not vipcast holds the lock; it is made anew");
                    set_aside(path)?;
                    continue;
                }
                return Err(Unlocked::Taken(pid.trim().to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if !is_at(&lock, path) {
            // Another program has replaced the file meanwhile.
            continue;
        }
        lock.set_len(0)?;
        lock.rewind()?;
        // For the operator only: on a full disk the lock still holds.
        if let Err(error) = writeln!(lock, "{}", std::process::id()) {
            trouble!(%error, path = %path.display(), "cannot write the process id");
        }
        return Ok(lock);
    }
    Err(Unlocked::Disk(io::Error::other("another program keeps replacing it")))
}

/// Whether this is the file of that name.
pub(super) fn is_at(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let lock = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if !lock.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // Every user who may open it could hold it.
    lock.set_permissions(fs::Permissions::from_mode(MODE))?;
    Ok(lock)
}

/// Processes that hold a lock on the file; 0 for a process of another container, which is not visible here.
fn holders(file: &fs::Metadata) -> Vec<u32> {
    let Ok(locks) = fs::read_to_string("/proc/locks") else { return vec![0] };
    let mut holders: Vec<u32> = (locks.lines().filter_map(holder).filter(|(inode, _)| *inode == file.ino()))
        .map(|(_, pid)| pid)
        .collect();
    if holders.is_empty() {
        holders.push(0);
    }
    holders
}

/// Inode and process of a line of /proc/locks: `1: FLOCK  ADVISORY  WRITE 123 fe:00:4567 0 EOF`.
fn holder(line: &str) -> Option<(u64, u32)> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "READ" && *word != "WRITE").skip(1);
    // A lock without a process, or of another container, has a pid of 0 or below.
    let pid = words.next()?.parse().unwrap_or(0);
    let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
    Some((inode, pid))
}

/// Whether a process may be a vipcast. A process that cannot be examined may be one.
fn is_vipcast(pid: u32) -> bool {
    let program =
        |pid: &str| fs::metadata(format!("/proc/{pid}/exe")).map(|about| (about.dev(), about.ino()));
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    match (program(&pid.to_string()), program("self"), name) {
        (Ok(theirs), Ok(ours), _) if theirs == ours => true,
        (_, _, Ok(name)) => name.starts_with("vipcast"),
        (_, _, Err(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::state::tests::scratch;

    #[test]
    fn a_line_of_proc_locks_names_file_and_process() {
        assert_eq!(holder("1: FLOCK  ADVISORY  WRITE 123 fe:00:4567 0 EOF"), Some((4567, 123)));
        assert_eq!(holder("2: OFDLCK ADVISORY  READ -1 00:1b:12 0 EOF"), Some((12, 0)));
        assert_eq!(holder("3: -> FLOCK  ADVISORY  READ 9 00:1b:12 0 EOF"), Some((12, 9)));
        assert_eq!(holder("what"), None);
    }

    #[test]
    fn nobody_but_the_owner_may_hold_the_lock_whatever_mode_it_had() {
        let directory = scratch("lock-mode");
        let path = directory.join("lock");
        fs::write(&path, "1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let lock = take(&path).unwrap();
        assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_lock_that_another_program_holds_keeps_nobody_from_starting() {
        let directory = scratch("lock-foreign");
        let path = directory.join("lock");
        fs::write(&path, "1\n").unwrap();
        let mut command = Command::new("flock");
        command.args(["-s", path.to_str().unwrap(), "sh", "-c", "echo held; exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut word = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
        take(&path).unwrap();
        drop(holder.stdin.take());
        holder.wait().unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_lock_that_is_a_link_a_pipe_or_a_directory_is_set_aside_and_the_victim_is_untouched() {
        let directory = scratch("lock-kinds");
        let (path, victim) = (directory.join("lock"), directory.join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        drop(take(&path).unwrap());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(take(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        drop(take(&path).unwrap());
        fs::remove_dir_all(directory).unwrap();
    }
}
