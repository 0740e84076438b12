//! The fuzz targets as plain functions: `fuzz_targets/` hands them to libFuzzer, and `vrrp/tests/fuzz_replay.rs`
//! includes this file to run them without libFuzzer. See README.md.
//!
//! A target panics when something is wrong, and returns in every other case.

mod instance;
mod packet;

pub use instance::instance;
pub use packet::packet;

/// One target and where it begins.
pub struct Target {
    /// Of the target, its seed files and its corpus directory.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// Inputs chosen by hand, and all findings.
    by_hand: &'static str,
    /// The smallest set with the coverage of long runs; written by `corpus pack`.
    minimised: &'static str,
}

macro_rules! target {
    ($name:ident) => {
        Target {
            name: stringify!($name),
            run: $name::$name,
            by_hand: include_str!(concat!("../seeds/", stringify!($name), ".txt")),
            minimised: include_str!(concat!("../seeds/", stringify!($name), ".min.txt")),
        }
    };
}

/// Every target.
pub const TARGETS: [Target; 2] = [target!(packet), target!(instance)];

impl Target {
    /// The saved inputs: one a line in hexadecimal, blanks between octets and comments behind `#` at will.
    pub fn seeds(&self) -> impl Iterator<Item = Vec<u8>> {
        let lines = self.by_hand.lines().chain(self.minimised.lines());
        lines.filter_map(|line| {
            let digits: String = line.split('#').next().into_iter().flat_map(str::split_whitespace).collect();
            (!digits.is_empty()).then(|| octets(&digits).unwrap_or_else(|| panic!("{}: {line}", self.name)))
        })
    }
}

/// Octets from hexadecimal digits, `None` when they are something else.
fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}
