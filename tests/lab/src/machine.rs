//! A machine: a host of the lab that is booted, with a systemd as its first process and a dpkg that may install and remove.
//!
//! ```text
//!  this machine's files ── overlay, read only below ──► /  of the machine; its writes stay in memory
//!  the namespace of the host ────────────────────────► its network
//!  namespaces of processes, mounts, names, cgroups ──► its own
//! ```
//!
//! So it has the same system and programs as this machine, and boots within a second. Services that are enabled here
//! are not enabled there. The kernel is shared, so no test may change its variables, and so is the clock. The machine
//! ends with its first process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::lab::{find_program, run};
use crate::process::Process;
use crate::{remains, wait};

const SYSTEMD: &str = "/lib/systemd/systemd";
/// What a boot, a shutdown or an installation takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(60);

/// Makes the root of a machine at `$1/root`.
const ROOT: &str = r#"
set -eu
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    : >"dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
ln -s /proc/self/fd dev/fd
ln -s pts/ptmx dev/ptmx
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
for place in run var/log; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
mount -t tmpfs -o mode=1777 tmpfs tmp
# What is enabled on this machine, and who may start what on it, is of no concern to the new one.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires usr/sbin/policy-rc.d
: >etc/machine-id
# The kernel is not its own.
for unit in systemd-sysctl.service systemd-modules-load.service systemd-udevd.service kmod-static-nodes.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
mkdir old
pivot_root . old
cd /
umount -l old
"#;

/// Its first process.
const BOOT: &str = "exec env -i container=lab LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                    /lib/systemd/systemd --log-target=journal --show-status=false";

/// One without systemd: a chroot, as far as a package can tell.
const IDLE: &str =
    "exec env -i LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sleep infinity";

/// A machine that is up. Dropping it is pulling its plug.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    /// Its first process, as this machine counts.
    init: i32,
    cgroup: PathBuf,
    scratch: PathBuf,
}

impl Machine {
    /// Why there can be none here.
    ///
    /// # Errors
    /// In words.
    pub fn available() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("not root".to_owned());
        }
        for (program, package) in
            [("dpkg", "dpkg"), ("deb-systemd-helper", "init-system-helpers"), ("pivot_root", "mount")]
        {
            find_program(program)
                .ok_or_else(|| format!("{program} is missing (Debian package {package})"))?;
        }
        if !Path::new(SYSTEMD).exists() {
            return Err(format!("{SYSTEMD} is not installed"));
        }
        let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
            return Err("the kernel has no overlay file system".to_owned());
        }
        let hierarchy = remains::unified_cgroups().ok_or("no unified hierarchy of cgroups is mounted")?;
        let cgroup = hierarchy.join(format!("vipcast-available-{}", std::process::id()));
        fs::create_dir(&cgroup)
            .and_then(|()| fs::remove_dir(&cgroup))
            .map_err(|error| format!("no cgroup can be made in {}: {error}", hierarchy.display()))
    }

    /// Boots a host, and returns when all that belongs to its boot has started.
    ///
    /// # Errors
    /// It does not come up, with its log.
    pub fn boot(host: &Host) -> Result<Self> {
        let machine = Self::start(host, BOOT)?;
        wait::until(format!("{} to boot", host.name()), SOON, || {
            let mut command = machine.command("systemctl");
            let output = command.arg("is-system-running").output()?;
            let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            ensure!(
                matches!(state.as_str(), "running" | "degraded"),
                "{state}; its log: {}",
                machine.process.log()
            );
            Ok(())
        })?;
        Ok(machine)
    }

    /// The same files and namespaces without a systemd that runs.
    ///
    /// # Errors
    /// The root cannot be made, with what was said.
    pub fn chroot(host: &Host) -> Result<Self> {
        Self::start(host, IDLE)
    }

    fn start(host: &Host, first: &str) -> Result<Self> {
        let hierarchy = remains::unified_cgroups().context("no unified hierarchy of cgroups is mounted")?;
        // Found by this name when the lab is cleared away.
        let cgroup = hierarchy.join(host.namespace());
        fs::create_dir(&cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
        let scratch = host.scene().directory().join(format!("{}-machine", host.name()));
        fs::create_dir(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        let script = host.write_file("machine.sh", &format!("{ROOT}{first}\n"))?;
        let enter = format!(
            "echo $$ >{}/cgroup.procs && exec unshare --mount --propagation private --pid --uts --ipc --cgroup --fork \
             --kill-child sh {} {}",
            cgroup.display(),
            script.display(),
            scratch.display()
        );
        let mut command = host.command("sh");
        command.args(["-c", &enter]);
        let process = host.spawn("machine", command)?;
        let init = wait::until(format!("the first process of {}", host.name()), SOON, || {
            let children = format!("/proc/{0}/task/{0}/children", process.pid());
            let children = fs::read_to_string(children).unwrap_or_default();
            let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
            let init: i32 = child.with_context(|| format!("its log: {}", process.log()))?;
            // Until then it is the shell that makes the root.
            let program = fs::read_link(format!("/proc/{init}/exe")).unwrap_or_default();
            ensure!(
                program.ends_with("systemd") || program.ends_with("sleep"),
                "it is {}",
                program.display()
            );
            Ok(init)
        })?;
        Ok(Self { process, init, cgroup, scratch })
    }

    /// A command that will run on the machine, as root.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--all", "--", "env", "-i", "LC_ALL=C"]);
        command.arg("DEBIAN_FRONTEND=noninteractive");
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["timeout", "-k", "1", &SOON.as_secs().to_string(), program]);
        command
    }

    /// Runs a program on the machine to its end and returns what it said on standard output.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let (program, arguments) = arguments.split_first().context("no program")?;
        run(self.command(program).args(arguments))
    }

    /// A script of the shell; what it says on standard error is in the result, too.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub fn shell(&self, script: &str) -> Result<String> {
        self.run(&["sh", "-ec", &format!("exec 2>&1\n{script}")])
    }

    /// Copies a file of this machine to `/root` of that one, and tells where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn copy(&self, file: &Path) -> Result<PathBuf> {
        let name = file.file_name().context("a file has a name")?;
        let there = Path::new("/root").join(name);
        let root = PathBuf::from(format!("/proc/{}/root/root", self.init));
        fs::copy(file, root.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        Ok(there)
    }

    /// Writes a file of the machine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, contents: &str) -> Result<()> {
        let place = format!("/proc/{}/root{path}", self.init);
        if let Some(directory) = Path::new(&place).parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(&place, contents).with_context(|| format!("cannot write {path} of the machine"))
    }
}

impl Drop for Machine {
    /// With its first process all others end; then the cgroup is free, and the host may be booted again.
    fn drop(&mut self) {
        self.process.end();
        // One that stays is found by its name when the lab is cleared away.
        let _stays = remains::remove_cgroup(&self.cgroup);
        let _stays = fs::remove_dir(&self.scratch);
    }
}
