//! Which addresses are ours on a kernel that cannot mark them (before Linux 5.18): a note in the state directory.
//!
//! It is written before an address is added, so that a crash between the two leaves a name too many, never an address
//! too many. It names the boot it belongs to: after a reboot none of its addresses is ours any more.
//!
//! It helps after a crash and is no condition (`docs/adr/0008`): where it cannot be read or written, addresses are bound all the
//! same, and what a crash leaves then is taken for somebody else's.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::message::Notice;
use crate::blocking::Threads;
use crate::engine::{Address, Owner};

/// The first kernel that keeps IFA_PROTO.
const MARKS_SINCE: (u32, u32) = (5, 18);
/// How long a start waits for the state directory.
const PATIENCE: Duration = Duration::from_secs(3);
/// What follows where there is no note.
const UNKNOWN: &str = "addresses that a crash leaves are taken for somebody else's";

/// The note, if the kernel needs one, shared by those who ask the kernel and hear it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Option<Arc<Mutex<Note>>>);

impl Notes {
    /// The note of this host, if the kernel needs one and it can be had.
    pub(super) async fn of_host(state_dir: &Path) -> Self {
        if marks_addresses(&rustix::system::uname().release().to_string_lossy()) {
            return Self(None);
        }
        let path = state_dir.join("addresses.json");
        match Threads::new("note", 1).within(PATIENCE, move || Note::open(path)).await {
            Ok(Ok(note)) => Self(Some(Arc::new(Mutex::new(note)))),
            Ok(Err(error)) => {
                warn!(%error, "cannot tell this boot from others: {UNKNOWN}");
                Self(None)
            }
            Err(silent) => {
                warn!(error = %silent, "the state directory does not answer: {UNKNOWN}");
                Self(None)
            }
        }
    }

    /// Notes addresses as ours.
    pub(super) fn add(&self, addresses: impl Iterator<Item = Address>) {
        if let Some(mut note) = self.lock() {
            note.add(addresses);
        }
    }

    /// Notes addresses as ours no more.
    pub(super) fn remove(&self, addresses: impl Iterator<Item = Address>) {
        if let Some(mut note) = self.lock() {
            note.remove(addresses);
        }
    }

    /// Writes down what could not be written before.
    pub(super) fn save_again(&self) {
        if let Some(mut note) = self.lock().filter(|note| note.unsaved.is_some()) {
            note.save();
        }
    }

    /// What the kernel says, with our addresses known as ours.
    pub(super) fn owned(&self, notice: Notice) -> Notice {
        match (notice, self.lock()) {
            (Notice::Added(address, mut fact), Some(note)) if note.addresses.contains(&address) => {
                fact.owner = Owner::Us;
                Notice::Added(address, fact)
            }
            (notice, _) => notice,
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Note>> {
        self.0.as_ref().map(|note| note.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Addresses that we have added since boot.
#[derive(Debug)]
struct Note {
    path: PathBuf,
    boot: String,
    addresses: BTreeSet<Address>,
    /// Why the file does not say the same.
    unsaved: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    boot: String,
    addresses: BTreeSet<Address>,
}

impl Note {
    /// The note of this boot.
    fn open(path: PathBuf) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self::of(path, boot.trim()))
    }

    fn of(path: PathBuf, boot: &str) -> Self {
        let addresses = Self::read(&path, boot).unwrap_or_else(|error| {
            warn!(%error, path = %path.display(), "cannot read which addresses are ours: {UNKNOWN}");
            BTreeSet::new()
        });
        Self { path, boot: boot.to_owned(), addresses, unsaved: None }
    }

    fn read(path: &Path, boot: &str) -> io::Result<BTreeSet<Address>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let written: Written = serde_json::from_slice(&bytes)?;
        Ok(if written.boot == boot { written.addresses } else { BTreeSet::new() })
    }

    fn add(&mut self, addresses: impl Iterator<Item = Address>) {
        let before = self.addresses.len();
        self.addresses.extend(addresses);
        if self.addresses.len() != before {
            self.save();
        }
    }

    fn remove(&mut self, addresses: impl Iterator<Item = Address>) {
        let before = self.addresses.len();
        for address in addresses {
            self.addresses.remove(&address);
        }
        if self.addresses.len() != before {
            self.save();
        }
    }

    fn save(&mut self) {
        let failed = self.write().err().map(|error| error.to_string());
        match (&failed, &self.unsaved) {
            (Some(error), before) if before.as_ref() != Some(error) => {
                warn!(error, path = %self.path.display(), "cannot note which addresses are ours: {UNKNOWN}");
            }
            (None, Some(_)) => info!(path = %self.path.display(), "which addresses are ours is noted again"),
            (Some(_) | None, _) => {}
        }
        self.unsaved = failed;
    }

    /// Replaces the file as a whole.
    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        serde_json::to_writer(
            &mut file,
            &Written { boot: self.boot.clone(), addresses: self.addresses.clone() },
        )?;
        file.flush()?;
        fs::rename(&new, &self.path)
    }
}

/// Whether a kernel of this release keeps the protocol of an address. One whose release says nothing we can read is
/// taken for an old one: the note is right on every kernel, only slower.
fn marks_addresses(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MARKS_SINCE,
        _unreadable => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_mark_addresses_are_told_by_their_release() {
        for (release, want) in [
            ("5.17.9-300.fc36", false),
            ("5.18.0", true),
            ("6.1.0-25-amd64", true),
            ("4.18.0-553.el8", false),
            ("5.14.0-503.el9.x86_64", false),
            ("", false),
        ] {
            assert_eq!(marks_addresses(release), want, "{release}");
        }
    }

    #[test]
    fn i3_the_note_survives_a_crash_and_not_a_reboot() {
        let path = std::env::temp_dir().join(format!("vipcast-note-{}.json", std::process::id()));
        let address = Address::host("192.0.2.10".parse().unwrap(), 1);
        let noted = |boot: &str| Note::read(&path, boot).unwrap().contains(&address);
        let mut note = Note::of(path.clone(), "this boot");
        assert!(!note.addresses.contains(&address));
        note.add([address].into_iter());
        assert!(noted("this boot"));
        assert!(!noted("the next boot"));
        note.remove([address].into_iter());
        assert!(!noted("this boot"));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_note_that_is_damaged_or_cannot_be_written_keeps_no_address_from_being_bound() {
        let directory = std::env::temp_dir().join(format!("vipcast-note-{}", std::process::id()));
        let path = directory.join("addresses.json");
        // What cannot be read, or not be replaced.
        fs::create_dir_all(&path).unwrap();
        let address = Address::host("192.0.2.10".parse().unwrap(), 1);
        let notes = Notes(Some(Arc::new(Mutex::new(Note::of(path.clone(), "this boot")))));
        notes.add([address].into_iter());
        assert!(notes.lock().unwrap().unsaved.is_some());
        fs::remove_dir_all(&path).unwrap();
        notes.save_again();
        assert_eq!(notes.lock().unwrap().unsaved, None);
        assert_eq!(Note::read(&path, "this boot").unwrap(), BTreeSet::from([address]));
        fs::write(&path, "{").unwrap();
        assert_eq!(Note::of(path, "this boot").addresses, BTreeSet::new());
        fs::remove_dir_all(directory).unwrap();
    }
}
