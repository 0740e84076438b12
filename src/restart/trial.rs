//! Runs a program that may hang, write for ever or leave children behind. It ends within its time with its whole
//! process group, and only a little of its output is kept.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::signals;

/// The bytes kept of stdout, and of stderr.
const KEPT: u64 = 64 * 1024;
/// The time for a killed program to end.
const GRACE: Duration = Duration::from_secs(1);

/// The exit status, and the beginning of the output.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// The reason why there is no outcome.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The program cannot be run.
    NotStarted(io::Error),
    /// The program did not end in this time.
    Hangs(Duration),
}

/// Blocks for at most `patience` and two seconds.
pub(super) fn run(
    program: &Path,
    arguments: &[OsString],
    stdin: Stdio,
    patience: Duration,
) -> Result<Outcome, Trouble> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    signals::unblock(&mut command);
    let mut child = command.spawn().map_err(Trouble::NotStarted)?;
    let leader = Pid::from_raw(child.id().cast_signed());
    let (stdout, stderr) = (beginning(child.stdout.take()), beginning(child.stderr.take()));
    let exited = beside(move || waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT));
    let in_time = exited.recv_timeout(patience).is_ok();
    // The leader is not reaped yet, so the group id is still its own. An error means that the group is empty.
    let _gone = killpg(leader, Signal::SIGKILL);
    let status = beside(move || child.wait()).recv_timeout(GRACE);
    match status {
        Ok(Ok(status)) if in_time => {
            let text = |said: mpsc::Receiver<String>| said.recv_timeout(GRACE).unwrap_or_default();
            Ok(Outcome { status, stdout: text(stdout), stderr: text(stderr) })
        }
        Ok(Err(error)) => Err(Trouble::NotStarted(error)),
        Ok(Ok(_)) | Err(_) => Err(Trouble::Hangs(patience)),
    }
}

/// The beginning of a pipe's data; the rest is read and dropped.
fn beginning(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    beside(move || {
        let Some(mut pipe) = pipe else { return String::new() };
        let mut kept = Vec::new();
        let read = pipe.by_ref().take(KEPT).read_to_end(&mut kept);
        // The data before an error counts.
        drop(read.and_then(|_| io::copy(&mut pipe, &mut io::sink())));
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// Runs work that may block for ever on a thread; the receiver gets its result.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread the receiver is disconnected at once.
    drop(thread::Builder::new().name("trial".to_owned()).spawn(move || drop(sender.send(work()))));
    receiver
}
