//! A vipcast daemon on a lab host: its configuration, its process, its status.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipcast::control::api::{Explanation, SessionState, Status};
use vipcast_lab::{Host, Lab, Process, Signal};

/// The program under test. `VIPCAST_PROGRAM` names another build of it: whether a test finds an old fault is seen by running it
/// on the build that has the fault.
pub(crate) static VIPCAST: LazyLock<String> = LazyLock::new(|| {
    std::env::var("VIPCAST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_vipcast").to_owned())
});
/// Names the program as people run it, for what is promised of that; `tests/run` sets it.
pub(crate) const RELEASE: &str = "VIPCAST_RELEASE";
/// A wrapper that runs that one in the place of the program under test, if there is one.
pub(crate) const RELEASED: &[&str] =
    &["sh", "-c", "exec \"${VIPCAST_RELEASE:-$1}\" \"$2\" \"$3\" \"$4\"", "sh"];

/// That one by itself.
pub(crate) fn released() -> String {
    std::env::var(RELEASE).unwrap_or_else(|_| VIPCAST.clone())
}

/// Whether what `RELEASED` runs is a build for release.
pub(crate) fn is_released() -> bool {
    !cfg!(debug_assertions) || std::env::var_os(RELEASE).is_some()
}

/// A running daemon.
pub(crate) struct Node {
    host: Host,
    config: PathBuf,
    socket: PathBuf,
    /// What starts it.
    wrapper: &'static [&'static str],
    pub(crate) process: Process,
}

impl Node {
    /// Starts `vipcast run` on `host`. `config` lacks only what belongs to the lab: the state directory and the socket.
    pub(crate) fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self> {
        Self::start_by(&[], lab, host, config)
    }

    /// The same by way of a command that becomes the program which its last arguments name, as `nice` does.
    pub(crate) fn start_by(
        wrapper: &'static [&'static str],
        lab: &Lab,
        host: &Host,
        config: &str,
    ) -> Result<Self> {
        let path = host.write_file("vipcast.yaml", &complete(lab, host, config))?;
        let process = spawn(wrapper, host, &path)?;
        let socket = socket(lab, host);
        Ok(Self { host: host.clone(), config: path, socket, wrapper, process })
    }

    /// Starts it again after it ended, with the configuration as it is now.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = spawn(self.wrapper, &self.host, &self.config)?;
        Ok(())
    }

    /// Changes the configuration file; nothing is reloaded.
    pub(crate) fn write_config(&self, lab: &Lab, config: &str) -> Result<()> {
        fs::write(&self.config, complete(lab, &self.host, config)).context("cannot write the configuration")
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.process.kill(Signal::SIGHUP)
    }

    /// A command against the daemon, to be run for as long as it takes.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(&*VIPCAST);
        command.args(arguments).arg("--socket").arg(&self.socket);
        command
    }

    /// Runs a command against the daemon, as an operator would.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.socket.to_string_lossy().into_owned();
        let mut command = vec![VIPCAST.as_str()];
        command.extend_from_slice(arguments);
        command.extend_from_slice(&["--socket", &socket]);
        self.host.run(command)
    }

    pub(crate) fn status(&self) -> Result<Status> {
        serde_json::from_str(&self.cli(&["status", "--json"])?).context("status --json")
    }

    pub(crate) fn explain(&self, vip: IpAddr) -> Result<Explanation> {
        serde_json::from_str(&self.cli(&["explain", &vip.to_string(), "--json"])?).context("explain --json")
    }

    /// Waits until the session with `peer` is up, as we see it.
    pub(crate) fn wait_established(&self, lab: &Lab, peer: &str, timeout: Duration) -> Result<()> {
        lab.until(format_args!("{} to see {peer} Established", self.host.name()), timeout, || {
            let status = self.status()?;
            let peer = status.peers.get(peer).with_context(|| format!("no peer {peer}"))?;
            ensure!(peer.state == SessionState::Established, "{peer:?}");
            Ok(())
        })
    }

    /// Waits until the verdict about `vip` is this word.
    pub(crate) fn wait_verdict(&self, lab: &Lab, vip: IpAddr, word: &str, timeout: Duration) -> Result<()> {
        lab.until(format_args!("{vip} to be {word}"), timeout, || {
            let explanation = self.explain(vip)?;
            ensure!(explanation.vip.verdict.word() == word, "{:?}", explanation.vip);
            Ok(())
        })
    }

    /// Whether an address is on the host, and if so whether it looks like ours.
    pub(crate) fn address(&self, ip: IpAddr) -> Result<Option<bool>> {
        address(&self.host, ip)
    }
}

/// Whether an IPv4 address is on the host, and if so whether it looks like ours: scope host. (Our address protocol is
/// what the daemon goes by; iproute2 shows it only from 6.3 on.)
pub(crate) fn address(host: &Host, ip: IpAddr) -> Result<Option<bool>> {
    let listed: serde_json::Value = serde_json::from_str(&host.run(["ip", "-j", "address"])?)?;
    let entries = listed.as_array().into_iter().flatten();
    let mut addresses = entries.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    let found = addresses.rfind(|address| address["local"].as_str() == Some(&ip.to_string()));
    Ok(found.map(|address| address["scope"].as_str() == Some("host")))
}

fn spawn(wrapper: &[&str], host: &Host, config: &std::path::Path) -> Result<Process> {
    let words = [wrapper, &[VIPCAST.as_str(), "run", "--config"]].concat();
    let mut command = host.command(words[0]);
    command.args(&words[1..]).arg(config);
    host.spawn("vipcast", command)
}

fn socket(lab: &Lab, host: &Host) -> PathBuf {
    lab.directory().join(format!("{}.sock", host.name()))
}

fn complete(lab: &Lab, host: &Host, config: &str) -> String {
    let state = lab.directory().join(format!("{}-state", host.name()));
    let log = if config.contains("\nlog: ") { "" } else { "log: {level: debug}\n" };
    format!(
        "state_dir: {}\ncontrol: {{socket: {}}}\n{log}{config}",
        state.display(),
        socket(lab, host).display()
    )
}
