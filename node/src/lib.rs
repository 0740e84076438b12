//! A vipcast node as a pure machine: no socket, clock, task, file or random source of its own.

pub mod defaults;
pub mod effect;
pub mod engine;
pub mod health;
pub mod media;
pub mod model;
pub mod names;
pub mod now;
pub mod outbox;
pub mod record;
pub mod words;
