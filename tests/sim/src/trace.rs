//! The events of the world, a line each, for people and for golden files.

use vipcast_bgp::Instant;

use crate::words::shown;

/// The lines so far; nothing is written while it is off.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether anything is written down.
    pub on: bool,
    /// The lines.
    pub lines: Vec<String>,
}

impl Trace {
    /// Writes a line, if anything is.
    pub fn tell(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.on {
            self.lines.push(format!("{:>8} {}", shown(now - Instant::BOOT), line()));
        }
    }
}
