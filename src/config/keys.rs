//! Every key of the configuration, stated once: what it holds, whether it must be there, what holds without it, what it means,
//! and what other programs call it.
//!
//! From these come the lists that unknown keys are compared with (`unknown`), the tables of the reference ([`table`]), and the
//! JSON Schema ([`schema`]). A new key is an item here and its use in the reader.
//!
//! ```text
//!   section! { … } ─┬─► what a reader may take, and what an unknown key was meant to be
//!                   ├─► docs/config.md, docs/checks.md
//!                   └─► `vipcast schema`
//! ```

mod check;
mod hook;
mod node;
mod peer;
pub mod schema;
pub(crate) mod section;
mod service;
pub(crate) mod shape;
pub mod table;
mod unknown;

pub(crate) use self::check::*;
pub(crate) use self::hook::*;
pub(crate) use self::node::*;
pub(crate) use self::peer::*;
use self::section::{Key, Section};
pub(crate) use self::service::*;
use self::shape::Shape;
use crate::check::kinds::KINDS;
use crate::config::read::pattern::PATTERN;

/// The sections that are stated here; each kind of check brings its own.
static STATED: [&Section; 25] = [
    &TOP,
    &DROP_IN,
    &CONTROL,
    &API,
    &METRICS,
    &EVENTS,
    &HOOK,
    &LOG,
    &SHUTDOWN,
    &LISTEN,
    &PEER,
    &PEER_DEFAULTS,
    &NEXT_HOP,
    &TCP_AO,
    &GRACEFUL_RESTART,
    &BFD,
    &CHECK,
    &PATTERN,
    &LATENCY,
    &ERRORS,
    &HOLD_DOWN,
    &SERVICE,
    &CONDITION,
    &ANNOUNCE,
    &DEMOTED,
];

/// Every section.
fn all() -> impl Iterator<Item = &'static Section> {
    STATED.into_iter().chain(KINDS.iter().flat_map(|kind| kind.sections.iter().copied()))
}
