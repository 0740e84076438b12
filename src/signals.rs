//! Signals: none ends the daemon without a drain, and none is lost.
//!
//! Every signal that can be blocked is blocked in every thread, from the first instruction of `run` on and over the
//! change of process at a graceful restart; the loop takes them from a descriptor (signalfd(2)) when it has time. So
//! the default action, mostly the end of the process, never applies: not while a daemon starts, not between two
//! processes (blocked and pending signals survive execve), and not for signals without a meaning for vipcast.
//!
//! | signal | effect |
//! | --- | --- |
//! | SIGTERM, SIGINT, SIGQUIT | a drain; a second one shortens it (I9) |
//! | SIGHUP | a reload |
//! | SIGUSR2 | an upgrade: hands over to the program on disk |
//! | SIGKILL, SIGSTOP | cannot be blocked |
//! | SIGABRT, SIGSEGV and other faults | the default: a core dump to find the cause; systemd's watchdog sends SIGABRT |
//! | SIGCHLD, SIGCONT, SIGURG, SIGWINCH | the default, none; exec checks listen to SIGCHLD |
//! | any other | none; logged, each at most once a minute |
//!
//! Programs that we start begin with no signal blocked and every default in place: [`unblock`].

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpid;
use rustix::event::{PollFd, PollFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::log::{note, trouble};
use crate::{log, restart};

/// The interval between log lines about an ignored signal.
const MENTIONED: Duration = Duration::from_secs(60);
/// The longest time of a start after a signal to stop.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// The same after a change of process: routers keep the predecessor's routes.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A signal to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT or SIGQUIT.
    Stop,
    /// SIGHUP.
    Hangup,
    /// SIGUSR2.
    Upgrade,
    /// Any other signal.
    Unknown,
}

/// The signals that stop the daemon.
const STOP: [Number; 3] = [Number::SIGTERM, Number::SIGINT, Number::SIGQUIT];
/// The signals that are not blocked: faults of the program itself, and those with a harmless default.
const UNBLOCKED: [Number; 11] = [
    Number::SIGABRT,
    Number::SIGBUS,
    Number::SIGFPE,
    Number::SIGILL,
    Number::SIGSEGV,
    Number::SIGSYS,
    Number::SIGTRAP,
    Number::SIGCHLD,
    Number::SIGCONT,
    Number::SIGURG,
    Number::SIGWINCH,
];

/// Blocks the signals in this thread and in threads that it starts later, independent of the parent's mask.
///
/// # Errors
/// The kernel refuses, which it never does.
pub fn block() -> io::Result<()> {
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&blocked()), None)?)
}

fn blocked() -> SigSet {
    let mut set = SigSet::all();
    UNBLOCKED.iter().for_each(|signal| set.remove(*signal));
    set
}

