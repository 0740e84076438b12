//! Which addresses are ours on a kernel that cannot mark them (before Linux 5.18): a note in the state directory.
//!
//! It is written before an address is added, so that a crash between the two leaves a name too many, never an address
//! too many. It names the boot it belongs to: after a reboot none of its addresses is ours any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::Address;

/// The first kernel that keeps IFA_PROTO.
const MARKS_SINCE: (u32, u32) = (5, 18);

/// Addresses that we have added since boot.
#[derive(Debug)]
pub(super) struct Note {
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
    pub(super) fn if_needed(state_dir: &Path) -> io::Result<Option<Self>> {
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

    pub(super) fn contains(&self, address: &Address) -> bool {
        self.addresses.contains(address)
    }

    pub(super) fn insert(&mut self, address: &Address) -> io::Result<()> {
        if self.addresses.insert(address.clone()) { self.write() } else { Ok(()) }
    }

    pub(super) fn remove(&mut self, address: &Address) -> io::Result<()> {
        if self.addresses.remove(address) { self.write() } else { Ok(()) }
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
        let address = Address { ip: "192.0.2.10".parse().unwrap(), interface: "lo".to_owned() };
        let mut note = Note::read(path.clone(), "this boot").unwrap();
        assert!(!note.contains(&address));
        note.insert(&address).unwrap();
        assert!(Note::read(path.clone(), "this boot").unwrap().contains(&address));
        assert!(!Note::read(path.clone(), "the next boot").unwrap().contains(&address));
        note.remove(&address).unwrap();
        assert!(!Note::read(path.clone(), "this boot").unwrap().contains(&address));
        fs::remove_file(path).unwrap();
    }
}
