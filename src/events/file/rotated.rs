//! A file that grows, and the full ones before it: `events.jsonl`, `events.jsonl.1` (the newest of these), …
//!
//! Each line is whole: what a failed write or a crash has left of one is cut off before the next is written. Nothing is
//! synced: after a power cut the last seconds may be missing.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use vipcast_node::model::EventFile;

/// The most bytes of one write.
const AT_ONCE: usize = 256 << 10;
/// The mode of a new file.
const MODE: u32 = 0o640;

/// The files.
#[derive(Debug)]
pub(super) struct Rotated {
    path: PathBuf,
    rules: EventFile,
    opens: Opens,
    open: Option<Open>,
}

/// Opens the file, to read it and to append to it.
pub(super) type Opens = fn(&Path) -> io::Result<File>;

#[derive(Debug)]
struct Open {
    file: File,
    /// Its whole lines, in bytes.
    length: u64,
}

impl Rotated {
    pub(super) fn new(path: PathBuf, rules: EventFile, opens: Opens) -> Self {
        Self { path, rules, opens, open: None }
    }

    /// Other limits, from the next line on.
    pub(super) fn set(&mut self, rules: EventFile) {
        self.rules = rules;
    }

    /// Whether a line fits in a file.
    pub(super) fn fits(&self, line: &[u8]) -> bool {
        size(line.len()) <= self.rules.max_size
    }

    /// Writes the lines, and removes each from `lines` that is written. Lines that do not [fit](Self::fits) must not be
    /// among them. Blocks as long as the disk does.
    ///
    /// # Errors
    /// The disk's; the file then ends with a whole line, and the other lines are still in `lines`.
    pub(super) fn append<T>(
        &mut self,
        lines: &mut VecDeque<T>,
        text: impl Fn(&T) -> &Vec<u8>,
        mut written: impl FnMut(&T),
    ) -> io::Result<()> {
        if self.is_elsewhere() {
            self.open = None;
        }
        while let Some(first) = lines.front() {
            let length = self.opened()?.length;
            if length > 0 && length + size(text(first).len()) > self.rules.max_size {
                self.rotate()?;
                continue;
            }
            let room =
                usize::try_from(self.rules.max_size - length.min(self.rules.max_size)).unwrap_or(usize::MAX);
            let (mut piece, mut count) = (Vec::new(), 0);
            for line in lines.iter().map(&text) {
                if count > 0 && piece.len() + line.len() > room.min(AT_ONCE) {
                    break;
                }
                piece.extend_from_slice(line);
                count += 1;
            }
            let open = self.opened()?;
            if let Err(error) = open.file.write_all(&piece) {
                // Otherwise it is cut off when the file is opened again.
                if open.file.set_len(open.length).is_err() {
                    self.open = None;
                }
                return Err(error);
            }
            open.length += size(piece.len());
            lines.drain(..count).for_each(|line| written(&line));
        }
        Ok(())
    }

    /// Whether the open file is no longer the one under the path: it was moved or removed, or a file system was mounted.
    fn is_elsewhere(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let id = |of: fs::Metadata| (of.dev(), of.ino());
        open.file.metadata().ok().map(id) != fs::symlink_metadata(&self.path).ok().map(id)
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let file = (self.opens)(&self.path)?;
                let length = whole_lines(&file)?;
                if file.metadata()?.len() > length {
                    file.set_len(length)?;
                }
                Open { file, length }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Moves every file one number up, and removes those that are too many. A number is left out where something else has
    /// the name.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let (mut numbers, foreign) = self.numbers()?;
        numbers.sort_unstable();
        let keep = u32::from(self.rules.keep);
        let next = |number| (number + 1..=keep).find(|next| !foreign.contains(next));
        let first = next(0).ok_or_else(|| {
            let file = self.numbered(1);
            io::Error::other(format!("`{}` is not a regular file; remove it", file.display()))
        })?;
        for number in numbers.into_iter().rev() {
            let old = self.numbered(number);
            match next(number) {
                Some(next) => fs::rename(old, self.numbered(next))?,
                None => fs::remove_file(old)?,
            }
        }
        fs::rename(&self.path, self.numbered(first))
    }

    /// The numbers of the full files, and those of directories, symbolic links and the like, which are not ours.
    fn numbers(&self) -> io::Result<(Vec<u32>, BTreeSet<u32>)> {
        let (mut numbers, mut foreign) = (Vec::new(), BTreeSet::new());
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok((numbers, foreign));
        };
        let prefix = format!("{}.", name.to_string_lossy());
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u32>().ok());
            // `.01` and `.0` are not ours.
            let ours = |number: &u32| *number > 0 && name.to_str() == Some(&format!("{prefix}{number}"));
            let Some(number) = number.filter(ours) else { continue };
            if entry.file_type()?.is_file() {
                numbers.push(number);
            } else {
                foreign.insert(number);
            }
        }
        Ok((numbers, foreign))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

/// Opens the file, or makes it. A symbolic link is not followed: its target would be cut off and written to as root.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // O_NONBLOCK: opening a pipe would otherwise wait for its other end.
    let options =
        options.read(true).append(true).create(true).mode(MODE).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let irregular = || io::Error::other("it is not a regular file; remove it");
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(irregular()),
        // Of a link, a directory, or a socket the kernel says something else each.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()) => Err(irregular()),
        Err(error) => Err(error),
    }
}

/// The length of a file up to its last line end.
fn whole_lines(file: &File) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let begin = end.saturating_sub(PIECE);
        let mut piece = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        file.read_exact_at(&mut piece, begin)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + size(last) + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
