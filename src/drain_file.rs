//! The drain file: while it exists everything is drained, and its first line is the reason.
//!
//! ```text
//!  main thread              │  thread "drain-file"
//!  DrainFile::set(path) ────┼─► look ─► Input::Cordon(File, …) ─► node
//!                           │    └─ wait: an event of the directory (inotify), or 30 s
//! ```
//!
//! Nothing is polled while the file's directory exists or its parent does: inotify reports changes. A look every 30 s finds
//! what inotify cannot see: a mount over the directory, or a change by another host of a network file system.
//!
//! **A mount that hangs** stops only the thread, and the last known state stays in force. After a reload with another path the
//! old thread is abandoned: it may be stuck in the kernel, and reports nothing any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{OFlags, inotify};
use tokio::sync::{mpsc, oneshot};
use vipcast_bgp::net::words::io_error;
use vipcast_node::commands::LONGEST_WORDS;
use vipcast_node::engine::{Cordon, Order};
use vipcast_node::input::Input;

use crate::log::{note, trouble};

/// The interval between two looks without an event.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// The longest wait of the start for the first look.
const PATIENCE: Duration = Duration::from_secs(1);
/// The thread does little.
const STACK: usize = 256 << 10;
/// The longest line in bytes that is read for the reason: a character has at most four.
const LINE: u64 = 4 * LONGEST_WORDS as u64;
/// Room for events of inotify.
const EVENTS: usize = 4096;

/// The port.
#[derive(Debug)]
pub(crate) struct DrainFile {
    tell: mpsc::UnboundedSender<Input>,
    watched: Option<Watched>,
    /// The first look at the file of the start.
    first: Option<oneshot::Receiver<Input>>,
}

/// The file, and its thread's permission to report.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    permit: Permit,
    /// Wakes the thread. `None`: it could not be started.
    wake: Option<Arc<OwnedFd>>,
}

/// Whether a thread may still report. Held only for a send that never waits.
type Permit = Arc<Mutex<bool>>;

impl DrainFile {
    /// Begins to watch `path`. Reports go to `tell`.
    pub(crate) fn start(tell: mpsc::UnboundedSender<Input>, path: Option<&Path>) -> Self {
        let mut port = Self { tell, watched: None, first: None };
        if let Some(path) = path {
            let (sender, first) = oneshot::channel();
            port.watched = Some(port.watch(path, Some(sender)));
            port.first = Some(first);
        }
        port
    }

    /// The state of the file at the start, so that nothing is announced before it. `None`: there is no file, or it has not
    /// answered within a second, and is reported later.
    pub(crate) async fn at_start(&mut self) -> Option<Input> {
        let mut first = self.first.take()?;
        if let Ok(known) = tokio::time::timeout(PATIENCE, &mut first).await {
            return known.ok();
        }
        let path = self.watched.as_ref().map(|watched| watched.path.display().to_string());
        trouble!(path, "the drain file does not answer: starting as if there were none");
        // It may have come in this moment.
        first.close();
        first.try_recv().ok()
    }

    /// Watches another file from now on, or none.
    pub(crate) fn set(&mut self, path: Option<&Path>) {
        if self.watched.as_ref().map(|watched| watched.path.as_path()) == path {
            return;
        }
        if let Some(watched) = self.watched.take() {
            watched.end();
        }
        match path {
            Some(path) => self.watched = Some(self.watch(path, None)),
            None => send(&self.tell, Input::Cordon(Cordon::File, None)),
        }
    }

    fn watch(&self, path: &Path, first: Option<oneshot::Sender<Input>>) -> Watched {
        let permit = Arc::new(Mutex::new(true));
        let begun = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from).and_then(|wake| {
            let wake = Arc::new(wake);
            let tell = Report { tell: self.tell.clone(), first, permit: Arc::clone(&permit), last: None };
            let (path, woken) = (path.to_owned(), Arc::clone(&wake));
            let thread = thread::Builder::new().name("drain-file".to_owned()).stack_size(STACK);
            thread.spawn(move || follow(&path, &woken, tell)).map(|_thread| wake)
        });
        if let Err(error) = &begun {
            trouble!(%error, path = %path.display(), "cannot watch the drain file");
        }
        Watched { path: path.to_owned(), permit, wake: begun.ok() }
    }
}

impl Drop for DrainFile {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.end();
        }
    }
}

