//! What the machines are made of: kernels from the mirror that this machine uses, packages of this tree, a disk with a Debian.
//! All of it is made in the run, in a directory of its own; a disk for each [`Recipe`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use vipcast_lab::{debian, find_program};

pub(crate) const OLD: &str = "0.0.9-1";
pub(crate) const NEW: &str = "0.1.0-1";
/// The suite of the kernel of machines with systemd, and of most of their disks.
pub(crate) const SUITE: &str = "bookworm";

/// What is on every disk beside the smallest system.
const PACKAGES: &str = "--include=systemd,systemd-sysv,dbus,iproute2,busybox,kmod";
/// Nothing that only people read.
const UNREAD: [&str; 2] =
    ["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*"];
/// Units that wait for devices without udev, or do work that no test needs.
const MASKED: &str = "serial-getty@ttyS0.service getty@tty1.service e2scrub_reap.service e2scrub_all.timer \
                      apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer bird.service \
                      kexec.service kexec-load.service";

/// Adds the kernel's modules, our files and packages to the new system `$1`. `$2` is the unpacked kernel, `$3` a tree to copy.
const FURNISH: &str = r#"set -eu
root=$1
mkdir -p "$root/usr/lib/modules"
cp -a "$2"/lib/modules/* "$root/usr/lib/modules/"
for version in "$root"/usr/lib/modules/*; do
    chroot "$root" depmod "${version##*/}"