/// Lets a program that is started by `command` begin with no signal blocked and every default in place.
#[expect(unsafe_code, reason = "only the child itself can change its mask, between fork and exec")]
pub fn unblock(command: &mut Command) {
    let reset = || {
        for signal in 1..=libc::SIGRTMAX() {
            // SAFETY: signal(2) is async-signal-safe, and SIG_DFL is no function of ours. An error means that this
            // signal cannot be changed (SIGKILL, SIGSTOP, and two of libc's own) and has its default.
            let _unchangeable = unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
    };
    // SAFETY: the closure makes two system calls that are async-signal-safe, and neither allocates nor locks.
    unsafe { command.pre_exec(reset) };
}

/// The pending signals.
#[derive(Debug)]
pub struct Signals {
    descriptor: AsyncFd<SignalFd>,
    mentioned: BTreeMap<u32, Instant>,
}

impl Signals {
    /// Opens the descriptor for the signals that [`block`] blocks; must be called within a runtime.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        #[expect(deprecated, reason = "the unsafe successor requires only an owned descriptor")]
        let descriptor = AsyncFd::with_interest(descriptor(&blocked())?, Interest::READABLE)?;
        Ok(Self { descriptor, mentioned: BTreeMap::new() })
    }

    /// The next signal. Cancel-safe: a signal that was not returned stays pending.
    pub async fn next(&mut self) -> Signal {
        loop {
            let ready = self.descriptor.readable().await;
            let read = match ready {
                Ok(mut ready) => {
                    let read = self.descriptor.get_ref().read_signal();
                    if let Ok(None) = read {
                        ready.clear_ready();
                    }
                    read
                }
                Err(error) => Err(Errno::try_from(error).unwrap_or(Errno::EIO)),
            };
            let info = match read {
                Ok(Some(info)) => info,
                Ok(None) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    trouble!(%error, "cannot read signals");
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            let number = i32::try_from(info.ssi_signo).ok().and_then(|number| Number::try_from(number).ok());
            match number {
                Some(number) if STOP.contains(&number) => return Signal::Stop,
                Some(Number::SIGHUP) => return Signal::Hangup,
                Some(Number::SIGUSR2) => return Signal::Upgrade,
                // Our own write to a pipe without a reader; the write has failed as well.
                Some(Number::SIGPIPE) if info.ssi_pid == getpid().as_raw().cast_unsigned() => {}
                Some(_) | None => {
                    self.mention(info.ssi_signo, number, info.ssi_pid, Instant::now());
                    return Signal::Unknown;
                }
            }
        }
    }

    fn mention(&mut self, raw: u32, number: Option<Number>, from: u32, now: Instant) {
        let last = self.mentioned.get(&raw);
        if last.is_some_and(|last| now.duration_since(*last) < MENTIONED) {
            return;
        }
        self.mentioned.insert(raw, now);
        let signal = number.map_or_else(|| format!("signal {raw}"), |number| number.as_str().to_owned());
        note!(from_pid = from, "{signal} means nothing to vipcast and was ignored");
    }
}

fn descriptor(set: &SigSet) -> io::Result<SignalFd> {
    Ok(SignalFd::with_flags(set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Until it is dropped, ends the process a few seconds after a signal to stop: during the start no loop takes signals,
/// and a start may wait for a file or a name for ever.
#[derive(Debug)]
pub struct Starting(Arc<AtomicBool>);

impl Starting {
    /// Starts to watch. If that fails, only SIGKILL ends a start that hangs.
    pub fn watch() -> Self {
        let started = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("starting".to_owned()).stack_size(64 * 1024);
        let flag = Arc::clone(&started);
        drop(thread.spawn(move || watch(&flag)));
        Self(started)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn watch(started: &AtomicBool) {
    let Ok(stop) = descriptor(&STOP.into_iter().collect()) else { return };
    let (patience, words) = last_words(restart::follows());
    let mut told = None;
    while !started.load(Ordering::Relaxed) {
        let told_for = told.map_or(Duration::ZERO, |told: Instant| told.elapsed());
        if told_for >= patience {
            log::print(words);
            log::finish();
            std::process::exit(1);
        }
        if told.is_some() {
            thread::sleep(LOOK_AGAIN);
            continue;
        }
        // Looks without taking the signal, which is for the loop, to drain.
        let mut signals = [PollFd::new(&stop, PollFlags::IN)];
        let within = rustix::event::Timespec::try_from(LOOK_AGAIN).ok();
        if matches!(rustix::event::poll(&mut signals, within.as_ref()), Ok(1..)) {
            told = Some(Instant::now());
        }
    }
}

/// The longest time of a start after a signal to stop, and the message then.
fn last_words(follows: bool) -> (Duration, &'static str) {
    if follows {
        let words = "error: told to stop while starting anew, which hangs; nothing was withdrawn: addresses stay on the host, and \
            routers keep the routes for as long as they were told to\n\
            hint: start it again, and it takes them over; then stop it\n";
        (RESTART_PATIENCE, words)
    } else {
        (START_PATIENCE, "error: told to stop while starting, which hangs; nothing was announced\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_hangs_after_a_graceful_restart_does_not_say_that_nothing_was_announced() {
        let ((patience, fresh), (longer, anew)) = (last_words(false), last_words(true));
        assert!(patience < longer);
        assert!(fresh.ends_with("nothing was announced\n"));
        assert!(anew.contains("nothing was withdrawn") && !anew.contains("nothing was announced"), "{anew}");
    }

    #[test]
    fn every_signal_that_would_end_the_process_is_blocked_but_faults() {
        let set = blocked();
        let ends: Vec<Number> = Number::iterator()
            .filter(|signal| !set.contains(*signal))
            .filter(|signal| {
                !matches!(signal, Number::SIGCHLD | Number::SIGCONT | Number::SIGURG | Number::SIGWINCH)
            })
            .collect();
        let faults = [
            Number::SIGILL,
            Number::SIGTRAP,
            Number::SIGABRT,
            Number::SIGBUS,
            Number::SIGFPE,
            Number::SIGSEGV,
            Number::SIGSYS,
        ];
        assert_eq!(ends, faults);
    }

    #[test]
    fn a_program_that_we_start_has_nothing_blocked_and_nothing_ignored() {
        // A thread of its own, so that the other tests keep their mask.
        let status = thread::spawn(|| {
            block().unwrap();
            let mut command = Command::new("cat");
            command.arg("/proc/self/status");
            unblock(&mut command);
            command.output().unwrap()
        });
        let status = String::from_utf8(status.join().unwrap().stdout).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        // Signals 32 and 33 are libc's own.
        let ignored = field("SigIgn:") & !(0b11 << 31);
        assert_eq!((field("SigBlk:"), ignored), (0, 0));
    }
}
