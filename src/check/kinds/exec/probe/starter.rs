//! Threads that start programs; each lives as long as the process. A start may hang (a dead NFS server), and the kernel
//! kills a program with the *thread* that has started it (PR_SET_PDEATHSIG): so no program is left behind when the
//! daemon is killed, and none is killed because a pool's thread was idle for long.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::{io, thread};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};
use tokio::sync::oneshot;

/// They start programs, which does not take much.
const STACK: usize = 256 << 10;

/// Work, and the way back to the thread that does it.
struct Start {
    work: Box<dyn FnOnce() + Send>,
    back: mpsc::Sender<Self>,
}

/// Threads without work. There are as many as there ever were starts at a time.
static IDLE: Mutex<Vec<mpsc::Sender<Start>>> = Mutex::new(Vec::new());

/// Does `work` on one of the threads. Cancel-safe: it is done to the end in any case.
///
/// # Errors
/// When there is no thread.
pub(super) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (tell, told) = oneshot::channel();
    let work = Box::new(move || drop(tell.send(work())));
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let thread = match idle {
        Some(thread) => thread,
        None => start_thread()?,
    };
    let back = thread.clone();
    thread.send(Start { work, back }).map_err(|_gone| io::Error::other("its thread has ended"))?;
    Ok(told)
}

fn start_thread() -> io::Result<mpsc::Sender<Start>> {
    let (give, jobs) = mpsc::channel::<Start>();
    let work = move || {
        while let Ok(Start { work, back }) = jobs.recv() {
            work();
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(back);
        }
    };
    thread::Builder::new().name("starter".into()).stack_size(STACK).spawn(work)?;
    Ok(give)
}

/// The program is killed with the thread that starts it.
#[expect(
    unsafe_code,
    reason = "nothing else runs code between fork and exec, which is where the kernel has to be told"
)]
pub(super) fn dies_with_us(command: &mut Command) {
    let daemon = getpid();
    let tell_the_kernel = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // It may have been killed before the kernel was told.
        if getppid() == daemon { Ok(()) } else { Err(io::Error::from(Errno::ESRCH)) }
    };
    // SAFETY: what runs after fork makes two system calls, and neither allocates, locks nor panics. The user has been changed by
    // then, which would undo it.
    unsafe {
        command.pre_exec(tell_the_kernel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_is_used_again_and_one_that_hangs_keeps_nobody() {
        let (release, hold) = mpsc::channel::<()>();
        let hanging = begin(move || hold.recv().is_ok()).unwrap();
        let mut threads = std::collections::BTreeSet::new();
        for _ in 0..10 {
            threads.insert(format!("{:?}", begin(|| thread::current().id()).unwrap().await.unwrap()));
        }
        assert!(threads.len() < 10, "{threads:?}");
        release.send(()).unwrap();
        assert!(hanging.await.unwrap());
    }
}
