//! Which addresses are ours on a kernel that cannot mark them (before Linux 5.18): a note in the state directory.
//!
//! It is written before an address is added, so that a crash between the two leaves a name too many, never an address
//! too many. It names the boot it belongs to: after a reboot none of its addresses is ours any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::message::Notice;
use crate::engine::{Address, Owner};

/// The first kernel that keeps IFA_PROTO.
const MARKS_SINCE: (u32, u32) = (5, 18);

/// The note, if the kernel needs one, shared by those who ask the kernel and hear it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Option<Arc<Mutex<Note>>>);

impl Notes {
    /// The note of this host, if the kernel needs one.
    pub(super) fn if_needed(state_dir: &Path) -> io::Result<Self> {
        Ok(Self(Note::if_needed(state_dir)?.map(|note| Arc::new(Mutex::new(note)))))
    }

    /// Notes addresses as ours.
    pub(super) fn add(&self, addresses: impl Iterator<Item = Address>) -> io::Result<()> {
        self.lock().map_or(Ok(()), |mut note| note.add(addresses))
    }

    /// Notes addresses as ours no more.
    pub(super) fn remove(&self, addresses: impl Iterator<Item = Address>) -> io::Result<()> {
        self.lock().map_or(Ok(()), |mut note| note.remove(addresses))
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
}

#[derive(Serialize, Deserialize)]
struct Written {
    boot: String,
    addresses: BTreeSet<Address>,
}

impl Note {
    /// The note of this host, or `None` where the kernel needs none.
    fn if_needed(state_dir: &Path) -> io::Result<Option<Self>> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        if marks_addresses(&release) {
            return Ok(None);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Self::read(state_dir.join("addresses.json"), boot.trim()).map(Some)
    }

    fn read(path: PathBuf, boot: &str) -> io::Result<Self> {
        let addresses = match fs::read(&path) {
            Ok(bytes) => {
                let written: Written = serde_json::from_slice(&bytes)?;
                if written.boot == boot { written.addresses } else { BTreeSet::new() }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, boot: boot.to_owned(), addresses })
    }

    fn add(&mut self, addresses: impl Iterator<Item = Address>) -> io::Result<()> {
        let before = self.addresses.len();
        self.addresses.extend(addresses);
        if self.addresses.len() == before { Ok(()) } else { self.write() }
    }

    fn remove(&mut self, addresses: impl Iterator<Item = Address>) -> io::Result<()> {
        let before = self.addresses.len();
        for address in addresses {
            self.addresses.remove(&address);
        }
        if self.addresses.len() == before { Ok(()) } else { self.write() }
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
        let noted = |boot: &str| Note::read(path.clone(), boot).unwrap().addresses.contains(&address);
        let mut note = Note::read(path.clone(), "this boot").unwrap();
        assert!(!note.addresses.contains(&address));
        note.add([address].into_iter()).unwrap();
        assert!(noted("this boot"));
        assert!(!noted("the next boot"));
        note.remove([address].into_iter()).unwrap();
        assert!(!noted("this boot"));
        fs::remove_file(path).unwrap();
    }
}
