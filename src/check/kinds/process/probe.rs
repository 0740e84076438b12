//! `process:` checks: a process is alive.
//!
//! A pidfd identifies the process: its id may be reused, a pidfd is not. It becomes readable when the process dies,
//! before its parent has reaped it, and the check probes again. A zombie counts as dead.
//!
//! The file with the id is read at every probe; it may be on a file system that hangs (see `file_reader`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::check::file_reader::FileAccess;
use crate::check::kinds::process::{ProcessCheck, WhichProcess};
use crate::check::limit::{Answer, Limit};
use crate::check::words;

#[cfg(test)]
mod tests;

/// No file with an id of a process is longer.
const LONGEST_FILE: u64 = 4096;
/// The kernel keeps this much of the name of a command (TASK_COMM_LEN, with its NUL).
const LONGEST_COMMAND: usize = 15;

/// What one check knows from one probe to the next.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The process that was alive at the last probe.
    alive: Option<AsyncFd<OwnedFd>>,
}

impl Watched {
    /// Ends when the process that was alive at the last probe is dead.
    pub(super) async fn ended(&self) {
        let Some(alive) = &self.alive else { return std::future::pending().await };
        // An error is also a reason to probe.
        drop(alive.readable().await);
    }
}

/// Passes when the process is alive and has the name that it is to have.
pub(super) async fn probe(
    check: &ProcessCheck,
    watched: &mut Watched,
    reader: FileAccess<'_>,
    limit: Limit,
) -> Answer {
    watched.alive = None;
    let (pid, of) = match &check.process {
        WhichProcess::Pid(pid) => (pid.get(), String::new()),
        WhichProcess::File(path) => {
            let file = path.clone();
            let text = reader.at(path, limit, move || text_of(&file)).await?;
            let text =
                text.map_err(|error| format!("cannot read {}: {}", path.display(), words::io_error(&error)))?;
            (
                id(&text).map_err(|found| format!("{} has {found}", path.display()))?,
                format!(" of {}", path.display()),
            )
        }
    };
    let (alive, command) = look(pid, check.name.as_deref()).map_err(|fault| match fault {
        Fault::Gone => format!("process {pid}{of} is gone"),
        Fault::Dead => format!("process {pid}{of} is dead and not reaped yet (a zombie)"),
        Fault::Other(found, wanted) => format!("process {pid}{of} is \"{found}\", not \"{wanted}\""),
        Fault::Hidden(found, wanted) => format!(
            "process {pid}{of} is \"{found}\", not \"{wanted}\", and vipcast may not see its program (CAP_SYS_PTRACE)"
        ),
        Fault::System(cause) => format!("cannot look at process {pid}{of}: {cause}"),
    })?;
    watched.alive = Some(alive);
    Ok(format!("process {pid} ({command}) is alive"))
}

/// Blocks.
fn text_of(path: &Path) -> io::Result<String> {
    // A FIFO would be waited for.
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The id on the first line of a file; what there is instead is the error.
fn id(text: &str) -> Result<u32, String> {
    let line = text.lines().next().unwrap_or_default().trim();
    if text.trim().is_empty() {
        return Err("nothing in it".into());
    }
    let id = line.parse::<u32>().ok().filter(|id| *id > 0 && i32::try_from(*id).is_ok());
    id.ok_or_else(|| {
        let start: String = words::one_line(line).chars().take(40).collect();
        format!("no id of a process in it, but \"{start}\"")
    })
}

/// What is wrong with a process.
#[derive(Debug)]
enum Fault {
    Gone,
    Dead,
    /// Its name, and the expected name.
    Other(String, String),
    /// The same, and the name of its program may not be seen.
    Hidden(String, String),
    System(String),
}

/// The pidfd of a process that is alive, and the name of its command.
fn look(pid: u32, wanted: Option<&str>) -> Result<(AsyncFd<OwnedFd>, String), Fault> {
    let system = |error: io::Error| Fault::System(words::io_error(&error));
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Fault::Gone)?;
    let process = match pidfd_open(number, PidfdFlags::NONBLOCK) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Err(Fault::Gone),
        // The id of a thread that leads no process: that of a process which is gone was given to it.
        Err(Errno::INVAL | Errno::NOENT) => return Err(Fault::Gone),
        Err(error) => return Err(system(error.into())),
    };
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).map(|name| name.trim_end().to_owned());
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    let fits = wanted.is_none_or(|wanted| {
        let command_fits = command.as_ref().is_ok_and(|command| *command == cut(wanted));
        command_fits || program.as_ref().is_ok_and(|program| file_name(program) == wanted)
    });
    // Only now: what was read belongs to the process that the pidfd stands for if that is alive still.
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    if poll(&mut ended, Some(&at_once)).map_err(|error| system(error.into()))? > 0 {
        return Err(if command.is_ok() { Fault::Dead } else { Fault::Gone });
    }
    let command = words::one_line(command.unwrap_or_default());
    if let Some(wanted) = wanted.filter(|_| !fits) {
        return Err(misnamed(command, wanted.into(), program.as_ref().err()));
    }
    #[expect(deprecated, reason = "an OwnedFd is all that its unsafe successor asks for")]
    let alive = AsyncFd::with_interest(process, Interest::READABLE).map_err(system)?;
    Ok((alive, command))
}

/// A process with another name. Its program is visible only to a process that may trace it: not to root without the
/// capability, if it has more capabilities.
fn misnamed(found: String, wanted: String, unseen: Option<&io::Error>) -> Fault {
    match unseen.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => Fault::Hidden(found, wanted),
        Some(_) | None => Fault::Other(found, wanted),
    }
}

/// As much of a name as the kernel keeps.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST_COMMAND)]
}

/// The name of a program's file, which may have been replaced since it was started.
fn file_name(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}
