//! The machine against tables, a clock, and another machine.

mod addresses;
mod backoff;
mod bfd;
mod collision;
mod graceful_restart;
mod network;
mod open;
mod properties;
mod support;
mod timers;
mod transitions;
mod tuning;
mod watching;
mod window;
