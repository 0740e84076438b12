//! The frozen form of a node: what a program hands to the next one, so that a hand-over sends nothing, resets nothing and
//! forgets nothing (I13).
//!
//! ```text
//!   Node ──── freeze ──► frozen::Node ────┐                    ┌──► thaw ──► Thawed { node, peers, out }
//!   Health ── freeze ──► frozen::Health ──┴─ any serde format ─┴──► thaw ──► Health
//! ```
//!
//! The format follows the rules of [`vipcast_bgp::frozen`]: structs of its own, an enum with one variant for each version,
//! absolute times of CLOCK_MONOTONIC, durations in nanoseconds, no field that may be absent, unknown fields refused. A
//! released version never changes. ADR 0017 says for each part of a node whether it is frozen, drawn anew, or asked anew.
//!
//! # The thaw
//!
//! Frozen are facts, histories and the actual state. Verdicts and the desired state are decided again from these and the
//! configuration, and the plan is the difference: nothing, if program and configuration are the same. With another
//! configuration it is what a reload would do.

mod digest;
pub mod engine;
pub mod health;
pub mod node;
pub mod overrides;
pub mod peers;
#[cfg(test)]
pub(crate) mod tests;
pub mod verdict;

pub use vipcast_bgp::frozen::Error;
pub(crate) use vipcast_bgp::frozen::{agree, ahead, mirror, nanos, past};

pub(crate) use self::digest::{of_debug, text_of};
pub use self::health::Health;
pub use self::node::Node;

/// A counter with room to count on.
pub(crate) fn count(count: u32, field: &'static str) -> Result<u32, Error> {
    if count <= u32::MAX / 2 { Ok(count) } else { Err(Error::Range(field)) }
}
