//! Runs a program that may do anything: hang, talk for ever, leave others behind. It ends within its time with its whole
//! process group, and no more than a little of what it says is kept.

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

/// What is kept of stdout, and of stderr.
const KEPT: u64 = 64 * 1024;
/// How long a killed program may take to be gone.
const GRACE: Duration = Duration::from_secs(1);

/// How it ended, and the beginning of what it said.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why there is no outcome.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It cannot be run.
    NotStarted(io::Error),
    /// It did not end in this time.
    Hangs(Duration),
}

/// Blocks for `patience` and two seconds at most.
pub(super) fn run(program: &Path, arguments: &[OsString], patience: Duration) -> Result<Outcome, Trouble> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    signals::unblock(&mut command);
    let mut child = command.spawn().map_err(Trouble::NotStarted)?;
    let leader = Pid::from_raw(child.id().cast_signed());
    let (stdout, stderr) = (beginning(child.stdout.take()), beginning(child.stderr.take()));
    let exited = beside(move || waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT));
    let in_time = exited.recv_timeout(patience).is_ok();
    // Its leader is not reaped yet, so the group is still its own. An error says that nothing is left of it.
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

/// The beginning of what comes from a pipe; the rest is read and forgotten.
fn beginning(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    beside(move || {
        let Some(mut pipe) = pipe else { return String::new() };
        let mut kept = Vec::new();
        let read = pipe.by_ref().take(KEPT).read_to_end(&mut kept);
        // What was read before an error counts.
        drop(read.and_then(|_| io::copy(&mut pipe, &mut io::sink())));
        String::from_utf8_lossy(&kept).into_owned()
    })
}

/// The result of something that may wait for ever, if it ever comes.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread the receiver learns at once that there is no result.
    drop(thread::Builder::new().name("trial".to_owned()).spawn(move || drop(sender.send(work()))));
    receiver
}
