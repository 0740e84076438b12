//! The thread that writes to stderr; only it may wait there for ever.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::line;
use super::queue::{Next, Queue};

/// Formatting a line takes a few KiB.
const STACK: usize = 128 * 1024;

/// A destination of bytes, which may block.
pub(super) trait Sink: Send + 'static {
    /// Writes some of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// After [`io::ErrorKind::WouldBlock`]: waits until bytes are accepted again.
    fn wait(&mut self);
}

/// Descriptor 2. Not by [`io::stderr`], whose lock would block other threads.
#[derive(Debug)]
pub(super) struct Stderr;

impl Sink for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stderr().as_fd(), bytes)?)
    }

    fn wait(&mut self) {
        let stderr = io::stderr();
        // The next write reports any error.
        let _said_by_the_next_write = rustix::event::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
    }
}

/// The queue, with a thread at its other end.
#[derive(Clone)]
pub(super) struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is a line to write.
    filled: Condvar,
    /// Signalled when everything is written.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Whether no line waits and none is being written.
    idle: bool,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(sink: impl Sink) -> io::Result<Self> {
        let log = Self(Arc::default());
        let shared = Arc::clone(&log.0);
        let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK);
        thread.spawn(move || write_all(&shared, sink))?;
        Ok(log)
    }

    /// Takes a line, or counts it. Never waits for the sink.
    pub(super) fn push(&self, line: Box<[u8]>) {
        let mut state = self.0.lock();
        state.queue.push(line);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything is written, `patience` at most. Returns whether it is.
    pub(super) fn finish(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.0.lock();
        while !state.idle {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.drained.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.queue.next() {
                return next;
            }
            state.idle = true;
            self.drained.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn write_all(shared: &Shared, sink: impl Sink) {
    let mut writer = Writer { sink, failed: 0, torn: false };
    loop {
        match shared.next() {
            Next::Line(line) => writer.line(&line),
            Next::Gap(missing) => writer.gap(missing),
        }
    }
}

struct Writer<S> {
    sink: S,
    /// The number of lines that could not be written and are not reported yet.
    failed: u64,
    /// Whether the last write ended within a line.
    torn: bool,
}

impl<S: Sink> Writer<S> {
    fn line(&mut self, line: &[u8]) {
        if self.failed > 0 {
            self.gap(0);
        }
        if self.write(line).is_err() {
            self.failed += 1;
        }
    }

    fn gap(&mut self, missing: u64) {
        self.failed += missing;
        let text = line::aside(|| match self.failed {
            1 => tracing::warn!("1 line was not logged"),
            many => tracing::warn!("{many} lines were not logged"),
        });
        if self.write(&text).is_ok() {
            self.failed = 0;
        }
    }

    /// Writes a whole line. An error means that stderr does not accept it.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.bytes(b"\n")?;
            self.torn = false;
        }
        self.bytes(line)
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let whole = bytes.len();
        while !bytes.is_empty() {
            match self.sink.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written.min(bytes.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.sink.wait(),
                Err(error) => {
                    self.torn |= bytes.len() < whole;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Answers each write as the test says, and shows the written bytes.
    struct Scripted(mpsc::Receiver<Answer>, mpsc::Sender<String>);

    enum Answer {
        Take,
        Part(usize),
        Fail(io::ErrorKind),
    }

    impl Sink for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let show = |bytes: &[u8]| drop(self.1.send(String::from_utf8_lossy(bytes).into_owned()));
            match self.0.recv().unwrap_or(Answer::Take) {
                Answer::Take => {
                    show(bytes);
                    Ok(bytes.len())
                }
                Answer::Part(length) => {
                    show(&bytes[..length]);
                    Ok(length)
                }
                Answer::Fail(kind) => Err(kind.into()),
            }
        }

        fn wait(&mut self) {}
    }

    fn log() -> (Log, mpsc::Sender<Answer>, mpsc::Receiver<String>) {
        let (answer, answers) = mpsc::channel();
        let (show, shown) = mpsc::channel();
        (Log::start(Scripted(answers, show)).unwrap(), answer, shown)
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn nobody_waits_for_a_sink_that_hangs_and_the_end_waits_only_a_moment() {
        let (log, answer, shown) = log();
        // Forty times what may wait; on a thread that hangs this test would not end.
        for _ in 0..400_000 {
            log.push(
                b"a line of a check that flaps, with its reason, its time and its place\n".as_slice().into(),
            );
        }
        assert!(!log.finish(Duration::from_millis(50)));
        drop(answer);
        assert!(log.finish(LONG));
        drop(log);
        let kept = shown.try_iter().filter(|line| line.starts_with("a line")).count();
        assert!((5_000..20_000).contains(&kept), "{kept} lines of a megabyte were kept");
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_the_next_one_is_tried() {
        let (log, answer, shown) = log();
        for reason in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull] {
            answer.send(Answer::Fail(reason)).unwrap();
            log.push(b"lost\n".as_slice().into());
            assert!(log.finish(LONG));
        }
        drop(answer);
        log.push(b"written\n".as_slice().into());
        assert!(log.finish(LONG));
        assert_eq!(shown.try_iter().last().unwrap(), "written\n");
    }

    #[test]
    fn a_line_that_was_written_in_part_is_ended_before_the_next() {
        let (log, answer, shown) = log();
        answer.send(Answer::Part(3)).unwrap();
        answer.send(Answer::Fail(io::ErrorKind::StorageFull)).unwrap();
        log.push(b"broken\n".as_slice().into());
        assert!(log.finish(LONG));
        drop(answer);
        log.push(b"whole\n".as_slice().into());
        assert!(log.finish(LONG));
        assert_eq!(shown.try_iter().collect::<String>(), "bro\nwhole\n");
    }

    #[test]
    fn interrupted_and_short_writes_lose_nothing() {
        let (log, answer, shown) = log();
        let script = [
            Answer::Fail(io::ErrorKind::Interrupted),
            Answer::Fail(io::ErrorKind::WouldBlock),
            Answer::Part(2),
        ];
        for one in script {
            answer.send(one).unwrap();
        }
        drop(answer);
        log.push(b"whole\n".as_slice().into());
        assert!(log.finish(LONG));
        assert_eq!(shown.try_iter().collect::<String>(), "whole\n");
    }
}
