//! The control API: HTTP/1.1 and JSON over a unix socket.
//!
//! ```text
//!                      ┌──────────────── routes ────────────────┐
//!  vipcast status ─ client ─► socket ─► server ── Request ──► the loop
//!                                 ▲                              │
//!                              answer ◄── view ◄── Snapshot ─────┘
//!  curl --unix-socket … http://vipcast/v1/status
//! ```
//!
//! Every user who may open the socket may do everything; its mode and group are the access control. Over TCP (`api`,
//! `metrics`) anybody who can connect may read, and nobody may change anything.

mod answer;
pub mod api;
mod board;
mod body;
mod caller;
pub mod client;
mod crowd;
mod group;
mod line;
mod listener;
pub mod openapi;
mod page;
mod request;
pub mod routes;
pub mod server;
pub mod snapshot;
mod socket;
mod sse;
mod upkeep;
pub mod view;

pub use self::caller::Caller;
