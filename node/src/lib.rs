//! A vipcast node as a pure machine: no socket, clock, task, file or random source of its own.
//!
//! ```text
//!  Input, Now ──► node::Node ──► Outbox { effects: actions for ports, records: events }
//! ```
//!
//! | module | contents |
//! | --- | --- |
//! | [`node`] | the machine: [`Node::handle`](node::Node::handle), [`Node::deadline`](node::Node::deadline) |
//! | [`input`], [`effect`], [`record`] | inputs, actions for ports, and events |
//! | [`notice`] | notices of ports, which the node only records |
//! | [`commands`], [`reload`], [`handover`], [`jobs`] | commands of operators, and the jobs that take time |
//! | [`observe`] | a node that decides, and whose effects nobody performs |
//! | [`peers`], [`liveness`] | the sessions, and the effect of BFD on them |
//! | [`engine`] | facts, verdicts, and the plan from the actual to the desired state |
//! | [`health`] | one check: its schedule, and its state after each result |
//! | [`frozen`] | a node and the health of a check for the next program |
//! | [`model`], [`defaults`], [`names`] | the configuration as the program needs it |

pub mod commands;
pub mod defaults;
pub mod effect;
pub mod engine;
pub mod frozen;
pub mod handover;
pub mod health;
pub mod input;
pub mod jobs;
pub mod liveness;
pub mod media;
pub mod model;
pub mod names;
pub mod node;
pub mod notice;
pub mod now;
pub mod observe;
pub mod outbox;
pub mod peers;
pub mod plain;
pub mod preview;
pub mod record;
pub mod reload;
pub mod table;
#[cfg(test)]
mod tests;
pub mod vip;
pub mod words;
