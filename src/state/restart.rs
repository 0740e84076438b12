//! The note between the two processes of a graceful restart: the VIPs that routers keep, and the process that it is
//! for.
//!
//! ```json
//! {"boot": "…", "process": {"id": 4711, "started": 123456}, "vips": ["192.0.2.10/32"]}
//! ```
//!
//! `execve` keeps the id of a process and its start time, so the note is only for the next process: not for a later
//! start in the same boot, if the restart failed and the note stayed.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use vipcast_node::vip::Vip;

use super::stored::Clocks;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Announced {
    boot: String,
    #[serde(default)]
    process: Option<Process>,
    pub(super) vips: BTreeSet<Vip>,
}

/// The identity of a process, unique in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    id: u32,
    /// In ticks since the boot (proc(5), `starttime`).
    started: u64,
}

impl Announced {
    /// A note for the program that replaces this one.
    pub(super) fn by_us(vips: BTreeSet<Vip>) -> io::Result<Self> {
        Ok(Self { boot: Clocks::read()?.boot, process: Some(Process::this()?), vips })
    }

    /// Whether this process wrote it before `execve`.
    pub(super) fn is_ours(&self) -> bool {
        Self::by_us(BTreeSet::new())
            .is_ok_and(|this| (&this.boot, this.process) == (&self.boot, self.process))
    }
}

impl Process {
    fn this() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let started = started(&stat).ok_or_else(|| io::Error::other("/proc/self/stat says no start time"))?;
        Ok(Self { id: std::process::id(), started })
    }
}

/// Field 22 of /proc/PID/stat. The second field, a name in parentheses, may contain any character.
fn started(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_program_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 4096 5\n";
        assert_eq!(started(stat), Some(987_654));
        assert_eq!(started("7 (a"), None);
        assert_eq!(Process::this().unwrap(), Process::this().unwrap());
    }
}
