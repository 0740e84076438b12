//! Open descriptors that go to the next program. A frozen form names each by a number.
//!
//! ```text
//!   freeze ── put ──► Descriptors ── inherit: number → descriptor ── execve ──► adopt ──► Descriptors ── take ──► thaw
//! ```
//!
//! A descriptor keeps its socket, with everything in it: queues, timers, options and keys. Whatever nobody takes is
//! closed with the `Descriptors`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Descriptors by the number that frozen forms have for them. They are closed when this is dropped.
#[derive(Debug, Default)]
pub struct Descriptors {
    held: BTreeMap<u32, OwnedFd>,
    last: u32,
}

impl Descriptors {
    /// No descriptor.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a descriptor, and returns its number. No number is given twice.
    pub fn put(&mut self, descriptor: impl Into<OwnedFd>) -> u32 {
        self.last += 1;
        self.held.insert(self.last, descriptor.into());
        self.last
    }

    /// Gives a descriptor back; `None`: there is none of this number, or it was taken.
    pub fn take(&mut self, number: u32) -> Option<OwnedFd> {
        self.held.remove(&number)
    }

    /// The descriptors that are here, and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.held.iter().map(|(number, descriptor)| (*number, descriptor.as_fd()))
    }

    /// How many descriptors are here.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is no descriptor.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Lets the next program of this process inherit the descriptors, for [`Self::adopt`]. Only just before the
    /// `execve`: until then every child would inherit them.
    ///
    /// # Errors
    /// The kernel refuses, which it has no reason for.
    pub fn inherit(&self) -> io::Result<BTreeMap<u32, RawFd>> {
        use std::os::fd::AsRawFd;
        let inherited = self.held.iter().map(|(number, descriptor)| {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok((*number, descriptor.as_raw_fd()))
        });
        inherited.collect()
    }

    /// The descriptors of the program before. A child does not inherit them from now on.
    ///
    /// # Errors
    /// One of them is not open, is a standard stream, is named twice, or is not of the program before: it would be
    /// closed at an `execve`. Nothing was adopted.
    pub fn adopt(inherited: &BTreeMap<u32, RawFd>) -> io::Result<Self> {
        let mut seen = std::collections::BTreeSet::new();
        for descriptor in inherited.values() {
            if *descriptor <= 2 || !seen.insert(*descriptor) || !is_inherited(*descriptor) {
                return Err(io::Error::other(format!("descriptor {descriptor} was not handed over")));
            }
        }
        let mut held = BTreeMap::new();
        for (number, descriptor) in inherited {
            #[expect(
                unsafe_code,
                reason = "only the form of the program before knows what this process owns"
            )]
            // SAFETY: the descriptor is open, named once, and without FD_CLOEXEC. Everything that this program opens has
            // that flag from the start, so this one is of the program before, which left it to us; it gets the flag
            // now, so that it is not adopted again.
            let owned = unsafe { OwnedFd::from_raw_fd(*descriptor) };
            fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            held.insert(*number, owned);
        }
        let last = held.last_key_value().map_or(0, |(number, _)| *number);
        Ok(Self { held, last })
    }
}

/// Whether the descriptor is open, and would also be after an `execve`.
fn is_inherited(descriptor: RawFd) -> bool {
    #[expect(unsafe_code, reason = "the number is perhaps not open: this finds out")]
    // SAFETY: the number is not negative, and F_GETFD harms no descriptor, whoever owns it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    fcntl(borrowed, FcntlArg::F_GETFD).is_ok_and(|flags| flags & FdFlag::FD_CLOEXEC.bits() == 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_is_taken_once() {
        let mut descriptors = Descriptors::new();
        let (mut one, other) = UnixStream::pair().unwrap();
        let number = descriptors.put(other);
        assert_eq!(descriptors.len(), 1);
        let mut taken = UnixStream::from(descriptors.take(number).unwrap());
        assert!(descriptors.take(number).is_none() && descriptors.is_empty());
        one.write_all(b"x").unwrap();
        let mut read = [0];
        taken.read_exact(&mut read).unwrap();
        assert_eq!(read, *b"x");
    }

    #[test]
    fn only_what_was_handed_over_is_adopted_and_that_once() {
        let mut descriptors = Descriptors::new();
        let (mut one, other) = UnixStream::pair().unwrap();
        let (foreign, _end) = UnixStream::pair().unwrap();
        let number = descriptors.put(other);
        let inherited = descriptors.inherit().unwrap();
        let refused = [foreign.as_raw_fd(), 0, -1, 1_000_000];
        for descriptor in refused {
            let mut damaged = inherited.clone();
            damaged.insert(number + 1, descriptor);
            assert!(Descriptors::adopt(&damaged).is_err(), "{descriptor}");
        }
        let twice = BTreeMap::from([(1, inherited[&number]), (2, inherited[&number])]);
        assert!(Descriptors::adopt(&twice).is_err());
        // As the exec forgets the owner.
        let forgotten = descriptors.take(number).unwrap().into_raw_fd();
        assert_eq!(inherited, BTreeMap::from([(number, forgotten)]));
        let mut adopted = Descriptors::adopt(&inherited).unwrap();
        assert!(Descriptors::adopt(&inherited).is_err(), "it would have two owners");
        let mut taken = UnixStream::from(adopted.take(number).unwrap());
        taken.write_all(b"y").unwrap();
        let mut read = [0];
        one.read_exact(&mut read).unwrap();
        assert_eq!(read, *b"y");
        assert_eq!(adopted.put(taken), number + 1);
    }
}
