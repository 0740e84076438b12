//! Process 1 of a container is the parent of every orphan there, and must reap them: no other process can, and an
//! unreaped orphan keeps its process id for ever.
//!
//! **Thread.** One, and only as process 1; it looks at `/proc` periodically. It must not reap our own children, whose
//! exit code an exec check waits for. The check reaps them within milliseconds, so a zombie that was there at the last
//! look, seconds ago, is an orphan.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid};
use tracing::debug;

use crate::log::trouble;

/// The interval between looks; far longer than an exec check leaves its own program unreaped.
const LOOK: Duration = Duration::from_secs(5);

/// A dead process. Its id alone may be reused by the next look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Zombie {
    pid: i32,
    /// In ticks since the boot.
    started: u64,
}

/// Reaps orphans from now on, if this is process 1.
pub(super) fn adopt() {
    if getpid() != Pid::from_raw(1) {
        return;
    }
    let thread = thread::Builder::new().name("orphans".to_owned()).stack_size(128 * 1024);
    if let Err(error) = thread.spawn(reap_for_ever) {
        trouble!(%error, "orphans will not be reaped");
    }
}

fn reap_for_ever() {
    let mut seen = BTreeSet::new();
    loop {
        thread::sleep(LOOK);
        let there = zombies();
        for Zombie { pid, .. } in there.intersection(&seen) {
            match waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(status) => debug!(?status, "orphan reaped"),
                Err(error) => debug!(pid, %error, "orphan gone"),
            }
        }
        seen = there;
    }
}

/// The dead children of process 1.
fn zombies() -> BTreeSet<Zombie> {
    let Ok(processes) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let stats = processes.flatten().filter_map(|process| {
        let named_by_number = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        // A process that has gone meanwhile has no file.
        named_by_number.then(|| fs::read_to_string(process.path().join("stat")).ok()).flatten()
    });
    stats.filter_map(|stat| zombie(&stat)).collect()
}

/// Parses `stat` (proc(5)) of a dead child of process 1. The name stands in parentheses and may contain any character.
fn zombie(stat: &str) -> Option<Zombie> {
    let (pid, rest) = stat.split_once(' ')?;
    let (_name, fields) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    let is_ours = (*state, *parent) == ("Z", "1");
    is_ours.then_some(Zombie { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dead_children_of_process_1_are_orphans() {
        let stat = |state: &str, parent: u32| {
            format!(
                "77 (a) Z 1 (b) {state} {parent} 77 77 0 -1 4228108 101 0 0 0 0 0 0 0 20 0 1 0 5150 0 0 18446744073709551615"
            )
        };
        assert_eq!(zombie(&stat("Z", 1)), Some(Zombie { pid: 77, started: 5150 }));
        assert_eq!(zombie(&stat("S", 1)), None);
        assert_eq!(zombie(&stat("Z", 12)), None);
        assert_eq!(zombie("nonsense"), None);
    }
}
