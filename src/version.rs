//! The version of this program.

use serde::{Deserialize, Serialize};
use vipcast_node::jobs::Program;

use crate::handover::Version;

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of the hand-over at a graceful restart: blocked signals, and the note in the state directory. It is
/// raised when that changes, and a program takes over from every number up to its own.
const TAKES_OVER: u32 = 1;

/// The output of `vipcast version --json`, which an upgrade and a graceful restart read from the next program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `vipcast`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, if known.
    #[serde(default)]
    pub commit: Option<String>,
    /// The highest hand-over version that it supports.
    #[serde(default)]
    pub takes_over: u32,
    /// The versions of the form of a hand-over (`handover::form`) that it reads and writes; empty in a program from before upgrades.
    #[serde(default)]
    pub hands_over: Vec<u32>,
}

impl Identity {
    /// This program.
    pub fn ours() -> Self {
        let commit = commit().map(str::to_owned);
        Self {
            name: "vipcast".to_owned(),
            version: VERSION.to_owned(),
            commit,
            takes_over: TAKES_OVER,
            hands_over: Version::ALL.map(Version::number).to_vec(),
        }
    }

    /// This program, as the node knows programs.
    pub fn program() -> Program {
        Program { version: VERSION.to_owned(), commit: commit().map(str::to_owned) }
    }

    /// Whether it can take over from this program in a graceful restart.
    pub fn takes_over(&self) -> bool {
        self.takes_over >= TAKES_OVER
    }

    /// The form of a hand-over to it; `None`: it knows none that this program knows.
    pub(crate) fn form(&self) -> Option<Version> {
        Version::for_reader_of(&self.hands_over)
    }
}

/// The commit that it was built from; `None` in a build from an archive.
pub fn commit() -> Option<&'static str> {
    Some(env!("VIPCAST_COMMIT")).filter(|commit| !commit.is_empty())
}
