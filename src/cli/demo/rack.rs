//! The edge node: `vipcast run` as a child process, with a configuration of its own in a temporary directory.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::ifaddrs::getifaddrs;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::super::output::complain;
use super::namespace::{EDGE, TOR};
use super::tor::{EDGE_AS, TOR_AS};

/// The running daemon. Dropping it kills the process and removes the directory.
pub(super) struct Edge {
    directory: PathBuf,
    child: Child,
}

impl Edge {
    pub(super) fn start(vip: IpAddr, interval: Duration, fast_interval: Duration) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("vipcast-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let spawn = || {
            let config = directory.join("vipcast.yaml");
            let text = configuration(&directory, vip, interval, fast_interval);
            fs::write(&config, text).context("cannot write the configuration")?;
            let log = File::create(directory.join("vipcast.log")).context("cannot create the log")?;
            let program = std::env::current_exe().context("cannot find our own program")?;
            let mut command = Command::new(program);
            command
                .args(["run", "--config"])
                .arg(config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
            command.env_remove("JOURNAL_STREAM").env_remove("NOTIFY_SOCKET").kill_on_drop(true);
            command.spawn().context("cannot start the daemon")
        };
        match spawn() {
            Ok(child) => Ok(Self { directory, child }),
            Err(error) => {
                remove(&directory);
                Err(error)
            }
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("vipcast.log")).unwrap_or_default()
    }

    /// SIGTERM.
    pub(super) fn terminate(&self) -> Result<()> {
        let pid = self.child.id().context("the daemon is gone")?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM).context("cannot signal the daemon")
    }

    pub(super) async fn wait_exit(&mut self, patience: Duration) -> Result<ExitStatus> {
        let exited = timeout(patience, self.child.wait()).await;
        exited
            .map_err(|_elapsed| anyhow!("the daemon did not exit within {patience:?}"))?
            .context("cannot wait")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        complain(&format!("warning: cannot remove {}: {error}\n", directory.display()));
    }
}

/// Whether an address is on this host.
pub(super) fn is_bound(ip: IpAddr) -> Result<bool> {
    let mut entries = getifaddrs().context("cannot list addresses")?.filter_map(|entry| entry.address);
    Ok(entries.any(|address| address.as_sockaddr_in().is_some_and(|v4| IpAddr::V4(v4.ip()) == ip)))
}

fn configuration(directory: &Path, vip: IpAddr, interval: Duration, fast_interval: Duration) -> String {
    let (interval, fast) = (interval.as_millis(), fast_interval.as_millis());
    let directory = directory.display();
    format!(
        "local_as: {EDGE_AS}
router_id: {EDGE}
state_dir: {directory}/state
control: {{socket: {directory}/control.sock}}
peers:
  tor: {{address: {TOR}, peer_as: {TOR_AS}, source_address: {EDGE}}}
listen: {{addresses: [{EDGE}]}}
checks:
  web:
    http: {{url: \"http://{vip}/healthz\"}}
    interval: {interval}ms
    fast_interval: {fast}ms
    timeout: {fast}ms
services:
  web: {{vips: [{vip}], checks: [web]}}
shutdown: {{drain_time: 1s, unbind_delay: 200ms}}
"
    )
}
