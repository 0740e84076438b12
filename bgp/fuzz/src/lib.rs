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

use std::{env, fs, io};

pub use attribute::attribute;
pub use bfd_packet::bfd_packet;
pub use bfd_session::bfd_session;
pub use capability::capability;
pub use frame::frame;
pub use frozen::frozen;
pub use message::message;
pub use notification::notification;
pub use peer::peer;

/// One target, and where its inputs come from.
pub struct Target {
    /// The target and its saved inputs.
    pub target: vipcast_fuzz::Target,
    /// The inputs of this target that a whole message, header included, gives rise to.
    pub from_message: fn(&[u8]) -> Vec<Vec<u8>>,
}

macro_rules! target {
    ($name:ident) => {
        Target { target: vipcast_fuzz::target!($name), from_message: $name::from_message }
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
    /// The inputs in the messages of the file that `VIPCAST_CORPUS` names; none without it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn seen(&self) -> io::Result<Vec<Vec<u8>>> {
        let Some(path) = env::var_os("VIPCAST_CORPUS") else { return Ok(Vec::new()) };
        let seen = fs::read_to_string(path)?;
        Ok(seen
            .lines()
            .filter_map(message_of_line)
            .flat_map(|message| (self.from_message)(&message))
            .collect())
    }
}

/// The message in a line of the file that `VIPCAST_CORPUS` names: one JSON object with a key `hex`.
fn message_of_line(line: &str) -> Option<Vec<u8>> {
    let (_, value) = line.split_once(r#""hex": ""#)?;
    vipcast_fuzz::octets(value.split('"').next()?)
}
