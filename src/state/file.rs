//! Reads and writes files of the state directory safely: a symbolic link is not followed, a pipe does not block, the
//! size is bounded, and an unreadable file is set aside and not lost.
//!
//! ```text
//!  drains.json                 the file; mode 0600, replaced as a whole
//!  drains.json.new-<random>    while it is written; swept up at a start
//!  drains.json.damaged-<time>  an unreadable file; the newest few are kept
//! ```

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Serialize;

/// The largest file that is read.
const LARGEST: u64 = 64 * 1024 * 1024;
/// The number of damaged files of one name that are kept.
const KEPT: usize = 5;
/// Only the owner reads and writes.
pub(super) const MODE: u32 = 0o600;

/// The content of a file; `None`: there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // O_NONBLOCK: opening a pipe would otherwise wait for a writer.
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if about.len() > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST / 1024 / 1024)));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Replaces a file as a whole: after this returns it survives a power cut.
pub(crate) fn replace(directory: &Path, name: &str, what: &impl Serialize) -> io::Result<()> {
    let random = RandomState::new().hash_one(name);
    let new = directory.join(format!("{name}.new-{random:016x}"));
    let written = write(&new, what).and_then(|()| fs::rename(&new, directory.join(name)));
    if written.is_err() {
        // The file may not exist; the first error is the one that is reported.
        let _not_there = fs::remove_file(&new);
        return written;
    }
    File::open(directory)?.sync_all()
}

fn write(new: &Path, what: &impl Serialize) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(MODE).custom_flags(O_NOFOLLOW).open(new)?;
    // Independent of the umask.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    let mut buffered = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut buffered, what)?;
    writeln!(buffered)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Renames an unusable file of any kind, and returns its new name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    aside(path, |path, aside| fs::rename(path, aside))
}

/// Gives a file a second name, under which it stays when the first one is replaced.
pub(super) fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    aside(path, |path, aside| fs::hard_link(path, aside))
}

fn aside(path: &Path, act: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".damaged-";
    let directory = path.parent().unwrap_or(Path::new("."));
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut names = (0..100).map(|n| directory.join(format!("{stem}{time}.{n:02}")));
    let aside = names.find(|aside| aside.symlink_metadata().is_err());
    let aside = aside.ok_or_else(|| io::Error::other("too many damaged files"))?;
    act(path, &aside)?;
    let mut earlier = names_in(directory, |name| name.starts_with(&stem))?;
    earlier.sort();
    for old in earlier.iter().rev().skip(KEPT).filter(|old| **old != aside) {
        // A remaining file does no harm.
        let _stays = if old.is_dir() { fs::remove_dir(old) } else { fs::remove_file(old) };
    }
    Ok(aside)
}

/// Removes the remains of a crash during a write.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    for left in names_in(directory, |name| name.contains(".json.new"))? {
        // A remaining file does no harm.
        let _stays = fs::remove_file(left);
    }
    Ok(())
}

fn names_in(directory: &Path, of: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.filter_map(Result::ok);
    Ok(entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&of))
        .map(|entry| entry.path())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::state::tests::scratch;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_read_by_its_owner_only() {
        let directory = scratch("replace");
        replace(&directory, "drains.json", &[1]).unwrap();
        replace(&directory, "drains.json", &[1, 2]).unwrap();
        let path = directory.join("drains.json");
        assert_eq!(read(&path).unwrap().as_deref(), Some(&b"[\n  1,\n  2\n]\n"[..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_symbolic_link_is_neither_read_nor_written_through() {
        let directory = scratch("links");
        let victim = directory.join("victim");
        fs::write(&victim, "[1]").unwrap();
        let path = directory.join("drains.json");
        symlink(&victim, &path).unwrap();
        assert!(read(&path).is_err());
        replace(&directory, "drains.json", &[2]).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "[1]");
        assert!(path.symlink_metadata().unwrap().is_file(), "the link was replaced");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_pipe_a_directory_and_a_huge_file_are_errors_and_never_wait() {
        let directory = scratch("kinds");
        let path = directory.join("drains.json");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is no regular file");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is no regular file");
        fs::remove_dir(&path).unwrap();
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is larger than 64 MiB");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn of_what_was_set_aside_the_newest_few_are_kept() {
        let directory = scratch("aside");
        let path = directory.join("drains.json");
        for n in 0..KEPT + 3 {
            fs::write(&path, n.to_string()).unwrap();
            let aside = set_aside(&path).unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), n.to_string());
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), KEPT);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_a_crash_has_left_half_written_is_swept_up() {
        let directory = scratch("sweep");
        for name in ["drains.json", "drains.json.new", "held.json.new-0123", "other"] {
            fs::write(directory.join(name), "").unwrap();
        }
        sweep(&directory).unwrap();
        let left = names_in(&directory, |_| true).unwrap().len();
        assert_eq!(left, 2);
        fs::remove_dir_all(directory).unwrap();
    }
}
