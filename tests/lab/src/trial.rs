//! A test that cannot run everywhere, and reports itself as skipped.

use anyhow::Result;
use libtest_mimic::{Failed, Trial};

/// A test for `libtest_mimic::run`. Where it `needs` something that is not there, it is counted as ignored, and the reason
/// is printed as `SKIPPED name: reason`. The whole chain of causes is shown when it fails.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn trial(
    name: &str,
    needs: Result<(), String>,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    if let Err(reason) = &needs {
        eprintln!("SKIPPED {name}: {reason}");
    }
    let test = move || test().map_err(|error| Failed::from(format!("{error:#}")));
    Trial::test(name, test).with_ignored_flag(needs.is_err())
}
