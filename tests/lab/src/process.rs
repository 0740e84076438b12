//! A process of the lab: its output in a file, its end by its own pid.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
pub use nix::sys::signal::Signal;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;

use crate::lab::{Scene, unpoisoned};
use crate::usage::{self, Usage};
use crate::wait;

/// How long a killed group may take to die.
const GRACE: Duration = Duration::from_secs(5);

/// A running (or finished) process. Dropping it kills its whole process group and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    log: PathBuf,
    /// Where this run begins in a log that an earlier one may have begun.
    log_start: u64,
    scene: Arc<Scene>,
}

/// What a process has in memory, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Memory {
    /// Its resident set. What it shares with others counts whole, so it does not change with them.
    pub resident: u64,
    /// Its proportional set: what it shares with others counts in part. It grows when another process of the same program
    /// ends, so with tests side by side its growth means nothing.
    pub proportional: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB (PSS {})", self.resident, self.proportional)
    }
}

impl Process {
    pub(crate) fn spawn(scene: &Arc<Scene>, name: &str, mut command: Command) -> Result<Self> {
        let log = scene.directory().join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let log_start = file.metadata().context("cannot look at a log file")?.len();
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone().context("cannot share a log file")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        let scene = Arc::clone(scene);
        Ok(Self { name: name.to_owned(), pid: child.id(), child: Mutex::new(child), log, log_start, scene })
    }

    /// The name it was started with; its log is `<name>.log` in the directory of the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(self.exit_status(), Ok(None))
    }

    /// Sends a signal to this process alone.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let running = self.exit_status()?.is_none();
        anyhow::ensure!(running, "cannot send {signal} to {}: it has ended", self.name);
        kill(self.raw_pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Sends a signal to the process and to all children which are in its process group.
    ///
    /// # Errors
    /// When there is none left.
    pub fn kill_group(&self, signal: Signal) -> Result<()> {
        killpg(self.raw_pid(), signal)
            .with_context(|| format!("cannot send {signal} to the group of {}", self.name))
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        unpoisoned(&self.child).try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `timeout`; the end of its log is in the message.
    pub fn wait_exit(&self, timeout: Duration) -> Result<ExitStatus> {
        wait::until(format!("{} to exit", self.name), timeout, || {
            self.exit_status()?.ok_or_else(|| anyhow!("still running; log:\n{}", tail(&self.log(), 20)))
        })
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it does not read there any more.
    pub fn write_line(&self, line: &str) -> Result<()> {
        let mut child = unpoisoned(&self.child);
        let stdin = child.stdin.as_mut().with_context(|| format!("{} takes no more input", self.name))?;
        writeln!(stdin, "{line}").with_context(|| format!("cannot write to {}", self.name))
    }

    /// The memory that it takes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> Result<Memory> {
        usage::memory(self.pid)
    }

    /// The processor time and the memory of this process and of all its descendants: those that run, and those whose end was
    /// waited for.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        usage::of(self.pid)
    }

    /// How many files and sockets it has open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn descriptors(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.pid);
        Ok(fs::read_dir(&path).with_context(|| format!("cannot list {path}"))?.count())
    }

    /// Closes its standard input.
    pub fn close_stdin(&self) {
        drop(unpoisoned(&self.child).stdin.take());
    }

    /// What this run has written to stdout and stderr so far. Bytes that are not UTF-8 are replaced.
    pub fn log(&self) -> String {
        read_from(&self.log, self.log_start)
    }

    /// The log file, which holds earlier runs of the same name too.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Kills the whole group and reaps the process. One that was reaped before is left alone, because its pid may
    /// be somebody else's by now; what it left behind is found by its namespace when the lab ends.
    pub(crate) fn end(&self) {
        if self.is_running() {
            // ESRCH means that all of them are gone since, which is what is wanted.
            let _gone = killpg(self.raw_pid(), Signal::SIGKILL);
            let _status = unpoisoned(&self.child).wait();
            // Its children die a little later, and until then they have its port. One that does not is found by its
            // namespace when the lab ends.
            let _late = wait::until(format!("the children of {} to die", self.name), GRACE, || {
                ensure!(!is_group_alive(self.pid)?, "some are alive");
                Ok(())
            });
        }
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid).expect("a pid fits in 22 bits"))
    }
}

impl Drop for Process {
    /// In a panic the lab is dumped first, while its processes can still be asked.
    fn drop(&mut self) {
        self.scene.dump_if_panicking();
        self.end();
    }
}

/// Whether anything of a process group still holds what it had: a zombie does not.
fn is_group_alive(group: u32) -> Result<bool> {
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let path = entry.context("cannot list processes")?.path().join("stat");
        // What is no process, or has just ended, has none.
        let Ok(stat) = fs::read_to_string(path) else { continue };
        // The name stands in brackets and may hold anything; behind it: state, parent, group.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_whitespace().take(3).collect();
        if let [state, _parent, its_group] = fields[..]
            && !matches!(state, "Z" | "X")
            && its_group.parse() == Ok(group)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A file from an offset on; empty when it cannot be read (a log that does not exist yet says nothing).
fn read_from(path: &Path, start: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
