//! The door for what a port has to say of itself alone: its files, sockets, threads and signals.
//!
//! What happens to VIPs, services, checks, peers, sessions and addresses does not go through here: it is a record of the node
//! ([`vipcast_node::record`]), and [`crate::journal`] writes its line. `tests/lint/records` looks for lines that forget that.
//!
//! The macros take what those of `tracing` take.

/// For whoever wants to know how things go: INFO.
macro_rules! note {
    ($($line:tt)+) => { ::tracing::info!($($line)+) };
}

/// Something does not work, and the daemon goes on without it: WARN.
macro_rules! trouble {
    ($($line:tt)+) => { ::tracing::warn!($($line)+) };
}

/// Something is lost, or a bug was found: ERROR.
macro_rules! failure {
    ($($line:tt)+) => { ::tracing::error!($($line)+) };
}

pub(crate) use {failure, note, trouble};
