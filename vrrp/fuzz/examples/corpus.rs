//! Moves inputs between `seeds/`, which is committed and readable, and `corpus/`, which libFuzzer works in.
//!
//! ```text
//! cargo run --example corpus -- unpack     seeds/*.txt  ─► corpus/<target>/seed-<n>
//! cargo run --example corpus -- pack [DIR] corpus/<target>/*  ─► seeds/<target>.min.txt, or from DIR/<target>/*
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use vipcast_vrrp_fuzz::TARGETS;

/// What is longer is not worth its place in the repository.
const MAX_PACKED: u64 = 512;

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    match env::args().nth(1).as_deref() {
        Some("unpack") => unpack(here),
        Some("pack") => pack(here, &env::args_os().nth(2).map_or(here.join("corpus"), PathBuf::from)),
        Some(_) | None => Err(io::Error::other("usage: corpus unpack|pack [DIR]")),
    }
}

fn unpack(here: &Path) -> io::Result<()> {
    for target in TARGETS {
        let directory = here.join("corpus").join(target.name);
        fs::create_dir_all(&directory)?;
        for (number, seed) in target.seeds().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}

/// The inputs of each corpus, the short ones first.
fn pack(here: &Path, corpus: &Path) -> io::Result<()> {
    for target in TARGETS {
        let mut inputs = Vec::new();
        for entry in fs::read_dir(corpus.join(target.name))? {
            let entry = entry?;
            if entry.metadata()?.len() <= MAX_PACKED {
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
        fs::write(here.join("seeds").join(format!("{}.min.txt", target.name)), text)?;
    }
    Ok(())
}
