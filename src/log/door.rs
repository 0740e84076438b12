//! Log macros for a port's own troubles: its files, sockets, threads and signals.
//!
//! Events of VIPs, services, checks, peers, sessions and addresses do not use these macros: they are records of the
//! node ([`vipcast_node::record`]), and [`crate::journal`] writes their lines. `tests/lint/records` finds violations.
//!
//! The macros have the arguments of those of `tracing`.

/// Information for the operator: INFO.
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
