//! The common part of all routers: a host, a directory, a configuration file and processes.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::host::Host;
use crate::lab::unpoisoned;
use crate::process::{Process, Signal, tail};
use crate::router::{RouterConfig, RouterKind};
use crate::wait;

/// How long a daemon may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A router's files and processes.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) kind: RouterKind,
    pub(crate) host: Host,
    pub(crate) config: RouterConfig,
    /// Its own: sockets, pid files, configuration.
    pub(crate) directory: PathBuf,
    /// In the order of their start; the one that speaks BGP is the last.
    processes: Mutex<Vec<Process>>,
}

impl Instance {
    pub(crate) fn new(kind: RouterKind, host: &Host, config: &RouterConfig) -> Result<Self> {
        let number = host.scene().next_number();
        // Short, because the path of a unix socket has room for 108 bytes.
        let directory = host.scene().directory().join(format!("{kind}{number}"));
        fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(Self { kind, host: host.clone(), config: config.clone(), directory, processes: Mutex::default() })
    }

    /// The path of a file in its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file into its directory.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Starts a daemon and waits until `ready` succeeds.
    ///
    /// # Errors
    /// As soon as the daemon ends, and when it is not ready in time; with the end of its log.
    pub(crate) fn launch(
        &self,
        name: &str,
        command: Command,
        mut ready: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let process = self.host.spawn(name, command)?;
        let result = wait::until(format!("{name} to answer"), START, || match process.exit_status()? {
            Some(status) => Ok(Err(status)),
            None => ready().map(Ok),
        });
        let log = || tail(&process.log(), 30);
        match result {
            Ok(Ok(())) => {
                unpoisoned(&self.processes).push(process);
                Ok(())
            }
            Ok(Err(status)) => bail!("{name} ended at once: {status}; log:\n{}", log()),
            Err(error) => Err(error.context(format!("{name} does not start; log:\n{}", log()))),
        }
    }

    /// Fails when it runs already.
    pub(crate) fn expect_stopped(&self) -> Result<()> {
        let mut processes = unpoisoned(&self.processes);
        processes.retain(Process::is_running);
        ensure!(processes.is_empty(), "{} on {} runs already", self.kind, self.host.name());
        Ok(())
    }

    /// Ends all processes, the one that speaks BGP first, so that it can say goodbye.
    pub(crate) fn stop(&self) -> Result<()> {
        let mut processes = std::mem::take(&mut *unpoisoned(&self.processes));
        while let Some(process) = processes.pop() {
            if process.is_running() {
                process.kill(Signal::SIGTERM)?;
                process.wait_exit(Duration::from_secs(10))?;
            }
        }
        Ok(())
    }

    /// Kills all processes and their children.
    pub(crate) fn kill(&self) {
        let processes = std::mem::take(&mut *unpoisoned(&self.processes));
        processes.iter().for_each(Process::end);
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        let processes = unpoisoned(&self.processes);
        let speaker = processes.last().filter(|process| process.is_running());
        speaker
            .map(Process::pid)
            .with_context(|| format!("{} on {} does not run", self.kind, self.host.name()))
    }

    pub(crate) fn log(&self) -> String {
        unpoisoned(&self.processes).iter().map(Process::log).collect()
    }

    /// The configuration file and the answers to some commands.
    pub(crate) fn dump(
        &self,
        config: &str,
        commands: &[&str],
        cli: impl Fn(&str) -> Result<String>,
    ) -> String {
        let mut text = format!("=== {} on {} ===\n--- {config}\n", self.kind, self.host.name());
        text.push_str(&fs::read_to_string(self.file(config)).unwrap_or_else(|error| format!("{error}\n")));
        for command in commands {
            let answer = cli(command).unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("--- {command}\n{answer}"));
        }
        text
    }
}

/// Whether somebody accepts connections on a unix socket.
pub(crate) fn accepts(socket: &Path) -> Result<()> {
    UnixStream::connect(socket).map(drop).with_context(|| format!("nobody at {}", socket.display()))
}

/// The methods of [`Router`](crate::router::Router) which are the same for every kind with an `instance` field.
macro_rules! delegate_to_instance {
    () => {
        fn kind(&self) -> RouterKind {
            self.instance.kind
        }

        fn host(&self) -> &Host {
            &self.instance.host
        }

        fn config(&self) -> &RouterConfig {
            &self.instance.config
        }

        fn stop(&self) -> Result<()> {
            self.instance.stop()
        }

        fn kill(&self) {
            self.instance.kill();
        }

        fn pid(&self) -> Result<u32> {
            self.instance.pid()
        }

        fn log(&self) -> String {
            self.instance.log()
        }
    };
}
pub(crate) use delegate_to_instance;
