//! A server as a child process, and vipcast asking it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;

/// More than any server needs to start, on a busy machine too.
const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Why the tests that need `program` cannot run here.
pub(crate) fn needs(program: &str) -> Result<(), String> {
    let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    match directories.iter().any(|directory| Path::new(directory).join(program).exists()) {
        true => Ok(()),
        false => Err(format!("{program} is not installed")),
    }
}

/// A directory of its own, removed at the end.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vipcast-checks-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its whole path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing is wrong with the test when it stays.
        let _kept = fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed at the end, with all that it has started.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, whose output goes to a file in `directory`.
    pub(crate) fn start(mut command: Command, directory: &Directory) -> Result<Self> {
        let log = directory.path().join("log");
        let file = fs::File::create(&log)?;
        let child =
            command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start {command:?}"))?, log })
    }

    /// Waits until it is `ready`; shows what it wrote when it has ended or takes too long.
    pub(crate) fn wait_until(mut self, mut ready: impl FnMut() -> bool) -> Result<Self> {
        let begin = Instant::now();
        while !ready() {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("it has ended, {status}: {}", log());
            }
            ensure!(begin.elapsed() < SOON, "it does not get ready: {}", log());
            thread::sleep(LOOK);
        }
        Ok(self)
    }

    /// Waits until somebody accepts connections there.
    pub(crate) fn listening_on(self, port: u16) -> Result<Self> {
        self.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With all that it has started, of which the kernel would tell it nothing. It may have ended before.
        let _ended = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _reaped = self.child.wait();
    }
}

/// A TCP port that nobody has, and nobody gets soon: the kernel hands them out in turns.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What `vipcast check --probe --json` says of one check.
#[derive(Debug, Deserialize)]
pub(crate) struct Probed {
    pub(crate) passed: bool,
    pub(crate) detail: String,
}

/// Asks all of these checks once; each is written as it would be in a configuration, on one line.
pub(crate) fn ask<'a>(
    checks: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<BTreeMap<String, Probed>> {
    ask_with(Command::new(vipcast()), checks)
}

/// The program that is tested.
pub(crate) fn vipcast() -> &'static str {
    env!("CARGO_BIN_EXE_vipcast")
}

/// The same with a `command` that runs [`vipcast`] elsewhere, or as somebody else.
pub(crate) fn ask_with<'a>(
    mut command: Command,
    checks: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<BTreeMap<String, Probed>> {
    let directory = Directory::new()?;
    let mut text =
        String::from("local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\nchecks:\n");
    let mut names = Vec::new();
    for (name, check) in checks {
        writeln!(text, "  {name}: {check}")?;
        names.push(name);
    }
    writeln!(text, "services: {{web: {{vips: [198.51.100.1], checks: [{}]}}}}", names.join(", "))?;
    let config = directory.write("vipcast.yaml", &text)?;
    let output = command.args(["check", "--probe", "--json"]).arg(&config).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "{}\n{}{text}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        )
    })
}

/// Asks all of `checks` (name, check, passes or not, what is said) and compares.
pub(crate) fn expect(checks: &[(&str, String, bool, &str)]) -> Result<()> {
    expect_with(Command::new(vipcast()), checks)
}

/// The same with a `command` that runs [`vipcast`] elsewhere, or as somebody else.
pub(crate) fn expect_with(command: Command, checks: &[(&str, String, bool, &str)]) -> Result<()> {
    let asked = ask_with(command, checks.iter().map(|(name, check, ..)| (*name, check.clone())))?;
    let mut wrong = String::new();
    for (name, check, passed, detail) in checks {
        let probed = &asked[*name];
        if (probed.passed, probed.detail.as_str()) != (*passed, *detail) {
            writeln!(wrong, "{name}: {check}\n  wanted {passed}: {detail}\n  found  {probed:?}")?;
        }
    }
    ensure!(wrong.is_empty(), "\n{wrong}");
    Ok(())
}
