//! BFD (RFC 5880): packets, and one session as a pure state machine. Asynchronous mode, single hop and multihop.
//!
//! ```text
//!                 ┌──────────────────── Session ────────────────────┐
//!  Received ─────►│ state   Down → Init → Up     (or AdminDown)     │──► transmit: at most one packet
//!  Tick ─────────►│ remote  what its last packet said, until it     │──► event: at most one transition
//!  Configure ────►│         is silent for the detection time        │──► finished: it may be forgotten
//!  Stop ─────────►│ poll    P until F, then new timers apply        │
//!                 └─────────────────────────────────────────────────┘──► deadline()
//! ```
//!
//! As everywhere here time is an argument; [`Session::handle`] and [`Session::deadline`] are all that a driver needs. It
//! differs from the other machines in one thing: an input has at most one packet and one transition as its result, so
//! [`Output`] has a place for each instead of being a list. Packets come and go tens of thousands of times a second, in
//! a thread that must not wait for an allocator.
//!
//! # What a driver does
//!
//! 1. Wait for a packet or for the deadline.
//! 2. Read *every* packet that came before now; [`Packet::decode`], [`Demux::find`], [`Input::Received`] with the time at
//!    which the kernel took it in.
//! 3. Then [`Input::Tick`] for each session whose deadline has passed.
//! 4. Send what comes out.
//!
//! When a Tick comes late, it is we who slept, and perhaps the whole machine: the kernel may have had no time to take
//! packets in either. The session sees that from `now` and its own deadline, waits for one more interval, once, and
//! counts it in [`Counters::late_wakeups`].
//!
//! # Not here
//!
//! Authentication (an authenticated packet is dropped), echo packets (we say that we do not answer them), our own use of
//! demand mode (the other's is honoured), the passive role, and multipoint sessions.

mod config;
mod demux;
mod discard;
pub mod iana;
mod io;
mod packet;
mod poll;
mod session;
mod settings;
mod status;
#[cfg(test)]
mod tests;

pub use self::config::SessionConfig;
pub use self::demux::{Arrival, Demux, Hops, Path};
pub use self::discard::{Discard, Discards};
pub use self::io::{Cause, Input, Output, Transition};
pub use self::packet::{Diagnostic, Interval, PACKET_LEN, Packet, State};
pub use self::session::Session;
pub use self::settings::{BfdEvent, SessionName, SessionSettings, Sessions};
pub use self::status::{Counters, Remote, Status};
