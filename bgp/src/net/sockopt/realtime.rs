//! Real-time priority for the calling thread. Not a socket option, but the only other system call that our crates do
//! not offer.

use std::io;

/// Puts the calling thread into SCHED_FIFO with this priority, 1 to 99. Threads that it starts do not inherit it.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE and with an RLIMIT_RTPRIO below `priority`.
pub(in crate::net) fn set_fifo(priority: u8) -> io::Result<()> {
    set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, priority)
}

/// Puts the calling thread back into SCHED_OTHER.
///
/// # Errors
/// None that Linux documents.
pub(in crate::net) fn set_ordinary() -> io::Result<()> {
    set(libc::SCHED_OTHER, 0)
}

fn set(policy: libc::c_int, priority: u8) -> io::Result<()> {
    // SAFETY: the struct has only integers, for which zero is valid. On musl it has more than one.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = libc::c_int::from(priority);
    // SAFETY: the calling thread exists, and the kernel only reads the parameters. (`sched_setscheduler` would need no
    // handle, but musl has a stub in its place.)
    let error = unsafe { libc::pthread_setschedparam(libc::pthread_self(), policy, &raw const parameters) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
