//! The cost of this process. A value that cannot be read is 0.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The cost of this process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// The processor time, in seconds.
    pub(super) cpu: f64,
    /// The resident memory, in bytes.
    pub(super) memory: f64,
    /// The number of open descriptors.
    pub(super) descriptors: f64,
}

impl Process {
    pub(super) fn read() -> Self {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
        Self {
            cpu: cpu.as_secs_f64(),
            memory: resident().unwrap_or_default(),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0.0, |all| all.map(|_| 1.0).sum()),
        }
    }
}

/// `VmRSS: 8192 kB` in /proc/self/status.
fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
