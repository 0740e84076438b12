//! A file that grows, and the full ones before it: `events.jsonl`, `events.jsonl.1` (the newest of these), …
//!
//! Each line is whole: what a failed write or a crash has left of one is cut off before the next is written. Nothing is
//! synced: after a power cut the last seconds may be missing.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

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
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Its whole lines, in bytes.
    length: u64,
}

impl Rotated {
    pub(super) fn new(path: PathBuf, rules: EventFile) -> Self {
        Self { path, rules, open: None }
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
        open.file.metadata().ok().map(id) != fs::metadata(&self.path).ok().map(id)
    }

    fn opened(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut options = OpenOptions::new();
                let file = options.read(true).append(true).create(true).mode(MODE).open(&self.path)?;
                let length = whole_lines(&file)?;
                if file.metadata()?.len() > length {
                    file.set_len(length)?;
                }
                Open { file, length }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Moves every file one number up, and removes those that are too many.
    fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let mut numbers = self.numbers()?;
        numbers.sort_unstable();
        for number in numbers.into_iter().rev() {
            let old = self.numbered(number);
            if number >= u32::from(self.rules.keep) {
                fs::remove_file(old)?;
            } else {
                fs::rename(old, self.numbered(number + 1))?;
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    /// The numbers of the full files.
    fn numbers(&self) -> io::Result<Vec<u32>> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let prefix = format!("{}.", name.to_string_lossy());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?.file_name();
            let number = entry.to_str().and_then(|entry| entry.strip_prefix(&prefix)?.parse::<u32>().ok());
            // `.01` is not ours.
            numbers.extend(number.filter(|number| entry.to_str() == Some(&format!("{prefix}{number}"))));
        }
        Ok(numbers)
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
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
