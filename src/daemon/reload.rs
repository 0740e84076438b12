//! The reading of the configuration for a reload, beside the loop: a file, a user or a certificate that does not answer
//! must not end sessions.
//!
//! ```text
//!  SIGHUP, `vipcast reload` ─► ask ─► a thread reads everything ─► Finished ─► the loop follows it as a whole, or not at all
//!                               │                │
//!                               └ while one reads: waits for the next reading, because the files may have changed
//!                                                └ no answer in time: abandoned, the callers are told, nothing changes
//! ```

use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::blocking::{NoAnswer, Threads};
use crate::config::{self, Host, Loaded};
use crate::control::Caller;
use crate::control::api::Refusal;
use crate::control::server::Reply;

/// How long everything that a configuration names may take to be read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Readings that may hang at once.
const HANGING: usize = 4;

/// Who wants a reload.
#[derive(Debug)]
pub(super) enum Asker {
    /// SIGHUP: the log is told.
    Signal,
    /// A client, who waits.
    Client(Caller, Reply),
}

impl Asker {
    fn is_signal(&self) -> bool {
        match self {
            Self::Signal => true,
            Self::Client(..) => false,
        }
    }

    /// As the log says it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Client(caller, _) => &caller.name,
        }
    }

    /// Whether it does not want the reload any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Signal => false,
            Self::Client(_, reply) => reply.is_abandoned(),
        }
    }
}

/// A reading that is over.
#[derive(Debug)]
pub(super) struct Finished {
    /// What was read, or why there is nothing.
    pub(super) read: Result<Loaded, NotReloaded>,
    /// For whom.
    pub(super) askers: Vec<Asker>,
}

/// Why nothing was changed.
#[derive(Debug)]
pub(super) struct NotReloaded {
    /// For whoever asked.
    pub(super) refusal: Refusal,
    /// For the log, where the refusal shows lines of the file.
    pub(super) in_line: Option<String>,
}

impl From<Refusal> for NotReloaded {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, in_line: None }
    }
}

type Reading = Pin<Box<dyn Future<Output = Result<Loaded, NotReloaded>> + Send>>;

/// Reads the configuration, once at a time.
pub(super) struct Reloads {
    path: PathBuf,
    threads: Threads,
    patience: Duration,
    reading: Option<(Reading, Vec<Asker>)>,
    /// They asked while a reading was under way, which may have missed what they changed.
    waiting: Vec<Asker>,
}

impl std::fmt::Debug for Reloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloads")
            .field("path", &self.path)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Reloads {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            threads: Threads::new("reload", HANGING),
            patience: PATIENCE,
            reading: None,
            waiting: Vec::new(),
        }
    }

    /// Returns at once.
    pub(super) fn ask(&mut self, asker: Asker) {
        if asker.is_signal() && self.waiting.iter().any(Asker::is_signal) {
            return;
        }
        // Whoever has gone holds a descriptor here.
        self.waiting.retain(|asker| !asker.is_gone());
        self.waiting.push(asker);
        self.begin();
    }

    /// Ends with a reading; never, while there is none. Cancel-safe: the reading goes on.
    pub(super) async fn finished(&mut self) -> Finished {
        let read = match &mut self.reading {
            Some((reading, _)) => reading.await,
            None => pending().await,
        };
        let askers = self.reading.take().map(|(_, askers)| askers).unwrap_or_default();
        self.begin();
        Finished { read, askers }
    }

    /// Begins a reading for everybody who waits, unless one is under way.
    fn begin(&mut self) {
        if self.reading.is_some() || self.waiting.is_empty() {
            return;
        }
        let (threads, path, patience) = (self.threads.clone(), self.path.clone(), self.patience);
        let reading = async move {
            let shown = path.display().to_string();
            // What is wrong is rendered there, too: of a large file that takes a while.
            let read = move || {
                config::load(&path, Host::Strict).map_err(|diagnostics| NotReloaded {
                    refusal: Refusal { error: diagnostics.render(false), hint: None },
                    in_line: Some(diagnostics.in_line()),
                })
            };
            match threads.within(patience, read).await {
                Ok(read) => read,
                Err(failed) => Err(unread(&shown, failed).into()),
            }
        };
        self.reading = Some((Box::pin(reading), std::mem::take(&mut self.waiting)));
    }
}

