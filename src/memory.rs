//! Returns memory that is no longer needed to the system.
//!
//! A configuration takes several times its size while it is read and put in force. The freed memory lies between memory
//! in use, so glibc keeps it for ever. With 100,000 prefixes that was half of the daemon's memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// The time after which the work for a configuration is done: addresses are bound, and sessions have their routes.
const SETTLED: Duration = Duration::from_secs(10);

/// The number of calls of [`give_back_soon`], and whether a thread still waits.
static CALLS: AtomicU64 = AtomicU64::new(0);
static IS_COMING: AtomicBool = AtomicBool::new(false);

/// Returns freed memory to the system when no configuration has come for ten seconds.
///
/// A separate thread does it and then ends. Threads that allocate meanwhile wait: some tenths of a millisecond on a
/// small node, a few milliseconds with 100,000 prefixes; so never between quick reloads. Without a thread no memory is
/// returned.
pub fn give_back_soon() {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if IS_COMING.swap(true, Ordering::Relaxed) {
        return;
    }
    let thread = thread::Builder::new().name("memory".into()).spawn(|| {
        loop {
            let seen = CALLS.load(Ordering::Relaxed);
            thread::sleep(SETTLED);
            if CALLS.load(Ordering::Relaxed) == seen {
                break;
            }
        }
        IS_COMING.store(false, Ordering::Relaxed);
        give_back();
    });
    if thread.is_err() {
        IS_COMING.store(false, Ordering::Relaxed);
    }
}

fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: malloc_trim(3) may be called at any time by any thread, and touches nothing but free memory.
        #[expect(unsafe_code, reason = "no crate has a safe wrapper")]
        let _whether_there_was_any = unsafe { nix::libc::malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resident memory of the process, in pages.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap()
    }

    #[test]
    fn what_lies_between_what_stays_goes_back() {
        if cfg!(not(target_env = "gnu")) {
            return;
        }
        const SIZE: usize = 1000;
        const COUNT: usize = 64 * 1024;
        let (mut used, mut stays) = (Vec::new(), Vec::new());
        for at in 0..COUNT {
            used.push(vec![1_u8; SIZE]);
            if at % 64 == 0 {
                stays.push(vec![1_u8; SIZE]);
            }
        }
        drop(used);
        let before = resident();
        give_back();
        let after = resident();
        assert!(after + SIZE * COUNT / 4096 / 2 < before, "{before} pages, and {after} after that");
        assert_eq!(stays.len(), COUNT / 64);
    }
}
