//! An embeddable BGP-4 and BFD speaker for hosts that announce routes: a pure core, and drivers around it.
//!
//! ```text
//!   your program ── Routes ──► net::Speaker ── PeerEvent, Notice ──► your program
//!                                  │ bytes, time
//!                              fsm::Peer            one peer: connections, collision, timers, negotiation
//!                                  │
//!                 adj_rib_in, adj_rib_out, wire     received and sent routes; messages ↔ bytes
//! ```
//!
//! # Layers
//!
//! * [`wire`]: messages to bytes and back. No state.
//! * [`adj_rib_out`]: the sent routes and the difference to the desired set, packed into UPDATEs.
//! * [`adj_rib_in`]: the peer's paths to the watched prefixes.
//! * [`prefix_map`]: a persistent map by prefix, for routes; its versions share their common branches.
//! * [`fsm`]: one peer as a state machine: [`fsm::Peer::handle`] and [`fsm::Peer::deadline`].
//! * [`bfd`]: BFD packets, and one session as a state machine: [`bfd::Session::handle`] and [`bfd::Session::deadline`].
//! * [`frozen`]: the machines in a form that the next program can go on from.
//! * [`host`]: this host's addresses from the kernel, and the possible next hops among them.
//! * `net` (feature `net`, on by default): sockets, timers and tasks.
//!
//! Everything except `net` is pure: no socket, clock, task or random source, and no tokio in the dependency tree
//! (`--no-default-features`). Embed `net::Speaker` to announce routes from a program; embed [`fsm::Peer`] to run a
//! peer in your own event loop or in a simulation.
//!
//! # Standards
//!
//! | RFC | subject | extent |
//! | --- | --- | --- |
//! | 4271 | BGP-4 | an announcing host: routes are sent; received routes are counted and dropped, except paths to watched prefixes |
//! | 1997, 4360, 8092 | communities, extended and large ones, link bandwidth | sent; received opaque |
//! | 2385 | TCP MD5 | yes, on dialled and accepted connections |
//! | 2918 | route refresh | answered; sent when more prefixes are watched |
//! | 4486, 9003 | Cease subcodes, shutdown communication | sent and shown |
//! | 4724, 8538 | graceful restart, N bit, Hard Reset | the restarting side |
//! | 4760, 2545 | multiprotocol | IPv4 and IPv6 unicast; other families are decoded as opaque |
//! | 5082 | GTSM (TTL security) | yes |
//! | 5492, 9072 | capabilities, extended parameters | both decoded; 9072 never sent |
//! | 5925, 5926 | TCP-AO | one key a session, set at its start; never run on a kernel that has it |
//! | 5880 | BFD | asynchronous mode, demand mode of the other side; no echo, no authentication |
//! | 5881 | BFD over one hop | IPv4 and IPv6, including link-local |
//! | 5883 | BFD over several hops | with a minimum TTL of its own for each session |
//! | 6286 | AS-wide unique identifier | yes |
//! | 6608 | FSM error subcodes | sent |
//! | 6793 | four-octet AS numbers | yes, also with two-octet peers |
//! | 7313 | enhanced route refresh | answers have BoRR and EoRR, and the peer's are followed |
//! | 7606 | revised error handling | yes |
//! | 7607 | AS 0 | refused |
//! | 8326 | graceful shutdown | the community; the caller sets it |
//! | 8950 | IPv4 routes with IPv6 next hops | sent, on sessions over IPv6 |
//! | 9234 | BGP roles | the capability, the check of roles, ONLY_TO_CUSTOMER on sent routes; received leaks are ignored |
//! | 9687 | Send Hold Timer | yes, twice the hold time |

#![warn(missing_docs)]

/// The README's examples compile.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod adj_rib_in;
pub mod adj_rib_out;
pub mod bfd;
mod endpoints;
pub mod frozen;
pub mod fsm;
pub mod host;
#[cfg(feature = "net")]
pub mod net;
mod next_hop;
mod notice;
pub mod prefix_map;
mod route;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod wire;

pub use adj_rib_in::{Path, Paths, Watched, Whose};
pub use adj_rib_out::Export;
pub use fsm::{
    ConnectMode, Extent, GracefulRestart, HoldTime, Offer, PeerConfig, PeerEvent, PeerStatus, RestartTime,
    Seen, Session, Stall, State, Tuning, Version,
};
pub use next_hop::{NextHop, SessionNextHops};
pub use notice::{ArrivalLimit, Notice};
pub use prefix_map::PrefixMap;
pub use route::{NextHops, RouteAttributes, Routes, family_of};
pub use vipcast_machine::{Instant, jitter, time};
