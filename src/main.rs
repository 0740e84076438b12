//! The `vipcast` command: parses the command line, runs the command, and exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    vipcast::cli::main()
}
