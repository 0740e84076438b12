//! BFD (RFC 5880): packets, and one session as a pure state machine. Asynchronous mode, single hop and multihop.
//!
//! ```text
//!                 ┌──────────────────── Session ────────────────────┐
//!  Received ─────►│ state   Down → Init → Up     (or AdminDown)     │──► transmit: at most one packet
//!  Tick ─────────►│ remote  contents of its last packet, for the    │──► event: at most one transition
//!  Configure ────►│         detection time                          │──► finished: drop the session
//!  Stop ─────────►│ poll    P until F, then new timers apply        │
//!                 └─────────────────────────────────────────────────┘──► deadline()
//! ```
//!
//! Time is an argument; a driver needs only [`Session::handle`] and [`Session::deadline`]. Unlike the other machines an
//! input results in at most one packet and one transition, so [`Output`] has a field for each instead of being a list:
//! the thread handles tens of thousands of packets a second, and must not wait for an allocator.
//!
//! # The driver
//!
//! 1. Wait for a packet or for the deadline.
//! 2. Read *every* packet that came before now; [`Packet::decode`], [`Demux::find`], [`Input::Received`] with the
//!    kernel's receive time.
//! 3. Then [`Input::Tick`] for each session whose deadline has passed.
//! 4. Send the resulting packets.
//!
//! A late Tick means that this process or the whole machine slept, and perhaps the kernel received no packets
//! meanwhile. The session detects that from `now` and its own deadline, waits for a little more than one interval, once,
//! and counts it in [`Counters::late_wakeups`].
//!
//! # Not here
//!
//! Authentication (authenticated packets are dropped), echo packets (our packets announce that we do not answer them),
//! our own use of demand mode (the other side may use it), the passive role, and multipoint sessions.

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
