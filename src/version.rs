//! The version of this program.

use serde::{Deserialize, Serialize};

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of the hand-over at a graceful restart: blocked signals, and the note in the state directory. It is
/// raised when that changes, and a program takes over from every number up to its own.
const TAKES_OVER: u32 = 1;

/// The output of `vipcast version --json`, which a graceful restart reads from the next program.
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
}

impl Identity {
    /// This program.
    pub fn ours() -> Self {
        let commit = commit().map(str::to_owned);
        Self { name: "vipcast".to_owned(), version: VERSION.to_owned(), commit, takes_over: TAKES_OVER }
    }

    /// Whether it can take over from this program.
    pub fn follows_us(&self) -> bool {
        self.takes_over >= TAKES_OVER
    }
}

/// The commit that it was built from; `None` in a build from an archive.
pub fn commit() -> Option<&'static str> {
    Some(env!("VIPCAST_COMMIT")).filter(|commit| !commit.is_empty())
}
