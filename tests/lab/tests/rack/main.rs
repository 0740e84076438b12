//! Tests of the lab itself. Tests that cannot run on this machine are listed and counted as ignored, not as passed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a skipped test says so")]

mod clearing;
mod hosts;
mod routers;
mod traffic;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};
use vipcast_lab::{Lab, RouterKind};

/// More than anything here takes, on a busy machine too. The slowest is GoBGP: 30 s idle after a reset of its own.
pub(crate) const SOON: Duration = Duration::from_secs(45);

fn main() -> ExitCode {
    if let Err(error) = clearing::be_the_victim() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::from_args();
    let groups = [hosts::trials(), clearing::trials(), traffic::trials(), routers::trials()];
    libtest_mimic::run(&arguments, groups.into_iter().flatten().collect()).exit_code()
}

/// A test that needs these routers. `test` gets the name for its lab.
pub(crate) fn trial(
    name: &str,
    kinds: &[RouterKind],
    test: impl FnOnce(&str) -> Result<()> + Send + 'static,
) -> Trial {
    let lab = name.to_owned();
    vipcast_lab::trial(name, Lab::available_with(kinds), move || test(&lab))
}
