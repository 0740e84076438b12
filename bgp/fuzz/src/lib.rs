//! The fuzz targets as plain functions: `fuzz_targets/` hands them to libFuzzer, and `bgp/tests/fuzz_replay.rs`
//! includes this file to run them without libFuzzer. See README.md.
//!
//! A target panics when something is wrong, and returns in every other case.

mod attribute;
mod bfd_packet;
mod bfd_session;
mod capability;
mod frame;
mod frozen;
mod message;
mod notification;
mod peer;
mod wrap;

pub use attribute::attribute;
pub use bfd_packet::bfd_packet;
pub use bfd_session::bfd_session;
pub use capability::capability;
pub use frame::frame;
pub use frozen::frozen;
pub use message::message;
pub use notification::notification;
pub use peer::peer;

/// One target and where it begins.
pub struct Target {
    /// Of the target, its seed files and its corpus directory.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// The inputs of this target that a whole message, header included, gives rise to.
    pub from_message: fn(&[u8]) -> Vec<Vec<u8>>,
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
            from_message: $name::from_message,
            by_hand: include_str!(concat!("../seeds/", stringify!($name), ".txt")),
            minimised: include_str!(concat!("../seeds/", stringify!($name), ".min.txt")),
        }
    };
}

/// Every target.
pub const TARGETS: [Target; 9] = [
    target!(message),
    target!(frame),
    target!(attribute),
    target!(capability),
    target!(notification),
    target!(peer),
    target!(bfd_packet),
    target!(bfd_session),
    target!(frozen),
];

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
pub fn octets(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}

/// The message in a line of the file that `VIPCAST_CORPUS` names: one JSON object with a key `hex`.
pub fn message_of_line(line: &str) -> Option<Vec<u8>> {
    let (_, value) = line.split_once(r#""hex": ""#)?;
    octets(value.split('"').next()?)
}
