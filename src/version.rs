//! Which program this is.

use serde::{Deserialize, Serialize};

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a program can take over at a graceful restart: blocked signals, and what the state directory says of the process
/// before it. It grows when that changes, and a program takes over from every number that is not above its own.
const TAKES_OVER: u32 = 1;

/// What `vipcast version --json` prints, and what a graceful restart asks of the program that is to follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `vipcast`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    #[serde(default)]
    pub commit: Option<String>,
    /// From which programs it can take over.
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
