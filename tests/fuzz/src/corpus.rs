//! Moves inputs between `seeds/`, which is committed and readable, and `corpus/`, which libFuzzer works in.
//!
//! ```text
//! cargo run --example corpus -- unpack     seeds/*.txt  ─► corpus/<target>/seed-<n>
//! cargo run --example corpus -- pack [DIR] corpus/<target>/*  ─► seeds/<target>.min.txt, or from DIR/<target>/*
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::Target;

/// The program `corpus` of the package in `home`. `targets` have further inputs to begin with; what is longer than `most`
/// octets is not worth its place in the repository.
///
/// # Errors
/// A wrong argument, or a file that cannot be read or written.
pub fn main(
    home: &Path,
    targets: impl IntoIterator<Item = (Target, Vec<Vec<u8>>)>,
    most: u64,
) -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next();
    let from = arguments.next().map_or(home.join("corpus"), PathBuf::from);
    for (target, more) in targets {
        match command.as_ref().and_then(|command| command.to_str()) {
            Some("unpack") => unpack(home, &target, more)?,
            Some("pack") => pack(home, &target, &from, most)?,
            Some(_) | None => return Err(io::Error::other("usage: corpus unpack|pack [DIR]")),
        }
    }
    Ok(())
}

fn unpack(home: &Path, target: &Target, more: Vec<Vec<u8>>) -> io::Result<()> {
    let directory = home.join("corpus").join(target.name);
    fs::create_dir_all(&directory)?;
    for (number, seed) in target.seeds().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    for (number, seed) in more.into_iter().enumerate() {
        fs::write(directory.join(format!("seen-{number}")), seed)?;
    }
    Ok(())
}

/// The inputs of a corpus, the short ones first.
fn pack(home: &Path, target: &Target, from: &Path, most: u64) -> io::Result<()> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(from.join(target.name))? {
        let entry = entry?;
        if entry.metadata()?.len() <= most {
            inputs.push(fs::read(entry.path())?);
        }
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let mut text = String::from("# Written by `corpus pack`.\n");
    for input in inputs.iter().filter(|input| !input.is_empty()) {
        input.iter().try_for_each(|octet| write!(text, "{octet:02x}")).map_err(io::Error::other)?;
        text.push('\n');
    }
    fs::write(home.join("seeds").join(format!("{}.min.txt", target.name)), text)
}
