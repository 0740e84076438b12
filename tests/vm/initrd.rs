//! A first file system for a kernel: busybox, other programs with their libraries, some modules, and a script as first process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use vipcast_lab::find_program;

use crate::supplies::{Kernel, output};

/// What is in it beside busybox.
#[derive(Debug, Default)]
pub(crate) struct Contents<'a> {
    pub(crate) modules: &'a [&'a str],
    pub(crate) programs: &'a [PathBuf],
    /// Files of this machine that have the same place there.
    pub(crate) files: &'a [&'a str],
    /// The first process.
    pub(crate) init: &'a str,
}

/// Writes it below `directory`.
pub(crate) fn make(directory: &Path, kernel: &Kernel, contents: &Contents<'_>) -> Result<PathBuf> {
    let root = directory.join("initrd");
    for name in ["bin", "dev", "etc", "modules", "proc", "root", "run", "sys", "tmp", "var/lib"] {
        fs::create_dir_all(root.join(name)).context("cannot make the directories of an initrd")?;
    }
    let busybox = find_program("busybox").context("busybox is missing")?;
    for program in contents.programs.iter().chain([&busybox]) {
        let name = program.file_name().context("a program has a name")?;
        fs::copy(program, root.join("bin").join(name)).context("cannot copy a program")?;
        copy_libraries(program, &root)?;
    }
    for file in contents.files {
        copy(Path::new(file), &root)?;
    }
    for module in contents.modules {
        let found = output(Command::new("find").arg(&kernel.tree).args(["-name", &format!("{module}.ko")]))?;
        let path = found.lines().next().with_context(|| format!("the kernel has no module {module}"))?;
        fs::copy(path, root.join("modules").join(format!("{module}.ko"))).context("cannot copy a module")?;
    }
    let script = root.join("init");
    fs::write(&script, contents.init).context("cannot write the first process")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("cannot make it executable")?;

    let archive = directory.join("initrd.cpio");
    let file = fs::File::create(&archive).context("cannot make an initrd")?;
    let names = output(Command::new("find").arg(".").current_dir(&root))?;
    let list = directory.join("initrd.list");
    fs::write(&list, names).context("cannot write a list")?;
    let mut pack = Command::new("busybox");
    pack.args(["cpio", "-o", "-H", "newc"]).current_dir(&root).stdin(fs::File::open(&list)?).stdout(file);
    let status = pack.stderr(Stdio::null()).status().context("cannot run busybox")?;
    ensure!(status.success(), "busybox cpio: {status}");
    Ok(archive)
}

/// Those that `ldd` names; a static program has none.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    let said = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), root)?;
    }
    Ok(())
}

/// To the same place below `root`.
fn copy(file: &Path, root: &Path) -> Result<()> {
    let place = root.join(file.strip_prefix("/").context("a file of this machine has a whole path")?);
    fs::create_dir_all(place.parent().context("a file is in a directory")?)?;
    fs::copy(file, &place).map(drop).with_context(|| format!("cannot copy {}", file.display()))
}
