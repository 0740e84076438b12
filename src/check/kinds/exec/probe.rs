//! `exec:` checks: a program that exits with 0.
//!
//! ```text
//!  probe ── waits for ──► LastRun, Slots ── starts ──► supervise (a task) ──► start (a thread)
//!    ▲                                                   │    ▲
//!    └── Ended ──────────────────────────────────────────┘    └── SIGCHLD, time-out, probe dropped
//! ```
//!
//! The program leads its own process group. When it exits, when its time is over, or when the probe is dropped, the
//! **whole group** is killed with SIGKILL, which cannot be ignored, and our children in it are reaped. The leader is
//! reaped last: until then its id is not reused, so that the right group is killed. A process that leaves its group on
//! purpose (`setsid`) is not killed.
//!
//! **Waiting.** At most [`RUNNING`] programs run at a time. A probe that waits for a slot has not begun, and its time
//! does not run: a busy host does not turn healthy services into failed ones. Slots are given in the order of requests
//! and returned at the time-out at the latest, even if the program cannot be killed (disk sleep); so every waiting
//! probe gets its slot, and a hanging check holds one for at most its time-out. The result mentions a wait longer than
//! the check's own time-out. A program that cannot be killed blocks only its own check: the next probe fails until the
//! last run is gone, so that processes do not pile up.
//!
//! **Cancel safety.** The program belongs to the supervisor task and not to the probe. A dropped probe closes the
//! channel between them; then the supervisor kills the group and reaps it, and `Drained` waits for that. The start
//! itself (`fork`, `exec`) runs on a separate thread, because a dead NFS server can block it for ever; when that thread
//! ends with the daemon, the kernel kills the program.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use vipcast_bgp::net::clock;
use vipcast_node::names::CheckName;
use vipcast_node::vip::Vip;

use self::feed::Feed;
use self::who::{Ids, Who};
use super::capture::{Capture, Keep};
use crate::check::file_reader::FileReader;
use crate::check::kinds::exec::ExecCheck;
use crate::check::limit::{Answer, Limit};
use crate::check::permit::Queue;
use crate::check::words;
use crate::log::trouble;
use crate::signals;

mod feed;
mod starter;
#[cfg(test)]
mod tests;
mod who;

/// Programs that run at the same time; fewer where there are few descriptors.
pub(in crate::check) const RUNNING: usize = 16;

/// Used when the daemon itself has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bounds how many programs run at the same time, and knows when none is left.
#[derive(Debug, Clone)]
pub(in crate::check) struct Slots {
    free: Arc<Semaphore>,
    /// The number of slots.
    most: usize,
    /// Held by every supervisor and by every task that may start a program: closed when none is left.
    alive: mpsc::Sender<()>,
}

impl Slots {
    pub(in crate::check) fn new(alive: mpsc::Sender<()>) -> Self {
        // Each has two pipes, and seven descriptors while it starts. With 64 in all, the daemon and its other probes leave
        // room for one.
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let most = usize::try_from(allowed / 48).unwrap_or(RUNNING).clamp(1, RUNNING);
        Self { free: Arc::new(Semaphore::new(most)), most, alive }
    }
}

/// The state of a check between runs.
#[derive(Debug)]
pub(in crate::check) struct LastRun {
    /// Free while no program of this check lives.
    gone: Arc<Semaphore>,
    who: Who,
}

impl Default for LastRun {
    fn default() -> Self {
        Self { gone: Arc::new(Semaphore::new(1)), who: Who::default() }
    }
}

/// How a run ended.
#[derive(Debug)]
enum Ended {
    NotStarted(String),
    Exited(Exit, ProgramOutput),
    TimedOut(ProgramOutput),
}

/// The exit of the leader, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Code(i32),
    Signal(Signal),
    Unknown,
}

/// Receives every SIGCHLD.
type Children = tokio::signal::unix::Signal;

/// The output of the program.
#[derive(Debug)]
struct ProgramOutput {
    stdout: Capture,
    stderr: Capture,
}

/// The means of a run.
#[derive(Debug, Clone, Copy)]
pub(in crate::check) struct Means<'a> {
    pub(in crate::check) slots: &'a Slots,
    pub(in crate::check) file_reader: &'a FileReader,
    /// The service of the check, or the name of the hook.
    pub(in crate::check) owner: &'a str,
    pub(in crate::check) last_run: &'a LastRun,
}

/// Passes when the program exits with 0 within `timeout`.
pub(super) async fn probe(
    check: &ExecCheck,
    name: &CheckName,
    timeout: Duration,
    means: Means<'_>,
    queue: &mut Queue,
) -> Answer {
    run(check, (command_of(check, name, timeout), None), timeout, means, queue).await
}

