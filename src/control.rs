//! The control API: HTTP/1.1 and JSON over a unix socket.
//!
//! ```text
//!  vipcast status ─ client ─► socket ─► server ── Request ──► daemon ─► view ─► answer
//!  curl --unix-socket … http://vipcast/v1/status
//! ```
//!
//! Whoever may open the socket may do everything; its mode and group are the access control.

pub mod api;
mod board;
mod caller;
pub mod client;
mod crowd;
mod group;
mod line;
mod request;
pub mod server;
mod socket;
mod upkeep;
pub mod view;

pub use self::caller::Caller;
