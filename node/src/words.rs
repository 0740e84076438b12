//! Values in words.

use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::Override;
use crate::plain::plain;

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

/// The operator, the times and the reason of an override in words; the operator's text is made harmless for another
/// operator's terminal.
pub fn set(set: &Override) -> String {
    let Override { order, since, ends } = set;
    let reason = order.reason.as_ref().map(|reason| format!(", {}", plain(reason))).unwrap_or_default();
    let until = ends.map(|ends| format!(", until {:.0}", ends.wall)).unwrap_or_default();
    format!("by {} since {since:.0}{until}{reason}", plain(&order.by))
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
