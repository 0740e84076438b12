//! Keeps the file of the control socket: makes it, tries again after a failure, and makes it again if it is removed.
//!
//! ```text
//!  every 5 s:  present, ours ──────────────────────────► nothing
//!              nothing, or another ─► make it ─┬─ made ─► the new listener goes to the server
//!                                              └─ not ──► one warning a cause
//! ```
//!
//! **Threads.** A file system may hang, so each look has its own thread ([`Threads`]), one at a time. A socket that
//! such a thread makes too late is dropped, and its file has no listener: the next look replaces it.

use std::error::Error;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use vipcast_node::model::Control;

use super::group::{self, Looking};
use super::listener::Listener;
use super::socket::{Found, SocketError, SocketFile, listen};
use crate::blocking::Threads;
use crate::log::{note, trouble};

/// The interval between looks at the file.
pub(super) const LOOK: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// The time-out of a look, and so the longest wait of a start.
const PATIENCE: Duration = Duration::from_secs(3);

/// The file of the socket, while there is one that is ours.
#[derive(Debug, Clone, Default)]
pub(super) struct Where(Arc<Mutex<Option<Place>>>);

impl Where {
    /// The file for the next program; it is not removed here any more.
    pub(super) fn freeze(&self) -> Option<OwnedFd> {
        self.lock().take()?.file.freeze().ok()
    }

    /// Removes it.
    pub(super) fn remove(&self) {
        if let Some(place) = self.lock().take() {
            place.file.remove();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Place {
    file: SocketFile,
    _group: Option<Looking>,
}

impl Place {
    fn make(control: &Control) -> Result<(std::os::unix::net::UnixListener, Self), SocketError> {
        let (listener, file) = listen(control)?;
        Ok((listener, Self::of(file, control)))
    }

    fn of(file: SocketFile, control: &Control) -> Self {
        let group = control.group.as_deref().map(|name| group::give(&file, name));
        Self { file, _group: group }
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Upkeep {
    control: Control,
    /// Whether the daemon only observes.
    observes: bool,
    place: Where,
    listeners: mpsc::Sender<Listener>,
    tried: Option<oneshot::Sender<()>>,
    threads: Threads,
    /// The socket of the program before, and its file, for the first look.
    handed: Option<(OwnedFd, OwnedFd)>,
    /// The last logged reason why there is no socket.
    told: Option<String>,
}

impl Upkeep {
    /// No socket yet. Listening sockets go to `listeners`; the receiver is signalled after the first attempt.
    pub(super) fn new(
        control: Control,
        observes: bool,
        listeners: mpsc::Sender<Listener>,
        handed: Option<(OwnedFd, OwnedFd)>,
    ) -> (Self, Where, oneshot::Receiver<()>) {
        let (tried, heard) = oneshot::channel();
        let place = Where::default();
        let threads = Threads::new("socket", 1);
        let upkeep = Self {
            control,
            observes,
            place: place.clone(),
            listeners,
            tried: Some(tried),
            threads,
            handed,
            told: None,
        };
        (upkeep, place, heard)
    }

    /// Looks again and again, until the server is gone.
    pub(super) async fn run(mut self) {
        while !self.listeners.is_closed() {
            match self.look().await {
                Ok(None) => self.is_there(),
                Ok(Some((listener, place))) => self.made(listener, place).await,
                Err(trouble) => self.tell(&trouble),
            }
            if let Some(tried) = self.tried.take() {
                // The server may be gone.
                let _gone = tried.send(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A new socket, if one is needed.
    async fn look(&mut self) -> Result<Option<(UnixListener, Place)>, Trouble> {
        let (shown, control) =
            (self.place.lock().as_ref().map(|place| place.file.clone()), self.control.clone());
        let handed = self.handed.take();
        let thaw = move |control: &Control| {
            let (socket, file) = handed?;
            let file = SocketFile::thaw(&control.socket, file)?;
            Some((socket.into(), Place::of(file, control)))
        };
        let look = move || match shown.map_or(Ok(Found::Nothing), |file| file.look()) {
            Ok(Found::Ours) => Ok(None),
            Ok(Found::Nothing | Found::Another) => {
                thaw(&control).map_or_else(|| Place::make(&control), Ok).map(Some)
            }
            Err(source) => Err(SocketError::Bind { path: control.socket, source }),
        };
        let looked = self.threads.within(PATIENCE, look).await;
        let made = looked.map_err(|silent| {
            let said = format!("{}: {}", self.control.socket.display(), words(&silent));
            Trouble { said, hint: None }
        })?;
        let made = made.map_err(|error| Trouble { said: words(&error), hint: error.hint(self.observes) })?;
        let Some((listener, place)) = made else { return Ok(None) };
        match UnixListener::from_std(listener) {
            Ok(listener) => Ok(Some((listener, place))),
            Err(error) => {
                place.file.remove();
                Err(Trouble { said: words(&error), hint: None })
            }
        }
    }

    async fn made(&mut self, listener: UnixListener, place: Place) {
        let before = self.place.lock().replace(place);
        if before.is_some() && self.told.is_none() {
            trouble!(path = %self.control.socket.display(), "the control socket was removed, and is put back");
        }
        self.is_there();
        // The server may be gone.
        drop(self.listeners.send(Listener::Unix(listener)).await);
    }

    fn is_there(&mut self) {
        if self.told.take().is_some() {
            note!(path = %self.control.socket.display(), "the control socket is there");
        }
    }

    fn tell(&mut self, trouble: &Trouble) {
        let Trouble { said, hint } = trouble;
        if self.told.as_ref() == Some(said) {
            return;
        }
        trouble!(error = said, hint, "running without the control socket; it is tried again every {LOOK:?}");
        self.told = Some(said.clone());
    }
}

/// The reason why there is no socket.
#[derive(Debug)]
struct Trouble {
    said: String,
    hint: Option<String>,
}

/// An error and its causes, in one line.
fn words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
