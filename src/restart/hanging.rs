//! Finds threads of this process that hang in the kernel where no signal reaches them, for example on a disk that does
//! not answer.
//!
//! `execve` first ends all other threads and waits for each, when the daemon's sessions are already closed. So a
//! restart with such a thread is an outage as long as its disk is silent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// A thread that was not scheduled for this time hangs; a thread that reads and writes is scheduled.
const MOMENT: Duration = Duration::from_secs(1);
/// The interval between looks in that time.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The state of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    name: String,
    /// `D`: an uninterruptible wait.
    state: char,
    /// The number of context switches.
    switches: u64,
}

/// The names of the threads that hang. Blocks for as long as one may hang, a second at most.
pub(super) fn hanging() -> io::Result<Vec<String>> {
    hanging_in(threads, || thread::sleep(LOOK_AGAIN))
}

/// The same with threads that a test tells, and its pause.
fn hanging_in(
    threads: impl Fn() -> io::Result<BTreeMap<u32, Thread>>,
    pause: impl Fn(),
) -> io::Result<Vec<String>> {
    let (before, since) = (threads()?, Instant::now());
    loop {
        let stuck = stuck(&before, &threads()?);
        // A disk that answers does so within milliseconds: an upgrade does not wait a second for it.
        if stuck.is_empty() || since.elapsed() >= MOMENT {
            return Ok(stuck);
        }
        pause();
    }
}

/// The threads that wait at both times without a context switch in between.
fn stuck(before: &BTreeMap<u32, Thread>, after: &BTreeMap<u32, Thread>) -> Vec<String> {
    let is_stuck = |(id, thread): &(&u32, &Thread)| thread.state == 'D' && before.get(id) == Some(thread);
    after.iter().filter(is_stuck).map(|(_, thread)| thread.name.clone()).collect()
}

fn threads() -> io::Result<BTreeMap<u32, Thread>> {
    let tasks = fs::read_dir("/proc/self/task")?.filter_map(Result::ok);
    Ok(tasks
        .filter_map(|task| Some((task.file_name().to_str()?.parse().ok()?, thread_at(&task.path())?)))
        .collect())
}

/// `None`: the thread has ended.
fn thread_at(task: &Path) -> Option<Thread> {
    parse(&fs::read_to_string(task.join("status")).ok()?)
}

/// Parses /proc/PID/task/TID/status.
fn parse(status: &str) -> Option<Thread> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let switches = field("voluntary_ctxt_switches:").and_then(|number| number.parse().ok());
    Some(Thread {
        name: field("Name:")?.to_owned(),
        state: field("State:")?.chars().next()?,
        switches: switches.unwrap_or(0),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;

    use nix::sched::{CloneFlags, clone};
    use nix::sys::signal::Signal;
    use nix::sys::wait::waitpid;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// A thread that hangs in the kernel until this is dropped, and is found: it waits for a child, as it would for a disk
    /// (`CLONE_VFORK`, clone(2)).
    pub(in crate::restart) struct Hung {
        let_go: UnixStream,
        thread: Option<JoinHandle<()>>,
    }

    impl Hung {
        pub(in crate::restart) fn new(name: &str) -> Self {
            let (let_go, waits) = UnixStream::pair().unwrap();
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
                let mut stack = vec![0; 64 << 10];
                let child = Box::new(|| {
                    let patience = Timespec { tv_sec: 120, tv_nsec: 0 };
                    let _woken = poll(&mut [PollFd::new(&waits, PollFlags::IN)], Some(&patience));
                    0
                });
                // With the same descriptors: a copy would keep programs of other tests open for writing.
                let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | CloneFlags::CLONE_FILES;
                #[expect(unsafe_code, reason = "nothing else hangs without a disk that does")]
                // SAFETY: the child makes one system call, and this thread, with its stack, waits for its end.
                let child = unsafe { clone(child, &mut stack, flags, Some(Signal::SIGCHLD as i32)) };
                waitpid(child.unwrap(), None).unwrap();
            });
            let hung = Self { let_go, thread: Some(thread.unwrap()) };
            // On a busy machine it says that it waits some time before it does.
            let begin = Instant::now();
            while !hanging().unwrap().iter().any(|hangs| hangs == name) {
                assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", threads());
                thread::sleep(Duration::from_millis(1));
            }
            hung
        }
    }

    impl Drop for Hung {
        fn drop(&mut self) {
            self.let_go.write_all(b"!").unwrap();
            drop(self.thread.take().map(JoinHandle::join));
        }
    }

    #[test]
    fn a_thread_that_hangs_in_the_kernel_is_found_until_it_goes_on() {
        drop(Hung::new("hung-for-test"));
        assert!(!hanging().unwrap().contains(&"hung-for-test".to_owned()));
    }

    fn all(threads: &[(u32, char, u64)]) -> BTreeMap<u32, Thread> {
        let thread = |state, switches| Thread { name: format!("{state}{switches}"), state, switches };
        threads.iter().map(|(id, state, switches)| (*id, thread(*state, *switches))).collect()
    }

    #[test]
    fn a_thread_that_waits_for_a_disk_hangs_only_when_it_has_not_moved() {
        let before = all(&[(1, 'S', 5), (2, 'D', 7), (3, 'D', 9), (4, 'R', 1), (6, 'D', 3)]);
        let after = all(&[(1, 'S', 5), (2, 'D', 7), (3, 'D', 10), (4, 'D', 2), (5, 'D', 1)]);
        assert_eq!(stuck(&before, &after), ["D7"]);
    }

    #[test]
    fn a_thread_that_moves_again_is_not_waited_for() {
        let looks = Cell::new(0);
        // One reads from a disk for three looks; another begins to at each.
        let moves = || {
            looks.set(looks.get() + 1);
            let first = if looks.get() < 4 { (2, 'D', 7) } else { (2, 'D', 8) };
            Ok(all(&[first, (3, 'D', looks.get())]))
        };
        assert_eq!(hanging_in(moves, || {}).unwrap(), [""; 0]);
        assert_eq!(looks.get(), 4);
        let begin = Instant::now();
        let hangs = || Ok(all(&[(2, 'D', 7), (3, 'S', 9)]));
        assert_eq!(hanging_in(hangs, || thread::sleep(LOOK_AGAIN)).unwrap(), ["D7"]);
        assert!(begin.elapsed() >= MOMENT);
    }

    #[test]
    fn the_threads_of_a_process_are_read_and_none_of_ours_hangs() {
        let status = "Name:\tstate\nUmask:\t0022\nState:\tD (disk sleep)\nvoluntary_ctxt_switches:\t12\n\
            nonvoluntary_ctxt_switches:\t3\n";
        let state = Thread { name: "state".to_owned(), state: 'D', switches: 12 };
        assert_eq!(parse(status), Some(state));
        assert!(threads().unwrap().contains_key(&std::process::id()));
    }
}
