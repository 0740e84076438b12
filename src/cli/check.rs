//! `vipcast check`: validates a configuration.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::{Failure, output};
use crate::config::{self, Diagnostics, Loaded};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file
    #[arg(value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: &CheckArgs) -> Result<(), Failure> {
    match config::load(&args.config) {
        Ok(Loaded { warnings, .. }) if args.json => output::print_json(&warnings),
        Ok(Loaded { config, warnings }) => {
            if !warnings.is_empty() {
                eprint!("{}", rendered(&warnings));
            }
            let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            output::print(&format!(
                "{}: {}, {}, {}",
                args.config.display(),
                count(config.peers.len(), "peer"),
                count(config.checks.len(), "check"),
                count(config.services.len(), "service"),
            ))
        }
        Err(diagnostics) if args.json => {
            output::print_json(&diagnostics)?;
            Err(Failure::Config(String::new()))
        }
        Err(diagnostics) => Err(Failure::Config(rendered(&diagnostics))),
    }
}

/// With colour where stderr is a terminal.
pub(super) fn rendered(diagnostics: &Diagnostics) -> String {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = diagnostics.render(colour);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
