//! The cost of a process and its descendants: processor time and memory, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Memory;

/// USER_HZ is 100 on every architecture that Linux runs on here.
const TICK: Duration = Duration::from_millis(10);

/// What a process and its descendants have used. The difference of two is what was used in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time in the programs themselves, in steps of 10 ms.
    pub user: Duration,
    /// Processor time in the kernel on their behalf, in steps of 10 ms.
    pub system: Duration,
    /// Their proportional set sizes, summed, in KiB.
    pub proportional: u64,
}

impl Usage {
    /// Processor time, wherever.
    pub fn processor(self) -> Duration {
        self.user + self.system
    }
}

impl Sub for Usage {
    type Output = Self;

    /// The memory stays that of the later one.
    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            proportional: self.proportional,
        }
    }
}

/// What is in `/proc/PID/stat`.
struct Stat {
    parent: u32,
    user: u32,
    system: u32,
}

/// Sums over a process and its descendants. One that ends meanwhile is counted by its parent from then on.
pub(crate) fn of(root: u32) -> Result<Usage> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let name = entry.context("cannot list processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has just ended has none.
        if let Some(stat) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse) {
            stats.insert(pid, stat);
        }
    }
    stats.get(&root).with_context(|| format!("there is no process {root}"))?;
    let mut usage = Usage::default();
    for (&pid, stat) in &stats {
        if descends(&stats, pid, root) {
            usage.user += TICK * stat.user;
            usage.system += TICK * stat.system;
            usage.proportional += memory(pid).unwrap_or_default().proportional;
        }
    }
    Ok(usage)
}

/// The memory of one process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.with_context(|| format!("no {name} in {path}"))?.parse()?)
    };
    Ok(Memory { resident: field("Rss:")?, proportional: field("Pss:")? })
}

/// No chain of parents is longer than the number of processes.
fn descends(stats: &BTreeMap<u32, Stat>, pid: u32, root: u32) -> bool {
    let parent = |pid: &u32| stats.get(pid).map(|stat| stat.parent);
    std::iter::successors(Some(pid), parent).take(stats.len() + 1).any(|ancestor| ancestor == root)
}

/// The name stands in brackets and may hold anything. Fields 14 to 17 of proc(5) are the times, those of ended children last.
fn parse(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        user: ticks(11)? + ticks(13)?,
        system: ticks(12)? + ticks(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = parse("7 (a) b) S 3 7 7 0 -1 4194560 90 0 0 0 11 22 33 44 20 0 1 0 5").unwrap();
        assert_eq!((stat.parent, stat.user, stat.system), (3, 44, 66));
    }

    #[test]
    fn only_descendants_are_counted() {
        let stat = |parent| Stat { parent, user: 0, system: 0 };
        let stats = BTreeMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1))]);
        let of_two: Vec<u32> = stats.keys().copied().filter(|&pid| descends(&stats, pid, 2)).collect();
        assert_eq!(of_two, [2, 3]);
    }
}
