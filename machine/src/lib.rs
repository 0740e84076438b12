//! What pure state machines share: a machine takes an input and the time, `handle(input, now)`, and says when it wants to be
//! asked again, `deadline()`. It has no socket, clock, task or random source.
//!
//! * [`time`]: the time as a number.
//! * [`jitter`]: randomness from a seed.
//! * [`reason`]: reasons to drop a packet, each with a name and a counter.

pub mod jitter;
pub mod reason;
pub mod time;

pub use time::Instant;