impl Watched {
    fn end(self) {
        *held(&self.permit) = false;
        if let Some(wake) = self.wake
            && let Err(error) = rustix::io::write(&wake, &1_u64.to_ne_bytes())
        {
            tracing::debug!(%error, "cannot wake the thread of the drain file");
        }
    }
}

/// Nothing that holds it can panic.
fn held(permit: &Permit) -> MutexGuard<'_, bool> {
    permit.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error occurs only while the daemon ends.
fn send(tell: &mpsc::UnboundedSender<Input>, input: Input) {
    drop(tell.send(input));
}

/// The way of reports to the node.
struct Report {
    tell: mpsc::UnboundedSender<Input>,
    first: Option<oneshot::Sender<Input>>,
    permit: Permit,
    /// The state that was reported last.
    last: Option<Option<Order>>,
}

impl Report {
    /// Reports the state, if it is new. Returns whether anybody listens.
    fn tell(&mut self, order: Option<Order>) -> bool {
        let permit = held(&self.permit);
        if *permit && self.last.as_ref() != Some(&order) {
            self.last = Some(order.clone());
            let input = Input::Cordon(Cordon::File, order);
            let late = match self.first.take() {
                Some(first) => first.send(input).err(),
                None => Some(input),
            };
            late.into_iter().for_each(|input| send(&self.tell, input));
        }
        *permit
    }
}

/// The thread.
fn follow(path: &Path, wake: &OwnedFd, mut report: Report) {
    let mut failing = None;
    loop {
        // First the watch, then the look: a change between the two is an event.
        let watch = Watch::of(path);
        let failed = match look(path) {
            Ok(order) => {
                if !report.tell(order) {
                    return;
                }
                None
            }
            Err(error) => Some(io_error(&error)),
        };
        if failing != failed {
            match &failed {
                Some(error) => {
                    trouble!(error, path = %path.display(), "cannot read the drain file: its last known state stays in force");
                }
                None => note!(path = %path.display(), "the drain file can be read again"),
            }
            failing = failed;
        }
        if !*held(&report.permit) {
            return;
        }
        if let Err(error) = watch.and_then(|watch| watch.wait(wake)) {
            tracing::debug!(%error, path = %path.display(), "no inotify for the drain file");
            if let Err(error) = pause(wake) {
                trouble!(%error, path = %path.display(), "the drain file is no longer watched");
                return;
            }
        }
    }
}

/// The drain of the file: by its path, with its first line; `None` if there is no such file.
fn look(path: &Path) -> io::Result<Option<Order>> {
    // A FIFO or a device must not be waited for.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let by = path.display().to_string();
    match fs::metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
        // A directory drains as well as a file.
        Ok(found) if !found.is_file() => return Ok(Some(Order { by, reason: None })),
        Ok(_) => {}
    }
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(Order { by, reason: first_line(file)? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It exists, and that is what counts.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Some(Order { by, reason: None })),
        Err(error) => Err(error),
    }
}

fn first_line(file: File) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.take(LINE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line: String = text.lines().next().unwrap_or_default().trim().chars().take(LONGEST_WORDS).collect();
    Ok((!line.is_empty()).then_some(line))
}

/// A watch of the file's directory, or of the nearest one above it that exists.
struct Watch {
    inotify: OwnedFd,
    /// The name that matters in there.
    name: Option<Vec<u8>>,
}

impl Watch {
    fn of(path: &Path) -> io::Result<Self> {
        use inotify::WatchFlags;
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let mut below = path;
        loop {
            let Some(directory) = below.parent() else { return Err(io::ErrorKind::NotFound.into()) };
            match inotify::add_watch(&inotify, directory, flags) {
                Ok(_watch) => {
                    let name = below.file_name().map(|name| name.as_encoded_bytes().to_vec());
                    return Ok(Self { inotify, name });
                }
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => below = directory,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for an event of the name or of the directory itself, a call, or the time of the next look.
    fn wait(self, wake: &OwnedFd) -> io::Result<()> {
        loop {
            let mut ready = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
            match poll(&mut ready, Some(&LOOK_AGAIN)) {
                Ok(0) => return Ok(()),
                Ok(_) if !ready[1].revents().is_empty() || self.matters()? => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether one of the waiting events matters.
    fn matters(&self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    // Events without a name are of the directory itself, or tell that events were lost.
                    if name.is_none() || name == self.name {
                        return Ok(true);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Waits for a call, or the time of the next look.
fn pause(wake: &OwnedFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&LOOK_AGAIN)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