/// Nothing was read of the configuration `path`.
fn unread(path: &str, failed: NoAnswer) -> Refusal {
    let hint = match &failed {
        NoAnswer::Late { .. } | NoAnswer::Busy { .. } => Some(
            "a file system or a directory service hangs; `vipcast check` waits for it as well".to_owned(),
        ),
        NoAnswer::Thread(_) | NoAnswer::Died => None,
    };
    let error = match failed {
        NoAnswer::Late { after, at } => {
            format!("cannot read {}: no answer after {after:?}", at.as_deref().unwrap_or(path))
        }
        NoAnswer::Thread(source) => format!("cannot read {path}: cannot start a thread: {source}"),
        failed @ (NoAnswer::Busy { .. } | NoAnswer::Died) => format!("cannot read {path}: {failed}"),
    };
    Refusal { error, hint: hint.or_else(|| Some("nothing was changed".to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const VALID: &str = "local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\nservices: {}\n";

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipcast-reload-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn whoever_asks_while_a_reading_is_under_way_gets_a_reading_of_the_file_as_it_is_then() {
        let directory = scratch("newest");
        let file = directory.join("vipcast.yaml");
        fs::write(&file, VALID).unwrap();
        let mut reloads = Reloads::new(file.clone());
        reloads.ask(Asker::Signal);
        for _ in 0..300 {
            reloads.ask(Asker::Signal);
        }
        let first = reloads.finished().await;
        assert!(first.read.is_ok());
        assert_eq!(first.askers.len(), 1);
        fs::write(&file, VALID.replace("65001", "65009")).unwrap();
        let second = reloads.finished().await;
        assert_eq!(second.askers.len(), 1, "300 hang-ups are one");
        let config = second.read.unwrap().config;
        assert_eq!(config.peers.values().next().map(|peer| peer.local_as.0), Some(65009));
        assert!(reloads.reading.is_none(), "nobody has asked for more");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_reading_that_hangs_is_abandoned_with_the_file_named_and_no_more_than_a_few_hang() {
        // A pipe that a descriptor of ours names is waited for, as `<(…)` needs it.
        let directory = scratch("hangs");
        let pipe = directory.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let both = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let file = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both)));
        let mut reloads = Reloads::new(file.clone());
        reloads.patience = Duration::from_millis(20);
        for _ in 0..HANGING {
            reloads.ask(Asker::Signal);
            let refusal = reloads.finished().await.read.unwrap_err().refusal;
            assert_eq!(refusal.error, format!("cannot read {}: no answer after 20ms", file.display()));
        }
        reloads.ask(Asker::Signal);
        let refusal = reloads.finished().await.read.unwrap_err().refusal;
        assert_eq!(
            refusal.error,
            format!("cannot read {}: 4 earlier attempts have no answer yet", file.display())
        );
        // The threads end when the pipe has no writer any more.
        drop(both);
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_pipe_in_place_of_a_file_is_refused_at_once() {
        let directory = scratch("pipes");
        let file = directory.join("vipcast.yaml");
        fs::write(&file, VALID).unwrap();
        fs::create_dir(directory.join("services.d")).unwrap();
        let drop_in = directory.join("services.d/x.yaml");
        nix::unistd::mkfifo(&drop_in, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reloads = Reloads::new(file.clone());
        for path in [&drop_in, &file] {
            if path == &file {
                fs::remove_file(&file).unwrap();
                nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }
            reloads.ask(Asker::Signal);
            let refusal = reloads.finished().await.read.unwrap_err().refusal;
            let said = format!("cannot read `{}`: it is a pipe, not a file", path.display());
            assert!(refusal.error.contains(&said), "{}", refusal.error);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
