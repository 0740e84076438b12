//! `vipcast import`: prints a configuration that does what that of another program does.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{Failure, check, output};
use crate::import::{self, Program, Source};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The program whose configuration it is
    #[arg(value_enum, value_name = "PROGRAM")]
    program: Program,
    /// Its configuration files, with those that they include; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// No configuration is larger, in bytes.
const LARGEST: u64 = 16 << 20;

pub(super) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let sources = args.files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let translation = import::translate(args.program, &sources);
    output::print(&translation.text)?;
    let mut said = String::new();
    if translation.lost > 0 {
        said += &format!(
            "{} not carried over: the comments at the top name each\n",
            directives(translation.lost)
        );
    }
    if translation.to_edit > 0 {
        said += &format!("{} to fill in: look for EDIT\n", places(translation.to_edit));
    }
    output::complain(&said);
    match translation.refused {
        None => Ok(()),
        Some(found) => Err(Failure::Config(check::rendered(&found))),
    }
}

fn directives(count: usize) -> String {
    if count == 1 { "1 directive was".to_owned() } else { format!("{count} directives were") }
}

fn places(count: usize) -> String {
    if count == 1 { "1 place is".to_owned() } else { format!("{count} places are") }
}

fn read(path: &PathBuf) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let result = match name.as_str() {
        "-" => std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes),
        _ => std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)),
    };
    result.with_context(|| format!("cannot read `{name}`"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(anyhow!("`{name}` is larger than {} MiB", LARGEST >> 20).into());
    }
    if name.ends_with(".toml") {
        return Err(anyhow!(
            "`{name}` is TOML, which is not read; pathosd reads YAML as well, so convert it"
        )
        .into());
    }
    Ok(Source { name, text: String::from_utf8_lossy(&bytes).into_owned() })
}
