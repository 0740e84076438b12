//! Shared by the tests of several modules.

use proptest::test_runner::Config;

/// `modest` cases, so that all tests stay within seconds, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(modest: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { modest };
    Config { cases, failure_persistence: None, ..default }
}
