//! Whether a program is for this machine: a file that the kernel refuses is otherwise run by `execvp` as a script of the
//! shell.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The part of an ELF header that is the same for every program of a machine (`elf(5)`): the magic number, class, byte
/// order, and `e_machine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind([u8; 8]);

impl Kind {
    /// `None` for a file that is no ELF program, a script say.
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut head = [0; 20];
        match File::open(path)?.read_exact(&mut head) {
            Ok(()) => Ok(Self::read(&head)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(head: &[u8; 20]) -> Option<Self> {
        let [a, b, c, d, class, order, ..] = *head;
        let [.., low, high] = *head;
        (head.starts_with(b"\x7fELF")).then_some(Self([a, b, c, d, class, order, low, high]))
    }
}

/// Whether a file is a program for another machine. A file that cannot be read is not, and the kernel says why.
pub(super) fn is_foreign(program: &Path) -> bool {
    match (Kind::of(program), Kind::of(Path::new("/proc/self/exe"))) {
        (Ok(Some(theirs)), Ok(Some(ours))) => theirs != ours,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_foreign_by_its_class_its_byte_order_or_its_machine() {
        let directory = std::env::temp_dir().join(format!("vipcast-machine-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("program");
        let ours = fs::read("/proc/self/exe").unwrap()[..64].to_vec();
        let foreign = |head: &[u8]| {
            fs::write(&path, head).unwrap();
            is_foreign(&path)
        };
        assert!(!foreign(&ours));
        for at in [4, 5, 18, 19] {
            let mut other = ours.clone();
            other[at] ^= 1;
            assert!(foreign(&other), "byte {at}");
        }
        // The kernel or the shell says what these are.
        assert!(!foreign(b"#!/bin/sh\nexit 0 # and more\n") && !foreign(b"\x7fELF") && !foreign(b""));
        assert!(!is_foreign(&directory.join("missing")));
        fs::remove_dir_all(directory).unwrap();
    }
}