done
cp -r "$3"/. "$root/"
chmod 755 "$root/usr/local/sbin"/*
chroot "$root" systemctl --quiet enable SERVICES
chroot "$root" systemctl --quiet mask MASKED
echo vm >"$root/etc/hostname"
"#;

/// What a disk is made of.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) suite: &'static str,
    /// Beside [`PACKAGES`], each with a comma before it.
    pub(crate) packages: &'static str,
    /// Units of its files that begin at the boot.
    pub(crate) services: &'static str,
    /// A script that succeeds when a machine of it is in service.
    pub(crate) ready: &'static str,
    /// Each with its text.
    pub(crate) files: &'static [(&'static str, &'static str)],
}

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) tree: PathBuf,
}

pub(crate) struct Supplies {
    directory: PathBuf,
    kernels: Mutex<BTreeMap<String, Kernel>>,
    packages: Mutex<Option<PathBuf>>,
    disks: Mutex<BTreeMap<&'static str, PathBuf>>,
}

/// Why there can be no virtual machine here.
pub(crate) fn available() -> Result<(), String> {
    debian::available()?;
    for (name, package) in [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("mke2fs", "e2fsprogs"),
        ("busybox", "busybox"),
        ("dpkg-shlibdeps", "dpkg-dev"),
        ("strip", "binutils"),
    ] {
        find_program(name).ok_or_else(|| format!("{name} is missing (Debian package {package})"))?;
    }
    debian::mirror(SUITE).map(drop).ok_or_else(|| format!("apt knows no mirror of Debian {SUITE}"))
}

/// Whether the mirror has a suite; those that are old go elsewhere one day.
pub(crate) fn has(suite: &str) -> Result<(), String> {
    let missing = || format!("the mirror has no Debian {suite}");
    let url = format!("{}/dists/{suite}/InRelease", debian::mirror(SUITE).ok_or_else(missing)?);
    let mut fetch = Command::new("/usr/lib/apt/apt-helper");
    // It is told to write a file, and may leave none.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("release-{}", std::process::id()));
    let fetched = output(fetch.args(["download-file", &url]).arg(&place));
    let _absent = fs::remove_file(&place);
    fetched.map(drop).map_err(|_| missing())
}

/// The program under test: the release build if `tests/run` made one.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("VIPCAST_RELEASE").unwrap_or_else(|| env!("CARGO_BIN_EXE_vipcast").into()).into()
}

impl Supplies {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // Those of runs that were killed.
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix("vm-").is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                fs::remove_dir_all(entry.path()).context("cannot remove the directory of a run before")?;
            }
        }
        let directory = place.join(format!("vm-{}", std::process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Arc::new(Self {
            directory,
            kernels: Mutex::default(),
            packages: Mutex::default(),
            disks: Mutex::default(),
        }))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn clear(&self) {
        // The next run removes what stays.
        let _stays = fs::remove_dir_all(&self.directory);
    }

    /// The kernel for virtual machines of a suite, fetched once.
    pub(crate) fn kernel(&self, suite: &str) -> Result<Kernel> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(suite) {
            return Ok(kernel.clone());
        }
        let kernel = self.fetch(suite)?;
        kernels.insert(suite.to_owned(), kernel.clone());
        Ok(kernel)
    }

    /// apt gets a list of sources, and directories, of its own: this machine's are not touched.
    fn fetch(&self, suite: &str) -> Result<Kernel> {
        let place = self.directory.join(format!("kernel-{suite}"));
        for name in ["lists/partial", "cache/archives/partial", "tree"] {
            fs::create_dir_all(place.join(name)).context("cannot make the directories of apt")?;
        }
        let mirror = debian::mirror(SUITE).context("apt knows no mirror of Debian")?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let list = format!("deb [signed-by={keyring}] {mirror} {suite} main\n");
        fs::write(place.join("sources.list"), list).context("cannot write a list of sources")?;
        let settings = [
            format!("Dir::Etc::SourceList={}/sources.list", place.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}/lists", place.display()),
            format!("Dir::Cache={}/cache", place.display()),
            "Acquire::Languages=none".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let apt = |program: &str| {
            let mut command = Command::new(program);
            command.current_dir(&place).args(settings.iter().flat_map(|setting| ["-o", setting]));
            command
        };
        output(apt("apt-get").args(["--quiet", "--quiet", "update"]))?;
        let depends = output(apt("apt-cache").args(["depends", "linux-image-cloud-amd64"]))?;
        let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        let package = package.with_context(|| format!("Debian {suite} has no kernel: {depends}"))?;
        output(apt("apt-get").args(["--quiet", "--quiet", "download", package]))?;
        let deb = only_file(&place, "linux-image-")?;
        let tree = place.join("tree");
        output(Command::new("dpkg").arg("-x").arg(&deb).arg(&tree))?;
        fs::remove_file(&deb).context("cannot remove a package")?;
        Ok(Kernel { image: only_file(&tree.join("boot"), "vmlinuz-")?, tree })
    }

    /// A disk with Debian, the files of the recipe, a kernel with its first file system in `/boot`, and the packages of this
    /// tree in `/root`; made once. Machines do not write to it.
    pub(crate) fn disk(&self, recipe: &Recipe, kernel: &Kernel, initrd: &Path) -> Result<PathBuf> {
        let disks = || self.disks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = disks().get(recipe.name) {
            return Ok(disk.clone());
        }
        // Others may make theirs meanwhile.
        let disk = self.make_disk(recipe, kernel, initrd)?;
        disks().insert(recipe.name, disk.clone());
        Ok(disk)
    }

    fn make_disk(&self, recipe: &Recipe, kernel: &Kernel, initrd: &Path) -> Result<PathBuf> {
        let directory = self.directory.join(format!("disk-{}", recipe.name));
        let (files, root) = (directory.join("files"), directory.join("root"));
        for (name, text) in recipe.files {
            let path = files.join(name);
            fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        for place in ["root", "boot", "usr/local/sbin"] {
            fs::create_dir_all(files.join(place)).context("cannot make a directory")?;
        }
        let copy = |from: &Path, to: &str| {
            let copied = fs::copy(from, files.join(to));
            copied.map(drop).with_context(|| format!("cannot copy {}", from.display()))
        };
        copy(&vipcast_lab::agent()?, "usr/local/sbin/lab-agent")?;
        copy(&kernel.image, "boot/vmlinuz")?;
        copy(initrd, "boot/initrd")?;
        for entry in fs::read_dir(self.packages()?).context("cannot list the packages")?.flatten() {
            copy(&entry.path(), &format!("root/{}", entry.file_name().to_string_lossy()))?;
        }
        let script = directory.join("furnish.sh");
        let furnish = FURNISH.replace("MASKED", MASKED).replace("SERVICES", recipe.services);
        fs::write(&script, furnish).context("cannot write a script")?;
        let hook = format!(
            "--customize-hook=sh {} \"$1\" {} {}",
            script.display(),
            kernel.tree.display(),
            files.display()
        );
        let packages = format!("{PACKAGES}{}", recipe.packages);
        let options = ["--format=directory", &packages, UNREAD[0], UNREAD[1], &hook].map(str::to_owned);
        debian::make(recipe.suite, &options, &root)?;
        let disk = directory.join("disk.img");
        output(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg("1G"))?;
        fs::remove_dir_all(&root).context("cannot remove the files of the disk")?;
        Ok(disk)
    }

    /// A directory with the packages of both versions, made once.
    fn packages(&self) -> Result<PathBuf> {
        let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packages) = &*packages {
            return Ok(packages.clone());
        }
        let directory = self.directory.join("packages");
        for version in [OLD, NEW] {
            let here = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/deb/build");
            let mut build = Command::new(here);
            build.args(["--fast", "--version", version, "--binary"]).arg(program());
            output(build.arg("--output").arg(&directory))?;
        }
        *packages = Some(directory.clone());
        Ok(directory)
    }
}

fn only_file(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut paths = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let path = paths.next().with_context(|| format!("no {prefix}… in {}", directory.display()))?;
    Ok(path.path())
}

/// Runs a command to its end, and tells what it said on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}: {said}{complaint}", output.status);
    Ok(said.into_owned())
}
