//! Tells the program which commit it is built from: `VIPCAST_COMMIT` where a packager says so, else what git says of this
//! directory. A build from an archive knows none, and says none. The same commit gives the same program.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=VIPCAST_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let named = std::env::var("VIPCAST_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = named.or_else(|| {
        // Every commit and checkout writes there.
        let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
        if Path::new(&log).exists() {
            println!("cargo::rerun-if-changed={log}");
        }
        // The archive may lie in somebody else's repository.
        let top = git(&["rev-parse", "--show-toplevel"])?;
        let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
        let is_ours = Path::new(&top).canonicalize().ok()? == Path::new(&here).canonicalize().ok()?;
        git(&["rev-parse", "--short=12", "HEAD"]).filter(|_| is_ours)
    });
    println!("cargo::rustc-env=VIPCAST_COMMIT={}", commit.unwrap_or_default());
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
