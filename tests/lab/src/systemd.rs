//! A real systemd of the test's own: a user instance with its own directories, reached by its private socket or a bus.
//!
//! A directory in `/run`, in its own mount namespace, makes it believe that the host runs systemd. It manages cgroups
//! below its own one in each hierarchy that systemd would use. Dropping it kills all processes there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

const SYSTEMD: &str = "/lib/systemd/systemd";
/// What systemd needs to start, on a busy machine too.
const SOON: Duration = Duration::from_secs(30);
/// Where hierarchies of cgroups are, with processes but without controllers.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// Paths of cgroups that nobody has, one in each hierarchy.
fn cgroups(what: &str) -> Vec<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("vipcast-{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let hierarchies = HIERARCHIES.iter().filter(|path| Path::new(path).join("cgroup.procs").exists());
    hierarchies.map(|path| Path::new(path).join(&name)).collect()
}

/// A running systemd.
#[derive(Debug)]
pub struct Systemd {
    child: Child,
    directory: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Systemd {
    /// Why there can be none here.
    ///
    /// # Errors
    /// In words.
    pub fn available() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("only root can make cgroups".into());
        }
        if let Some(program) = [SYSTEMD, "/usr/bin/dbus-daemon"].iter().find(|path| !Path::new(path).exists())
        {
            return Err(format!("{program} is not installed"));
        }
        let cgroups = cgroups("available");
        if cgroups.is_empty() {
            return Err("there are no cgroups here".into());
        }
        for cgroup in cgroups {
            fs::create_dir(&cgroup)
                .and_then(|()| fs::remove_dir(&cgroup))
                .map_err(|error| format!("no cgroup can be made in {}: {error}", cgroup.display()))?;
        }
        Ok(())
    }

    /// Starts it with these units (name and text; nothing: masked) and a bus, below a directory that does not exist yet.
    /// `command` makes what runs a program, in a network namespace perhaps.
    ///
    /// # Errors
    /// It does not start, with what it said.
    pub fn start(
        directory: &Path,
        units: &[(&str, &str)],
        command: impl FnOnce(&str) -> Command,
    ) -> Result<Self> {
        for name in ["units", "runtime", "home"] {
            fs::create_dir_all(directory.join(name)).context("cannot make the directories of systemd")?;
        }
        let own = [
            ("default.target", "[Unit]\nDescription=nothing\n"),
            ("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%t/bus\n"),
            (
                "dbus.service",
                "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\n\
                 ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile\n",
            ),
        ];
        for (name, text) in own.iter().chain(units) {
            let path = directory.join("units").join(name);
            if text.is_empty() {
                std::os::unix::fs::symlink("/dev/null", &path)?;
            } else {
                fs::write(&path, text)?;
            }
        }
        let cgroups = cgroups("test");
        cgroups.iter().try_for_each(fs::create_dir).context("cannot make a cgroup")?;
        let enter: String =
            cgroups.iter().map(|path| format!("echo $$ > {}/cgroup.procs && ", path.display())).collect();
        let script = format!(
            "{enter} mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && \
             exec {SYSTEMD} --user --log-target=console --log-level=info"
        );
        let log = fs::File::create(directory.join("log"))?;
        let mut command = command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command.env_clear().envs(environment(directory));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let systemd = Self { child, directory: directory.to_owned(), cgroups };
        wait::until("systemd to listen", SOON, || {
            let log = fs::read_to_string(systemd.directory.join("log")).unwrap_or_default();
            ensure!(systemd.private().exists(), "its log: {log}");
            Ok(())
        })?;
        Ok(systemd)
    }

    /// The socket of systemd itself.
    pub fn private(&self) -> PathBuf {
        self.directory.join("runtime/systemd/private")
    }

    /// The socket of a bus that systemd is on, a real dbus-daemon.
    ///
    /// # Errors
    /// It does not get there.
    pub fn bus(&self) -> Result<PathBuf> {
        self.ctl(&["start", "dbus.service"])?;
        let path = self.directory.join("runtime/bus");
        wait::until("systemd to be on the bus", SOON, || {
            let mut command = Command::new("dbus-send");
            command.arg(format!("--bus=unix:path={}", path.display())).args([
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/",
                "org.freedesktop.DBus.GetNameOwner",
                "string:org.freedesktop.systemd1",
            ]);
            let output = command.output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })?;
        Ok(path)
    }

    /// `systemctl --user` with these arguments.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("systemctl");
        command.arg("--user").args(arguments).env_clear().envs(environment(&self.directory));
        crate::lab::run(&mut command)
    }

    /// The main process of a service.
    ///
    /// # Errors
    /// It has none.
    pub fn main_pid(&self, unit: &str) -> Result<i32> {
        let pid: i32 = self.ctl(&["show", "--value", "-p", "MainPID", unit])?.trim().parse()?;
        // 0 would be all of us.
        ensure!(pid > 1, "{unit} does not run");
        Ok(pid)
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // It has ended, or will: then nothing is left to kill.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        let left = || -> Vec<i32> { self.cgroups.iter().flat_map(|path| processes(path)).collect() };
        let _late = wait::until("all of its services to die", SOON, || {
            let left = left();
            for pid in &left {
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        });
        self.cgroups.iter().for_each(|path| remove(path));
    }
}

fn environment(directory: &Path) -> Vec<(&'static str, String)> {
    let below = |name| directory.join(name).display().to_string();
    vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
        ("HOME", below("home")),
        ("XDG_RUNTIME_DIR", below("runtime")),
        ("SYSTEMD_UNIT_PATH", below("units")),
        ("LC_ALL", "C".into()),
    ]
}

/// All processes of a cgroup and those below it.
fn processes(cgroup: &Path) -> Vec<i32> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|line| line.parse().ok());
    own.chain(children(cgroup).iter().flat_map(|child| processes(child))).collect()
}

fn remove(cgroup: &Path) {
    children(cgroup).iter().for_each(|child| remove(child));
    // One that stays is empty and in nobody's way.
    let _stays = fs::remove_dir(cgroup);
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
