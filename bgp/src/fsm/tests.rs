//! The machine against tables, a clock, and another machine.

mod addresses;
mod backoff;
mod bfd;
mod collision;
mod delivery;
mod frozen;
mod graceful_restart;
mod hints;
mod network;
mod open;
mod properties;
mod role;
mod support;
mod timers;
mod transitions;
mod tuning;
mod watching;
mod window;
