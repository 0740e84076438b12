//! `file:` checks: a file exists, is absent, or has changed recently.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;

use crate::check::file_reader::FileAccess;
use crate::check::kinds::file::{FileCheck, FileWanted};
use crate::check::limit::{Answer, Limit};
use crate::check::pattern::Pattern;
use crate::check::words;

#[cfg(test)]
mod tests;

/// The length of the beginning of a file that is searched, in bytes.
const READ: u64 = 64 * 1024;

/// Passes when the file has the expected state.
pub(super) async fn probe(check: &Arc<FileCheck>, limit: Limit, reader: FileAccess<'_>) -> Answer {
    let what = Arc::clone(check);
    reader.at(&check.path, limit, move || look(&what, SystemTime::now())).await?
}

/// Blocks.
fn look(check: &FileCheck, now: SystemTime) -> Answer {
    let FileCheck { path, wanted } = check;
    match wanted {
        // The link itself, not its target: a dangling link also exists.
        FileWanted::Absent => match fs::symlink_metadata(path) {
            Ok(found) => Err(format!("{} is there{}", path.display(), changed(&found, now))),
            Err(error) if is_absent(&error) => Ok(format!("{} is not there", path.display())),
            Err(error) => Err(unseen(path, &error)),
        },
        FileWanted::Present { max_age, contains } => {
            let found = match fs::metadata(path) {
                Ok(found) => found,
                Err(error) if is_absent(&error) => {
                    return Err(format!("{} is not there", path.display()));
                }
                Err(error) => return Err(unseen(path, &error)),
            };
            if found.is_dir() {
                return Err(format!("{} is a directory", path.display()));
            }
            if let Some(most) = max_age {
                is_fresh(path, &found, *most, now)?;
            }
            if let Some(pattern) = contains {
                holds(path, pattern)?;
            }
            Ok(format!("{} is there{}", path.display(), changed(&found, now)))
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unseen(path: &Path, error: &io::Error) -> String {
    format!("cannot look at {}: {}", path.display(), words::io_error(error))
}

/// A time in the future is a failure too: it would keep the check up long after the last write.
fn is_fresh(path: &Path, found: &Metadata, most: Duration, now: SystemTime) -> Result<(), String> {
    let modified = found.modified().map_err(|error| unseen(path, &error))?;
    match now.duration_since(modified) {
        Ok(age) if age <= most => Ok(()),
        Ok(age) => Err(format!(
            "{} was not changed for {}, at most {} are allowed",
            path.display(),
            shown(age),
            shown(most)
        )),
        Err(ahead) if ahead.duration() <= most => Ok(()),
        Err(ahead) => Err(format!(
            "{} was changed {} in the future; is a clock wrong?",
            path.display(),
            shown(ahead.duration())
        )),
    }
}

/// Opened without blocking: a pipe may have replaced the file, and would wait for a writer.
fn holds(path: &Path, pattern: &Pattern) -> Result<(), String> {
    let nonblocking = OFlag::O_NONBLOCK.bits();
    let open = || OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let cannot_read =
        |error: &io::Error| format!("cannot read {}: {}", path.display(), words::io_error(error));
    let file: File = open().map_err(|error| cannot_read(&error))?;
    if !file.metadata().map_err(|error| cannot_read(&error))?.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mut text = Vec::new();
    file.take(READ).read_to_end(&mut text).map_err(|error| cannot_read(&error))?;
    if pattern.is_in(&text) {
        return Ok(());
    }
    Err(match text.as_slice() {
        [] => format!("{} is empty", path.display()),
        text => {
            format!(
                "{} holds nothing that matches; it begins with {}",
                path.display(),
                crate::check::quoted::quoted(text)
            )
        }
    })
}

/// ` (changed 12 s ago)`, if that is known.
fn changed(found: &Metadata, now: SystemTime) -> String {
    let Ok(modified) = found.modified() else { return String::new() };
    match now.duration_since(modified) {
        Ok(age) => format!(" (changed {} ago)", shown(age)),
        Err(ahead) => format!(" (changed {} in the future)", shown(ahead.duration())),
    }
}

/// `12 s`, `7 min`, `2 h 30 min`, `400 d 3 h`: the largest unit, and the one below it unless there is none of it.
fn shown(age: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let seconds = age.as_secs();
    let Some(at) = UNITS.iter().position(|(length, _)| seconds >= *length) else {
        return words::duration(age);
    };
    let (length, unit) = UNITS[at];
    let mut text = format!("{} {unit}", seconds / length);
    if let Some((below, name)) = UNITS.get(at + 1)
        && let rest @ 1.. = seconds % length / below
    {
        text.push_str(&format!(" {rest} {name}"));
    }
    text
}
