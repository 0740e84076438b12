//! The state directory, which helps over a restart. It is help and not a condition (`docs/adr/0008`): with any fault of
//! it the daemon runs, and logs the loss.
//!
//! ```text
//! state_dir/lock          locked as long as the daemon lives; has its process id, for the operator
//! state_dir/drains.json   service -> drain (I12)
//! state_dir/overrides.json  forces, drains of peers, promotions (I12)
//! state_dir/held.json     the VIPs that are held back, and those that a start holds back
//! state_dir/restart.json  the process and the VIPs; exists only between two processes
//! ```
//!
//! `StateDir` reads and writes, and blocks as long as the disk does. Only the thread of the [`Store`] uses it.

mod disk;
pub(crate) mod file;
mod lock;
mod restart;
mod store;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vipcast_node::engine::{HeldBack, Left, Overrides};
use vipcast_node::vip::Vip;

use self::lock::Unlocked;
use self::restart::Announced;
pub use self::store::{Late, Opened, Store};
use self::stored::Clocks;

use crate::log::{note, trouble};

/// The reason why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made, or is not a directory.
    #[error("cannot use the state directory {}", path.display())]
    Directory {
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another daemon uses it: the only reason not to start.
    #[error("another vipcast (process {pid}) runs with the state directory {}", path.display())]
    Taken {
        /// The state directory.
        path: PathBuf,
        /// The process id in the lock file.
        pid: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

const LOCK: &str = "lock";
const DRAINS: &str = "drains.json";
const OVERRIDES: &str = "overrides.json";
const HELD: &str = "held.json";
const RESTART: &str = "restart.json";

/// The state directory, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The open directory, held so that no other one can get its inode number.
    directory: File,
    /// `None` if the disk has no locks.
    lock: Option<File>,
}

impl StateDir {
    /// Creates the directory with this `mode` if it is missing, and locks it.
    ///
    /// # Errors
    /// [`StateError::Taken`] if another daemon uses it; [`StateError::Directory`] if it cannot be used.
    #[cfg(test)]
    pub(crate) fn open(path: &Path, mode: u32) -> Result<Self, StateError> {
        Self::open_with(path, mode, None)
    }

    /// The same with the lock of the program before, after a hand-over.
    pub(crate) fn open_with(path: &Path, mode: u32, handed: Option<File>) -> Result<Self, StateError> {
        let unusable = |source| StateError::Directory { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(mode).create(path).map_err(unusable)?;
        // The path may lead to something else than a directory.
        fs::read_dir(path).map_err(unusable)?;
        let held = File::open(path).map_err(unusable)?;
        // Another file may have its name now; dropped, this one is free.
        let lock = handed.filter(|lock| lock::is_at(lock, &path.join(LOCK)));
        let mut directory = Self { path: path.to_owned(), directory: held, lock };
        if let Err(error) = directory.take_lock()? {
            let path = path.display();
            trouble!(%error, %path, "no lock on the state directory: nothing keeps a second vipcast from using it");
        }
        if let Err(error) = file::sweep(path) {
            trouble!(%error, path = %path.display(), "cannot sweep up the state directory");
        }
        Ok(directory)
    }

    /// Another descriptor of the lock.
    fn lock_for_next(&self) -> Option<File> {
        self.lock.as_ref()?.try_clone().ok()
    }

    /// Whether the path now leads to another directory, or to none: a file system was mounted or unmounted, or the
    /// directory was removed. A failing disk does not count as another directory.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let same = |there: fs::Metadata| {
            self.directory.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        match fs::metadata(&self.path) {
            Ok(there) => !same(there),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Takes the lock. The inner error is the disk's.
    fn take_lock(&mut self) -> Result<io::Result<()>, StateError> {
        if self.lock.is_some() {
            return Ok(Ok(()));
        }
        match lock::take(&self.path.join(LOCK)) {
            Ok(lock) => {
                self.lock = Some(lock);
                Ok(Ok(()))
            }
            Err(Unlocked::Disk(error)) => Ok(Err(error)),
            Err(Unlocked::Taken(pid)) => Err(StateError::Taken { path: self.path.clone(), pid }),
        }
    }

    /// The readable state of a predecessor; an unreadable file is set aside with a warning.
    ///
    /// # Errors
    /// [`StateError::Directory`] if this host cannot read at present, which says nothing about the files.
    pub(crate) fn left(&self) -> Result<Left, StateError> {
        // Reading the note removes it, so it comes last.
        let ((overrides, forgotten), held) = (self.overrides()?, self.held_back()?);
        Ok(Left { overrides, held, announced: self.take_announced()?, unread: false, forgotten })
    }

    /// The overrides, and the unreadable ones with the reason.
    fn overrides(&self) -> Result<(Overrides, Vec<(String, String)>), StateError> {
        const LOST: &str = "drains that operators had set before this start are forgotten";
        const OTHERS_LOST: &str = "forces and drains of peers from before this start are forgotten";
        let drains = self.read::<BTreeMap<String, Value>>(DRAINS, LOST)?;
        let others = self.read::<BTreeMap<String, BTreeMap<String, Value>>>(OVERRIDES, OTHERS_LOST)?;
        if drains.is_none() && others.is_none() {
            return Ok(Default::default());
        }
        let clocks = match Clocks::read() {
            Ok(clocks) => clocks,
            Err(error) => {
                trouble!(%error, "cannot read the time since the boot: {LOST}");
                return Ok(Default::default());
            }
        };
        let drains = stored::restore(drains.unwrap_or_default(), &clocks);
        let (others, sum) = stored::restore_others(others.unwrap_or_default(), &clocks);
        for (name, restored) in [(DRAINS, &drains), (OVERRIDES, &sum)] {
            if restored.newer || !restored.damaged.is_empty() {
                self.keep_a_copy(name);
            }
        }
        let overrides = Overrides { drains: drains.scoped, ..others };
        if drains.ended || sum.ended {
            // Otherwise an override that has ended would be in force again if the clock is set back.
            let written = self.save_overrides(&overrides);
            if let Err(error) = &written {
                trouble!(
                    error = error as &dyn std::error::Error,
                    "overrides that are over stay written down"
                );
            }
        }
        let damaged =
            drains.damaged.into_iter().map(|(service, error)| (format!("drain of {service}"), error));
        Ok((overrides, damaged.chain(sum.damaged).collect()))
    }

    fn held_back(&self) -> Result<HeldBack, StateError> {
        let held = self.read(HELD, "VIPs that `preempt` held back take over by themselves")?;
        Ok(held.unwrap_or_default())
    }

    /// The note of [`Self::leave_announced`], removed by reading, if this process wrote it before `execve`: the writer
    /// of any other note has stopped or failed since, and after a reboot nothing is bound.
    fn take_announced(&self) -> Result<Option<BTreeSet<Vip>>, StateError> {
        const LOST: &str = "the restart is taken for one after a crash";
        let Some(announced) = self.read::<Announced>(RESTART, LOST)? else { return Ok(None) };
        if let Err(error) = self.withdraw_announced() {
            trouble!(error = &error as &dyn std::error::Error, "the note of a graceful restart stays");
        }
        let is_ours = announced.is_ours();
        if !is_ours {
            note!("the note of a graceful restart is not of this process: nothing follows from it");
        }
        Ok(is_ours.then_some(announced.vips))
    }

    /// Saves the overrides: after this returns they survive a power cut.
    pub(crate) fn save_overrides(&self, overrides: &Overrides) -> Result<(), StateError> {
        let failed = |source| StateError::Write { path: self.path.join(DRAINS), source };
        let clocks = Clocks::read().map_err(failed)?;
        let others = stored::Others::of(overrides, &clocks);
        // Most nodes never have any.
        if !others.is_empty() || self.path.join(OVERRIDES).exists() {
            self.write(OVERRIDES, &others)?;
        }
        self.write(DRAINS, &stored::store(&overrides.drains, &clocks))
    }

    /// Saves the held-back VIPs: after this returns they survive a power cut.
    pub(crate) fn save_held_back(&self, held_back: &HeldBack) -> Result<(), StateError> {
        self.write(HELD, held_back)
    }

    /// Leaves a note of the announced VIPs for the next process, because the routers keep them (RFC 4724).
    pub(crate) fn leave_announced(&self, vips: &BTreeSet<Vip>) -> Result<(), StateError> {
        let failed = |source| StateError::Write { path: self.path.join(RESTART), source };
        self.write(RESTART, &Announced::by_us(vips.clone()).map_err(failed)?)
    }

    /// Removes that note: no process follows.
    pub(crate) fn withdraw_announced(&self) -> Result<(), StateError> {
        let path = self.path.join(RESTART);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StateError::Write { path, source }),
        }
    }

    /// `None`: there is no such file, or it was unreadable and is set aside.
    fn read<T: DeserializeOwned + Serialize>(&self, name: &str, lost: &str) -> Result<Option<T>, StateError> {
        let path = self.path.join(name);
        let understood = understand(&path, lost).map_err(|source| StateError::Directory { path, source })?;
        Ok(understood.map(|(value, parsed)| {
            if stored::says_more(&value, &parsed) {
                self.keep_a_copy(name);
            }
            parsed
        }))
    }

    /// Keeps a copy of a file with unknown fields, because the next save replaces the file.
    fn keep_a_copy(&self, name: &str) {
        let path = self.path.join(name);
        match file::copy_aside(&path) {
            Ok(copy) => {
                let (path, copy) = (path.display(), copy.display());
                trouble!(%path, %copy, "the file has fields that this version does not know; a copy is kept");
            }
            Err(error) => trouble!(%error, path = %path.display(), "cannot keep a copy"),
        }
    }

    fn write(&self, name: &str, what: &impl Serialize) -> Result<(), StateError> {
        file::replace(&self.path, name, what)
            .map_err(|source| StateError::Write { path: self.path.join(name), source })
    }
}

/// The content of a file, raw and decoded. `None`: there is no such file, or it was unreadable and is set aside with a
/// warning that names what is `lost`.
///
/// # Errors
/// This host cannot read at present, which says nothing about the file.
pub(crate) fn understand<T: DeserializeOwned>(path: &Path, lost: &str) -> io::Result<Option<(Value, T)>> {
    let read = match file::read(path) {
        Err(error) if is_shortage(&error) => return Err(error),
        read => read.map_err(|error| error.to_string()),
    };
    let understood = read.and_then(|bytes| {
        let value = bytes.as_deref().map(serde_json::from_slice::<Value>).transpose();
        let value = value.map_err(|error| in_words(&error, bytes.as_deref()))?;
        let parsed = value.as_ref().map(T::deserialize).transpose().map_err(|error| error.to_string())?;
        Ok(value.zip(parsed))
    });
    Ok(understood.unwrap_or_else(|error| {
        let aside = file::set_aside(path);
        let path = path.display();
        match aside {
            Ok(aside) => {
                trouble!(error, aside = %aside.display(), "{path} is damaged and was set aside: {lost}");
            }
            Err(not_moved) => {
                trouble!(error, %not_moved, "{path} is damaged and cannot be set aside: {lost}");
            }
        }
        None
    }))
}

/// Whether this host or a server is short of resources: that passes, and says nothing about a file.
fn is_shortage(error: &io::Error) -> bool {
    const SHORT: [Errno; 7] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::EAGAIN,
        Errno::EINTR,
        Errno::ESTALE,
        Errno::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|number| SHORT.contains(&Errno::from_raw(number)))
}

/// The damage of a file in words: a parser's error does not distinguish an empty file from one full of zeros.
fn in_words(error: &serde_json::Error, bytes: Option<&[u8]>) -> String {
    match bytes {
        Some([]) => "it is empty".to_owned(),
        Some(bytes) if bytes.iter().all(|byte| *byte == 0) => "it is full of zeros".to_owned(),
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
