//! An embeddable VRRP instance for hosts that share addresses: a pure codec, a pure state machine, and raw sockets for a driver.
//!
//! ```text
//!                 ┌──────────────────── Instance ───────────────────┐
//!  Start, Stop ──►│                                    Start        │──► Transmit    an advertisement
//!  Received ─────►│   Initialize ◄── Stop ──┐   ┌──────────────┐    │──► Transition  bind, remove
//!  Tick ─────────►│       │                 │   ▼              │    │──► Announce    gratuitous ARP, NA
//!  Priority ─────►│       └── Start ──► Backup ──► Active ── Fault  │──► Notice
//!  Fault ────────►│                     ▲   silence   │             │──► Discarded
//!  Configure ────►│                     └── higher ───┘             │──► deadline()
//!                 └─────────────────────────────────────────────────┘
//! ```
//!
//! Time is an argument; a driver needs only [`Instance::handle`] and [`Instance::deadline`]. Everything except `net` (feature
//! `net`, on by default) is pure: no socket, clock, task or random source.
//!
//! # The driver
//!
//! 1. Wait for a packet or for the deadline.
//! 2. Read *every* packet that came before now; [`Packet::decode`], then [`Input::Received`] with the kernel's receive time
//!    for the instance with that VRID, family and interface. [`Instance::count`] counts a packet that does not decode.
//! 3. Then [`Input::Tick`] for each instance whose deadline has passed.
//! 4. Carry out the outputs in their order.
//!
//! A late Tick means that this process or the whole machine slept, and perhaps packets were lost meanwhile. A Backup Router
//! then waits for one more interval, once, and counts it in [`Counters::late_wakeups`].
//!
//! # Standards
//!
//! | document | subject | extent |
//! | --- | --- | --- |
//! | RFC 9568 | VRRP version 3, IPv4 and IPv6 | election, packets; not the forwarding rules of §8, and no virtual MAC |
//! | RFC 3768 | VRRP version 2, IPv4 | the same; not beside version 3 in one instance (RFC 9568 §8.4) |
//! | RFC 2338 | authentication of version 2 | none and the password, which protects from nothing |
//!
//! Where it is stricter or milder than these, and why:
//!
//! * Version 3 over IPv4: a checksum over a pseudo-header is accepted as well ([`Coverage`]).
//! * Priority 0 counts only from the router that is followed: another one that yields tells nothing of the Active Router.
//! * An Active Router answers a lower one at once (RFC 9568 §6.4.3), but no more than twice an interval: behind an address
//!   translation, two routers of one priority may each take the other for the lower one.
//! * Other addresses than ours are noticed, and the advertisement counts, with version 2 as well (RFC 3768 §7.1 drops it).
//! * An owner drops advertisements of another owner, and answers all others.
//!
//! Not here: `auth_hmac` of keepalived 2.4 (draft-cassen-vrrp-auth-hmac); a packet with its trailer is dropped as
//! [`Discard::TrailingOctets`].

#![warn(missing_docs)]

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod advertisement;
mod checksum;
mod config;
mod discard;
mod endpoints;
pub mod iana;
mod instance;
mod io;
#[cfg(feature = "net")]
pub mod net;
mod status;
mod values;

pub use advertisement::{Advertisement, Form, HEADER_LEN, Packet, Version};
pub use checksum::Coverage;
pub use config::{Announcements, Config, ConfigError, Link, Preempt};
pub use discard::{Discard, Discards};
pub use endpoints::Endpoints;
pub use instance::Instance;
pub use io::{Cause, Input, Notice, Occasion, Output, State, Transition, Transmission};
pub use status::{Counters, Status};
pub use values::{AddressList, Addresses, Authentication, Interval, Priority, Seconds, Vrid};
pub use vipcast_machine::Instant;
