//! Shared by the tests of several modules, of `vipcast-node` too.

use proptest::test_runner::Config;

/// `modest` cases, so that all tests stay within seconds, or as many as `PROPTEST_CASES` says.
pub(crate) fn cases(modest: u32) -> Config {
    let default = Config::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { modest };
    Config { cases, failure_persistence: None, ..default }
}

/// Damages JSON text: an octet, a piece, its end, or a number.
pub(crate) fn damage(text: &mut Vec<u8>, how: u8, at: usize, value: u64) {
    if text.is_empty() {
        return;
    }
    let place = at % text.len();
    match how {
        0 => text[place] = value.to_be_bytes()[7],
        1 => text.truncate(place),
        2 => {
            let end = text.len().min(place + at % 40);
            text.drain(place..end);
        }
        _number => {
            const TELLING: [u64; 6] = [0, 1, 255, u32::MAX as u64, u64::MAX / 2, u64::MAX];
            let value = TELLING.get(usize::from(value.to_be_bytes()[7]) % 8).copied().unwrap_or(value);
            let Some(begin) = (place..text.len()).find(|at| text[*at].is_ascii_digit()) else { return };
            let end = (begin..text.len()).find(|at| !text[*at].is_ascii_digit()).unwrap_or(text.len());
            text.splice(begin..end, value.to_string().into_bytes());
        }
    }
}
