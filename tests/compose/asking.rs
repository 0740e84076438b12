//! The client's questions: what `ask.sh` prints, a line a second.

use anyhow::{Context, Result, ensure};
use vipcast_lab::Process;

const NODES: [&str; 2] = ["node-a", "node-b"];

/// A running `ask.sh`.
pub(crate) struct Asking(Process);

impl Asking {
    pub(crate) fn new(process: Process) -> Self {
        Self(process)
    }

    /// Whether in the last second exactly these nodes answered, and nothing was lost.
    pub(crate) fn last_answers(&self, nodes: &[&str]) -> Result<()> {
        let log = self.0.log();
        let line = log.lines().rfind(|line| line.contains("lost: ")).context("nothing was asked yet")?;
        for node in NODES {
            ensure!(line.contains(node) == nodes.contains(&node), "{line}");
        }
        ensure!(line.ends_with("lost: 0"), "{line}");
        Ok(())
    }

    /// How many requests had no answer so far.
    pub(crate) fn lost(&self) -> Result<u32> {
        let log = self.0.log();
        let counts = log.lines().filter_map(|line| line.rsplit_once("lost: "));
        counts.map(|(_, count)| Ok(count.parse::<u32>()?)).sum()
    }

    pub(crate) fn log(&self) -> String {
        self.0.log()
    }
}
