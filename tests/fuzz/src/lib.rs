//! What the fuzz targets of all crates share. A package `CRATE/fuzz/` has the targets as plain functions, for libFuzzer;
//! `CRATE/tests/fuzz_replay.rs` includes them, and replays them with nothing installed.
//!
//! ```text
//!  seeds/TARGET.txt, TARGET.min.txt ──► Target::seeds ─┬─► replay: each once, then mutations of them
//!        ▲                                             └─► corpus unpack ─► corpus/TARGET/* ─► libFuzzer ─┐
//!        └──────────────────────────────── corpus pack ◄──────────────────────────────────────────────────┘
//! ```

pub mod corpus;
mod replay;

pub use replay::Replay;

/// One target and where it begins.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of the target, its seed files and its corpus directory.
    pub name: &'static str,
    /// Tries one input. It panics when something is wrong, and returns in every other case.
    pub run: fn(&[u8]),
    /// The texts of its seed files: those chosen by hand and all findings, and the smallest set with the coverage of
    /// long runs, which `corpus pack` writes.
    pub saved: [&'static str; 2],
}

/// The target that is the function `name` of the module `name`, with its files in `seeds/`.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::Target {
            name: stringify!($name),
            run: $name::$name,
            saved: [
                include_str!(concat!("../seeds/", stringify!($name), ".txt")),
                include_str!(concat!("../seeds/", stringify!($name), ".min.txt")),
            ],
        }
    };
}

impl Target {
    /// The saved inputs: one a line in hexadecimal, blanks between octets and comments behind `#` at will.
    ///
    /// # Panics
    /// A line is something else.
    pub fn seeds(&self) -> impl Iterator<Item = Vec<u8>> {
        self.saved.into_iter().flat_map(str::lines).filter_map(|line| {
            let digits: String = line.split('#').next().into_iter().flat_map(str::split_whitespace).collect();
            (!digits.is_empty()).then(|| octets(&digits).unwrap_or_else(|| panic!("{}: {line}", self.name)))
        })
    }
}

/// Octets from hexadecimal digits, `None` when they are something else.
pub fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}
