//! `vipcast doctor`: examines this host and its daemon, and names each fault with its fix.
//!
//! ```text
//!  control socket ─┐
//!  configuration ──┤                                   one file a theme
//!  rtnetlink ──────┼─ gather ─► Gathered ─► examine ─► Vec<Finding> ─► text, JSON, exit code
//!  sock_diag ──────┤  (I/O)     (facts)      (pure)
//!  /proc, /run ────┘
//! ```
//!
//! [`gather`] does all I/O. Each of its steps has its own time limit and runs beside the others; a step that fails is
//! the finding `could-not-look`, and never fails the command. Nothing is changed on the host.

pub mod examine;
pub mod finding;
pub mod gather;
pub mod gathered;