/// Runs a command of `check` as its user, with this input or none. Passes when it exits with 0 within `timeout` from its
/// start, which is its turn. The user of the program is looked up before the program waits for its turn.
pub(in crate::check) async fn run(
    check: &ExecCheck,
    (mut command, input): (Command, Option<Bytes>),
    timeout: Duration,
    means: Means<'_>,
    queue: &mut Queue,
) -> Answer {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let Means { slots, file_reader, owner, last_run } = means;
    let who = last_run.who.ids(check, file_reader, owner, Limit::starting_now(timeout)).await?;
    let last_run = Limit::starting_now(timeout).within(permit(&last_run.gone)).await;
    let last_run = last_run.ok_or("the last run was killed but has not gone; it hangs in the kernel")?;
    let queued = clock::now();
    let slot = queue.take(permit(&slots.free)).await;
    let waited = queue.began - queued;

    let (tell, ended) = oneshot::channel();
    let program = Program { command, who };
    let run = supervise((program, input.unwrap_or_default()), Limit::starting_now(timeout), slot, tell);
    let alive = slots.alive.clone();
    tokio::spawn(async move {
        let _held_until_reaped = (last_run, alive);
        run.await;
    });
    let answer = match ended.await {
        Ok(ended) => in_words(ended, timeout),
        Err(_) => Err("the run ended without a result".into()),
    };
    if waited <= timeout {
        return answer;
    }
    let queued = format!("after {} in the queue ({} run at a time): ", words::duration(waited), slots.most);
    answer.map(|text| queued.clone() + &text).map_err(|text| queued + &text)
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("no semaphore here is ever closed")
}

/// The command of a program, with a clean environment and what the configuration adds to it.
pub(in crate::check) fn command(check: &ExecCheck) -> Command {
    let mut command = Command::new(check.command.first().map_or("", String::as_str));
    command.args(check.command.iter().skip(1)).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()));
    command.envs(std::env::var_os("LANG").map(|lang| ("LANG", lang)));
    command.envs(&check.environment.0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(directory) = &check.directory {
        command.current_dir(directory);
    }
    signals::unblock(&mut command);
    command
}

/// The command of a check. Its environment names the services and VIPs that the check decides about.
fn command_of(check: &ExecCheck, name: &CheckName, timeout: Duration) -> Command {
    let mut command = command(check);
    command.env("VIPCAST_CHECK", name.as_str());
    command.env("VIPCAST_TIMEOUT_MS", timeout.as_millis().to_string());
    command.envs(listed(&check.services).map(|services| ("VIPCAST_SERVICE", services)));
    command.envs(listed(check.vips.iter().map(Vip::short)).map(|vips| ("VIPCAST_VIPS", vips)));
    command
}

/// With a blank between two of them. `None` where they are more than the kernel passes on (MAX_ARG_STRLEN, 128 KiB): the
/// program still runs, and is told nothing rather than a part.
fn listed(words: impl IntoIterator<Item: ToString>) -> Option<String> {
    /// Leaves room for the name, and for what else there is.
    const LONGEST: usize = 100 * 1024;
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    Some(words.join(" ")).filter(|list| list.len() <= LONGEST)
}

/// Starts `program`, tells how it ended, and stays until everything of it is reaped. The slot is given back as soon as the
/// group is killed.
async fn supervise(
    (program, input): (Program, Bytes),
    limit: Limit,
    slot: OwnedSemaphorePermit,
    mut tell: oneshot::Sender<Ended>,
) {
    // Before the start, so that no SIGCHLD is missed.
    let mut children = match signal(SignalKind::child()) {
        Ok(children) => children,
        Err(error) => {
            return answer(tell, Ended::NotStarted(format!("SIGCHLD: {}", words::io_error(&error))));
        }
    };
    let mut starting = match starter::begin(move || start(program)) {
        Ok(starting) => starting,
        Err(error) => {
            return answer(tell, Ended::NotStarted(format!("no thread: {}", words::io_error(&error))));
        }
    };
    let started = tokio::select! {
        started = limit.within(&mut starting) => started,
        () = tell.closed() => None,
    };
    let mut child = match started {
        Some(Ok(Ok(child))) => child,
        Some(Ok(Err(cause))) => return answer(tell, Ended::NotStarted(cause)),
        Some(Err(_)) => return answer(tell, Ended::NotStarted("starting the program panicked".into())),
        None => {
            drop(slot);
            answer(tell, Ended::NotStarted(limit.exceeded("the program did not start")));
            if let Ok(Ok(child)) = starting.await {
                end(pid(&child), &mut children).await;
            }
            return;
        }
    };
    let leader = pid(&child);
    let pipes = Feed::new(child.stdin.take(), input).and_then(|feed| Ok((feed, ProgramOutput::of(child)?)));
    let (mut feed, mut output) = match pipes {
        Ok(pipes) => pipes,
        Err(error) => {
            answer(tell, Ended::NotStarted(format!("no pipe: {}", words::io_error(&error))));
            end(leader, &mut children).await;
            return;
        }
    };
    let exited = loop {
        tokio::select! {
            () = tell.closed() => break false,
            () = limit.over() => break false,
            _ = children.recv() => if has_exited(leader) { break true },
            () = feed.write(), if feed.has_more() => {}
            () = output.stdout.read(), if output.stdout.wants_more() => {}
            () = output.stderr.read(), if output.stderr.wants_more() => {}
        }
    };
    kill_group(leader);
    drop((slot, feed));
    output.stdout.drain();
    output.stderr.drain();
    if exited {
        let exit = reap(leader, &mut children).await;
        answer(tell, Ended::Exited(exit, output));
    } else {
        answer(tell, Ended::TimedOut(output));
        reap(leader, &mut children).await;
    }
    reap_orphans(leader, &mut children).await;
}

