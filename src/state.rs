//! The state directory: the lock that keeps a second daemon out, and what must survive a restart: the drains (I12), which
//! VIPs do not take over by themselves, and what was announced when a graceful restart began.
//!
//! ```text
//! state_dir/lock          locked as long as the daemon lives; holds its process id, for people
//! state_dir/drains.json   service -> drain; replaced as a whole, never half-written
//! state_dir/held.json     the VIPs that are held back, and those that a start holds back
//! state_dir/restart.json  the boot and the VIPs; there only between two processes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::{Drain, HeldBack};
use crate::names::ServiceName;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made.
    #[error("cannot create the state directory {}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("another vipcast (process {pid}) runs with the state directory {}", path.display())]
    Taken {
        /// The state directory.
        path: PathBuf,
        /// What the other daemon wrote into the lock file.
        pid: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

const DRAINS: &str = "drains.json";
const HELD: &str = "held.json";
const RESTART: &str = "restart.json";

/// What a process that restarts gracefully leaves to the next.
#[derive(Debug, Serialize, Deserialize)]
struct Announced {
    boot: String,
    vips: BTreeSet<IpNet>,
}

/// The state directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Creates the directory if need be, and locks it.
    ///
    /// # Errors
    /// [`StateError::Taken`] when another daemon has it, and whatever the file system refuses.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(|source| StateError::Create { path: path.to_owned(), source })?;
        let lock_path = path.join("lock");
        let failed = |source| StateError::Lock { path: lock_path.clone(), source };
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid).map_err(failed)?;
                return Err(StateError::Taken { path: path.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The drains that were saved last.
    ///
    /// # Errors
    /// The file is there but cannot be read or understood. An operator's override is never dropped silently.
    pub fn drains(&self) -> Result<BTreeMap<ServiceName, Drain>, StateError> {
        let drains: BTreeMap<String, Drain> = self.read(DRAINS)?.unwrap_or_default();
        Ok(drains.into_iter().map(|(service, drain)| (ServiceName::from(service.as_str()), drain)).collect())
    }

    /// Saves the drains: after this returns they survive a power cut.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save_drains(&self, drains: &BTreeMap<ServiceName, Drain>) -> Result<(), StateError> {
        self.write(DRAINS, drains)
    }

    /// What the last process saved of what is held back.
    ///
    /// # Errors
    /// The file is there but cannot be read or understood.
    pub fn held_back(&self) -> Result<HeldBack, StateError> {
        Ok(self.read(HELD)?.unwrap_or_default())
    }

    /// Saves what is held back: after this returns it survives a power cut.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save_held_back(&self, held_back: &HeldBack) -> Result<(), StateError> {
        self.write(HELD, held_back)
    }

    /// Leaves for the next process what was announced, because the routers keep it (RFC 4724).
    ///
    /// # Errors
    /// The file system refuses.
    pub fn leave_announced(&self, vips: BTreeSet<IpNet>) -> Result<(), StateError> {
        self.write(RESTART, &Announced { boot: self.boot()?, vips })
    }

    /// What the process before left in [`Self::leave_announced`], once, if that was on this boot: a reboot has bound
    /// nothing.
    ///
    /// # Errors
    /// The file is there but cannot be read, understood or removed.
    pub fn take_announced(&self) -> Result<Option<BTreeSet<IpNet>>, StateError> {
        let Some(Announced { boot, vips }) = self.read(RESTART)? else { return Ok(None) };
        let path = self.path.join(RESTART);
        fs::remove_file(&path).map_err(|source| StateError::Write { path, source })?;
        Ok((boot == self.boot()?).then_some(vips))
    }

    fn boot(&self) -> Result<String, StateError> {
        let path = PathBuf::from("/proc/sys/kernel/random/boot_id");
        fs::read_to_string(&path)
            .map(|boot| boot.trim().to_owned())
            .map_err(|source| StateError::Read { path, source })
    }

    /// `None`: there is no such file.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.path.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| StateError::Read {
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    /// After this returns it survives a power cut.
    fn write(&self, name: &str, what: &impl Serialize) -> Result<(), StateError> {
        let path = self.path.join(name);
        let new = path.with_extension("json.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, what)?;
            writeln!(file)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StateError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipcast-state-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        path
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_who_has_it() {
        let path = scratch("lock");
        let first = StateDir::open(&path).unwrap();
        let error = StateDir::open(&path).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("another vipcast (process {pid}) runs with the state directory {}", path.display())
        );
        drop(first);
        StateDir::open(&path).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_was_announced_is_left_once_and_for_this_boot_only() {
        let path = scratch("announced");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.take_announced().unwrap(), None);
        let vips = BTreeSet::from(["192.0.2.10/32".parse().unwrap(), "2001:db8::/48".parse().unwrap()]);
        state.leave_announced(vips.clone()).unwrap();
        assert_eq!(state.take_announced().unwrap(), Some(vips));
        assert_eq!(state.take_announced().unwrap(), None, "it is used up");
        fs::write(path.join(RESTART), r#"{"boot": "another", "vips": ["192.0.2.10/32"]}"#).unwrap();
        assert_eq!(state.take_announced().unwrap(), None, "a reboot has bound nothing");
        assert!(!path.join(RESTART).exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_is_held_back_comes_back_as_it_was_saved() {
        let path = scratch("held");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.held_back().unwrap(), HeldBack::default(), "a first start takes the traffic");
        let [held, other]: [IpNet; 2] = ["192.0.2.10/32", "192.0.2.11/32"].map(|vip| vip.parse().unwrap());
        let held_back = HeldBack { held: [held].into(), watched: [held, other].into() };
        state.save_held_back(&held_back).unwrap();
        assert_eq!(state.held_back().unwrap(), held_back);
        fs::write(path.join(HELD), "{").unwrap();
        assert!(matches!(state.held_back(), Err(StateError::Read { .. })));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn i12_drains_come_back_as_they_were_saved() {
        let path = scratch("drains");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.drains().unwrap(), BTreeMap::new());
        let drain = Drain {
            by: "alice".to_owned(),
            reason: Some("kernel update".to_owned()),
            since: "2026-11-22T12:00:00Z".parse().unwrap(),
            until: Some("2026-11-22T14:00:00Z".parse().unwrap()),
            clock: crate::engine::DrainClock::default(),
        };
        let drains = BTreeMap::from([(ServiceName::from("web"), drain)]);
        state.save_drains(&drains).unwrap();
        assert_eq!(state.drains().unwrap(), drains);
        fs::write(path.join("drains.json"), "{").unwrap();
        assert!(
            matches!(state.drains(), Err(StateError::Read { .. })),
            "a broken file is never an empty one"
        );
        fs::remove_dir_all(path).unwrap();
    }
}
