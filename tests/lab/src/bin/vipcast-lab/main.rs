//! The lab's command: `vipcast-lab bench` compares vipcast with other programs, in the same namespaces and with the
//! same routers as the tests.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

mod bench;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use self::bench::Bench;

/// A rack in network namespaces.
#[derive(Debug, Parser)]
#[command(name = "vipcast-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure vipcast beside HAProxy, BIRD, ExaBGP, GoBGP, keepalived and the kernel alone
    Bench(BenchArguments),
    /// Listen on many ports and answer HTTP requests there
    #[command(hide = true)]
    Serve(serve::Options),
}

/// What to measure, and how often.
#[derive(Debug, Args)]
struct BenchArguments {
    /// Only these
    #[arg(value_enum)]
    names: Vec<Bench>,
    /// Only these contenders; may be given several times
    #[arg(long, value_name = "CONTENDER")]
    only: Vec<String>,
    /// How often each is measured; tables show the median and the range
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Everything once and small, in about a minute: shows that it works, and nothing else
    #[arg(long)]
    quick: bool,
    /// The vipcast to measure; without it the release build of this directory, which cargo brings up to date first
    #[arg(long, value_name = "PATH")]
    vipcast: Option<PathBuf>,
    /// Also write the result to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Bench(arguments) => measure(&arguments),
        Command::Serve(options) => serve::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &BenchArguments) -> Result<()> {
    let report = bench::run(arguments)?;
    println!("{report}");
    if let Some(path) = &arguments.write {
        std::fs::write(path, report.page()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(!report.has_failed(), "vipcast failed in a bench; its row says why");
    Ok(())
}