/// Kills and reaps a group without a waiting probe.
async fn end(leader: Pid, children: &mut Children) {
    kill_group(leader);
    reap(leader, children).await;
    reap_orphans(leader, children).await;
}

/// To a probe that may have gone.
fn answer(tell: oneshot::Sender<Ended>, ended: Ended) {
    if tell.send(ended).is_err() {
        tracing::trace!("no probe waits for the result of this run any more");
    }
}

/// The program to start, and its user.
struct Program {
    command: Command,
    who: Ids,
}

/// Blocks until the program is executed.
fn start(Program { mut command, who }: Program) -> Result<Child, String> {
    starter::dies_with_us(&mut command);
    if let Some(uid) = who.uid {
        // As root, std also drops the supplementary groups (setgroups(0)); those of the user are not taken on.
        command.uid(uid);
    }
    if let Some(gid) = who.gid {
        command.gid(gid);
    }
    command.spawn().map_err(|error| {
        let program = Path::new(command.get_program());
        let (missing, refused) =
            (error.kind() == io::ErrorKind::NotFound, error.kind() == io::ErrorKind::PermissionDenied);
        match command.get_current_dir() {
            Some(directory) if missing && !directory.is_dir() => {
                format!("cannot run in {}: it is not there", directory.display())
            }
            // It may be either.
            Some(directory) if refused => {
                format!("cannot run {} in {}: permission denied", program.display(), directory.display())
            }
            _ if missing && program.is_file() => {
                let interpreter = "the interpreter in its first line is not there";
                format!("cannot run {}: {interpreter}", program.display())
            }
            _ => format!("cannot run {}: {}", program.display(), words::io_error(&error)),
        }
    })
}

/// Kills every process of the group. Its leader must not have been reaped.
fn kill_group(leader: Pid) {
    match killpg(leader, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => trouble!(group = leader.as_raw(), %error, "cannot kill the processes of a program"),
    }
}

/// Whether the leader has exited; it stays to be reaped.
fn has_exited(leader: Pid) -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(leader), look) != Ok(WaitStatus::StillAlive)
}

async fn reap(leader: Pid, children: &mut Children) -> Exit {
    while !has_exited(leader) {
        children.recv().await;
    }
    match waitpid(leader, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Exit::Signal(signal),
        _ => Exit::Unknown,
    }
}

/// Where the daemon is process 1 (a container), the children of a killed leader become ours to reap.
async fn reap_orphans(leader: Pid, children: &mut Children) {
    let group = Pid::from_raw(-leader.as_raw());
    loop {
        match waitpid(group, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                children.recv().await;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn in_words(ended: Ended, timeout: Duration) -> Answer {
    match ended {
        Ended::NotStarted(cause) => Err(cause),
        Ended::Exited(Exit::Code(0), output) => Ok(with("exit code 0".into(), output.stdout.line())),
        Ended::Exited(Exit::Code(code), output) => Err(with(format!("exit code {code}"), output.complaint())),
        Ended::Exited(Exit::Signal(signal), output) => {
            Err(with(format!("killed by {signal}"), output.complaint()))
        }
        Ended::Exited(Exit::Unknown, output) => Err(with("exit code lost".into(), output.complaint())),
        Ended::TimedOut(output) => {
            Err(with(format!("killed after {}", words::duration(timeout)), output.complaint()))
        }
    }
}

fn with(text: String, line: Option<String>) -> String {
    match line {
        Some(line) => format!("{text}: {line}"),
        None => text,
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

impl ProgramOutput {
    fn of(child: Child) -> io::Result<Self> {
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Self {
            stdout: Capture::new(child.stdout.ok_or_else(missing)?.into(), Keep::First)?,
            stderr: Capture::new(child.stderr.ok_or_else(missing)?.into(), Keep::Last)?,
        })
    }

    /// The last line on stderr, where shells and interpreters put the cause; else the first one on stdout, where
    /// monitoring plugins put it.
    fn complaint(&self) -> Option<String> {
        self.stderr.line().or_else(|| self.stdout.line())
    }
}
