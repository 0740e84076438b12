//! A virtual machine: qemu with one emulated processor, its console in a file, and an agent on the second serial port.
//!
//! The agent reads a number and a script in base64 from a line, and answers with the number, the exit status and what the script
//! said, in base64. Its unit starts it at every boot, and it says `ready` first.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use vipcast_lab::{Host, wait};

use crate::supplies::{Kernel, output};

/// More than a boot takes on a busy machine.
pub(crate) const BOOT: Duration = Duration::from_secs(300);
/// More than any command there takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// A machine that is switched off when it is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    qemu: Child,
    console: PathBuf,
}

impl Machine {
    /// Switches a machine on. `host` is the one in whose network qemu has its ports; `arguments` are those of qemu for its devices.
    /// A machine with a port is not to lose a datagram for want of the processor: it comes before the others.
    pub(crate) fn start(
        host: Option<&Host>,
        directory: &Path,
        kernel: &Kernel,
        initrd: &Path,
        arguments: &[String],
    ) -> Result<Self> {
        let console = directory.join("console.log");
        let mut qemu = host.map_or_else(|| Command::new("timeout"), |host| host.command("timeout"));
        // Whatever becomes of the test, it ends.
        qemu.args([
            "--signal",
            "KILL",
            "7200",
            "nice",
            "-n",
            if host.is_some() { "-5" } else { "0" },
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-smp",
            "1",
        ]);
        qemu.args(["-m", "384", "-nodefaults", "-nographic", "-no-reboot", "-kernel"]).arg(&kernel.image);
        qemu.arg("-initrd").arg(initrd).args(["-append", "console=ttyS0 quiet panic=-1"]);
        qemu.args(["-serial", &format!("file:{}", console.display())]).args(arguments);
        let child = qemu.stdin(Stdio::null()).spawn().context("cannot run qemu")?;
        Ok(Self { qemu: child, console })
    }

    /// What it has written to its console.
    pub(crate) fn console(&self) -> String {
        fs::read(&self.console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until it is switched off from within.
    pub(crate) fn wait_off(&mut self) -> Result<()> {
        wait::until("the machine to switch itself off", BOOT, || {
            let ended = self.qemu.try_wait()?.is_some();
            ensure!(ended, "its console: {}", tail(&self.console()));
            Ok(())
        })
    }

    /// Waits until it says that it has stopped; it stays on.
    pub(crate) fn wait_halted(&self) -> Result<()> {
        wait::until("the machine to halt", BOOT, || {
            let console = self.console();
            ensure!(console.contains("System halted"), "its console: {}", tail(&console));
            Ok(())
        })
    }
}

impl Machine {
    /// Takes its power away. Does nothing if it is off.
    pub(crate) fn switch_off(&mut self) {
        // Its number may be another's by now.
        if matches!(self.qemu.try_wait(), Ok(Some(_))) {
            return;
        }
        // `timeout` gives the signal to qemu.
        let _ended = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.qemu.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _reaped = self.qemu.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.switch_off();
    }
}

/// The end of a console, for an error.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The arguments of qemu for a network card, whose other end is the port `name` on the host outside. `number` is that of the card
/// among those that meet.
pub(crate) fn network(name: &str, number: u8) -> [String; 4] {
    [
        "-netdev".to_owned(),
        format!("tap,id=wire,ifname={name},script=no,downscript=no"),
        "-device".to_owned(),
        format!("virtio-net-pci,netdev=wire,mac=52:54:00:00:00:{number:02x}"),
    ]
}

/// The line to the agent of a machine.
#[derive(Debug)]
pub(crate) struct Agent {
    reader: BufReader<UnixStream>,
    number: u32,
    directory: PathBuf,
}

impl Agent {
    /// The arguments of qemu that make the second serial port.
    pub(crate) fn port(directory: &Path) -> [String; 2] {
        ["-serial".to_owned(), format!("unix:{},server=on,wait=off", socket(directory).display())]
    }

    /// Connects to a machine that was just switched on.
    pub(crate) fn connect(directory: &Path) -> Result<Self> {
        let stream = wait::until("qemu to listen", PATIENCE, || Ok(UnixStream::connect(socket(directory))?))?;
        Ok(Self { reader: BufReader::new(stream), number: 0, directory: directory.to_owned() })
    }

    /// Waits for the agent of a boot.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        while self.line(deadline)? != "ready" {}
        Ok(())
    }

    /// Runs a script of the shell, and tells what it said.
    pub(crate) fn shell(&mut self, script: &str) -> Result<String> {
        self.number += 1;
        let wanted = self.number.to_string();
        let coded = self.base64(script.as_bytes(), &["--wrap=0"])?;
        self.reader
            .get_mut()
            .write_all(format!("{wanted} {}\n", String::from_utf8_lossy(&coded)).as_bytes())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.line(deadline).with_context(|| format!("no answer to {script}"))?;
            let mut words = line.split(' ');
            if words.next() != Some(&wanted) {
                continue;
            }
            let status = words.next().unwrap_or_default().to_owned();
            let said = self.base64(words.next().unwrap_or_default().as_bytes(), &["--decode"])?;
            let said = String::from_utf8_lossy(&said).into_owned();
            ensure!(status == "0", "{script}: exit status {status}: {said}");
            return Ok(said);
        }
    }

    /// Waits until a script succeeds.
    pub(crate) fn until(&mut self, what: &str, script: &str, patience: Duration) -> Result<String> {
        wait::until(what, patience, || self.shell(script))
    }

    fn line(&mut self, deadline: Instant) -> Result<String> {
        let mut line = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "the machine does not answer");
            self.reader.get_ref().set_read_timeout(Some(left))?;
            match self.reader.read_line(&mut line) {
                Ok(0) => bail!("the machine is off"),
                Ok(_) => return Ok(line.trim().to_owned()),
                // What was read so far stays in `line`.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("the machine is gone"),
            }
        }
    }

    fn base64(&self, bytes: &[u8], arguments: &[&str]) -> Result<Vec<u8>> {
        let file = self.directory.join("message");
        fs::write(&file, bytes).context("cannot write a message")?;
        Ok(output(Command::new("base64").args(arguments).arg(&file))?.into_bytes())
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("agent.sock")
}
