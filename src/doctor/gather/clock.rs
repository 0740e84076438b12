//! The clock of the host, from the kernel, which its NTP client tells (adjtimex(2)).

use std::io;
use std::mem::MaybeUninit;

use nix::libc;

/// Whether an NTP client keeps the clock synchronised.
pub(super) fn is_synchronised() -> io::Result<bool> {
    let mut asked = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: a zeroed timex changes nothing (`modes` is 0); the kernel fills it in, and keeps no pointer to it.
    #[expect(unsafe_code, reason = "no crate of the tree has a safe wrapper")]
    let (state, status) = unsafe { (libc::adjtimex(asked.as_mut_ptr()), asked.assume_init().status) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_tells_whether_the_clock_is_synchronised() {
        super::is_synchronised().unwrap();
    }
}
