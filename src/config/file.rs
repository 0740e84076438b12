//! Reads a file without blocking, even if its path is a pipe without a writer.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;

use crate::blocking;

/// The metadata of an open file, and its content, at most `largest` bytes. Only regular files are read.
pub(super) fn read(path: &Path, largest: u64) -> io::Result<(Metadata, Vec<u8>)> {
    blocking::at(
        || path.display().to_string(),
        || {
            let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
            let metadata = file.metadata()?;
            let mut bytes = Vec::new();
            if metadata.is_file() {
                file.take(largest).read_to_end(&mut bytes)?;
            }
            Ok((metadata, bytes))
        },
    )
}

/// The same for a configuration, which may also come from a descriptor of ours, as `<(…)` of a shell does, and may be a
/// device: `/dev/null` in place of a file of `services.d` masks it.
///
/// # Errors
/// It cannot be read, or is nothing to read from.
pub(super) fn read_stream(path: &Path, largest: u64) -> io::Result<(Metadata, Vec<u8>)> {
    let is_ours = ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|ours| path.starts_with(ours));
    blocking::at(
        || path.display().to_string(),
        || {
            let wait = if is_ours { 0 } else { O_NONBLOCK };
            let file = OpenOptions::new().read(true).custom_flags(wait).open(path)?;
            let metadata = file.metadata()?;
            let kind = metadata.file_type();
            if !is_ours && (kind.is_fifo() || kind.is_socket() || kind.is_block_device()) {
                let what = if kind.is_fifo() { "a pipe" } else { "a device" };
                return Err(io::Error::other(format!("it is {what}, not a file")));
            }
            let mut bytes = Vec::new();
            file.take(largest).read_to_end(&mut bytes)?;
            Ok((metadata, bytes))
        },
    )
}
