//! Values as they stand inside a sentence.

use std::fmt::Write as _;
use std::time::Duration;

/// `500 ms`, `1.5 s`, `2 s`.
pub fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return format!("{} ms", duration.as_millis());
    }
    let mut text = format!("{}", duration.as_secs());
    let tenths = duration.subsec_millis() / 100;
    if tenths > 0 {
        let _infallible = write!(text, ".{tenths}");
    }
    text + " s"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(Duration::from_millis(500)), "500 ms");
        assert_eq!(duration(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(duration(Duration::from_secs(30)), "30 s");
    }
}
