//! Reads the configuration for a reload, beside the loop: a file, a user or a certificate that does not answer must not
//! end sessions. A read without an answer in time is abandoned.

use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use vipcast_node::commands::Refusal;
use vipcast_node::input::Read;
use vipcast_node::jobs::NotRead;
use vipcast_node::record::Warning;

use crate::blocking::{NoAnswer, Threads};
use crate::config::{self, Config, Diagnostics, Host, Loaded, Texts};

/// The time-out for reading all files of a configuration.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most reads that hang at once.
const HANGING: usize = 4;

type Under = Pin<Box<dyn Future<Output = Result<Loaded, NotRead>> + Send>>;

/// Reads the configuration.
pub(super) struct Reading {
    path: PathBuf,
    threads: Threads,
    patience: Duration,
    under_way: Option<Under>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reading {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, threads: Threads::new("reload", HANGING), patience: PATIENCE, under_way: None }
    }

    /// Whether a read runs.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for the running read; pending without one. Cancel-safe: the read goes on.
    pub(super) async fn finished(&mut self) -> Result<Read, NotRead> {
        let read = match &mut self.under_way {
            Some(reading) => reading.await,
            None => pending().await,
        };
        self.under_way = None;
        read.map(|Loaded { config, warnings }| Read { config: Arc::new(config), warnings: told(&warnings) })
    }

    /// Reads once more before a hand-over, for the next program: the configuration, and its texts.
    pub(super) fn again(&self) -> impl Future<Output = Result<(Config, Texts), Refusal>> + Send + use<> {
        let (threads, path, patience) = (self.threads.clone(), self.path.clone(), self.patience);
        async move {
            let shown = path.display().to_string();
            let read = move || match config::load_with_texts(&path, Host::Strict) {
                Ok((Loaded { config, warnings: _ }, texts)) => Ok((config, texts)),
                Err(diagnostics) => Err(Refusal { error: diagnostics.render(false), hint: None }),
            };
            threads.within(patience, read).await.unwrap_or_else(|failed| Err(unread(&shown, failed)))
        }
    }

    /// Begins. Returns at once.
    pub(super) fn begin(&mut self) {
        let (threads, path, patience) = (self.threads.clone(), self.path.clone(), self.patience);
        let reading = async move {
            let shown = path.display().to_string();
            // The errors are also rendered there, because that takes a while for a large file.
            let read = move || {
                config::load(&path, Host::Strict).map_err(|diagnostics| NotRead {
                    refusal: Refusal { error: diagnostics.render(false), hint: None },
                    in_line: Some(diagnostics.in_line()),
                })
            };
            match threads.within(patience, read).await {
                Ok(read) => read,
                Err(failed) => Err(unread(&shown, failed).into()),
            }
        };
        self.under_way = Some(Box::pin(reading));
    }
}

/// The warnings of a configuration.
pub(crate) fn told(warnings: &Diagnostics) -> Vec<Warning> {
    let told = |warning: &config::Diagnostic| Warning {
        file: warnings.file_name(warning.file).to_owned(),
        line: warning.span.map(|span| warnings.position(span).0),
        message: warning.message.clone(),
        hint: warning.hint.clone(),
    };
    warnings.iter().map(told).collect()
}

/// The refusal when the configuration `path` could not be read.
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
    async fn a_reading_reads_the_file_as_it_is_then() {
        let directory = scratch("newest");
        let file = directory.join("vipcast.yaml");
        let mut reading = Reading::new(file.clone());
        for local_as in [65001, 65009] {
            fs::write(&file, VALID.replace("65001", &local_as.to_string())).unwrap();
            reading.begin();
            let config = reading.finished().await.unwrap().config;
            assert_eq!(config.peers.values().next().map(|peer| peer.local_as.0), Some(local_as));
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn the_next_program_needs_the_texts_and_not_the_files() {
        let directory = scratch("again");
        let file = directory.join("vipcast.yaml");
        fs::create_dir(directory.join("services.d")).unwrap();
        fs::write(&file, VALID).unwrap();
        let drop_in = directory.join("services.d/x.yaml");
        fs::write(&drop_in, "checks: {up: {tcp: \"127.0.0.1:80\"}}\n").unwrap();
        let mut reading = Reading::new(file.clone());
        reading.begin();
        let config = reading.finished().await.unwrap().config;
        let (again, texts) = reading.again().await.unwrap();
        assert_eq!(again, *config);
        fs::write(&file, "local_as: [\n").unwrap();
        assert!(reading.again().await.is_err(), "a file that is broken now is found now");
        fs::remove_dir_all(directory).unwrap();
        let json = serde_json::to_string(&texts).unwrap();
        let loaded = config::load_texts(serde_json::from_str(&json).unwrap(), Host::Lenient).unwrap();
        assert_eq!(loaded.config, *config);
    }

    #[tokio::test]
    async fn a_reading_that_hangs_is_abandoned_with_the_file_named_and_no_more_than_a_few_hang() {
        // A pipe that a descriptor of ours names is waited for, as `<(…)` needs it.
        let directory = scratch("hangs");
        let pipe = directory.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let both = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let file = PathBuf::from(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&both)));
        let mut reading = Reading::new(file.clone());
        reading.patience = Duration::from_millis(20);
        for _ in 0..HANGING {
            reading.begin();
            let refusal = reading.finished().await.unwrap_err().refusal;
            assert_eq!(refusal.error, format!("cannot read {}: no answer after 20ms", file.display()));
        }
        reading.begin();
        let refusal = reading.finished().await.unwrap_err().refusal;
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
        let mut reading = Reading::new(file.clone());
        for path in [&drop_in, &file] {
            if path == &file {
                fs::remove_file(&file).unwrap();
                nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }
            reading.begin();
            let refusal = reading.finished().await.unwrap_err().refusal;
            let said = format!("cannot read `{}`: it is a pipe, not a file", path.display());
            assert!(refusal.error.contains(&said), "{}", refusal.error);
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
