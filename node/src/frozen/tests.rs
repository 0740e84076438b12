//! What was frozen, written, read and thawed goes on exactly as its twin that was not.

mod health;
#[path = "../../../bgp/src/testing.rs"]
mod testing;

pub(crate) use self::testing::{cases, damage};
