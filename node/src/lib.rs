//! A vipcast node as a pure machine: no socket, clock, task, file or random source of its own.
//!
//! ```text
//!  Input, Now ──► node::Node ──► Outbox { effects: what ports are to do, records: what happened }
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`node`] | the machine: [`Node::handle`](node::Node::handle), [`Node::deadline`](node::Node::deadline) |
//! | [`input`], [`effect`], [`record`] | what comes in, what is to be done, what happened |
//! | [`notice`] | what ports notice and the node only passes on |
//! | [`commands`], [`reload`], [`handover`], [`jobs`] | what operators ask for, and what of it takes time |
//! | [`peers`], [`liveness`] | which sessions there are, and what BFD means for them |
//! | [`engine`] | facts, verdicts, and the plan that leads from what is so to what should be |
//! | [`health`] | one check: when it is probed, and what the results make of its state |
//! | [`model`], [`defaults`], [`names`] | the configuration as the program needs it |

pub mod commands;
pub mod defaults;
pub mod effect;
pub mod engine;
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
pub mod outbox;
pub mod peers;
pub mod plain;
pub mod record;
pub mod reload;
pub mod table;
#[cfg(test)]
mod tests;
pub mod vip;
pub mod words;
