use super::*;
use crate::config::variables::Variables;

/// Reads one value out of `text` and returns it, or the message and hint.
fn read<T>(text: &str, reader: impl FnOnce(&Node, Span, &mut Report) -> Option<T>) -> Result<T, String> {
    let mut report = Report::default();
    let file = report.add_file("test.yaml", text);
    let node =
        crate::config::read::tree::parse(file, &Variables::default(), &mut report).expect("the test is YAML");
    let value = reader(&node, node.span, &mut report);
    let found = report.finish();
    let said = found
        .iter()
        .map(|d| format!("{} | {}", d.message, d.hint.as_deref().unwrap_or("-")))
        .collect::<Vec<_>>()
        .join("; ");
    match value {
        Some(value) if said.is_empty() => Ok(value),
        _ => Err(said),
    }
}

/// A number with a range, as a table reads it.
fn ranged(node: &Node, key: Span, report: &mut Report) -> Option<u32> {
    integer(node, key, 1..=65535, "a port, 1 to 65535", report)
}

#[test]
fn durations_are_numbers_with_units_from_large_to_small() {
    let milliseconds = |text| parse_duration(text).map(|d| d.as_millis());
    let table = [
        ("500ms", Ok(500)),
        ("3s", Ok(3000)),
        ("1m30s", Ok(90_000)),
        ("2h", Ok(7_200_000)),
        ("1d", Ok(86_400_000)),
        ("1d2h3m4s5ms", Ok(93_784_005)),
        ("0s", Ok(0)),
        ("0", Ok(0)),
        ("3", Err(DurationError::NoUnit)),
        ("", Err(DurationError::NotADuration)),
        ("s", Err(DurationError::NotADuration)),
        ("-1s", Err(DurationError::NotADuration)),
        ("1.5s", Err(DurationError::NotADuration)),
        ("1 s", Err(DurationError::NotADuration)),
        ("1s1s", Err(DurationError::NotADuration)),
        ("1s1m", Err(DurationError::NotADuration)),
        ("1s5", Err(DurationError::NotADuration)),
        ("1us", Err(DurationError::NotADuration)),
        ("1é", Err(DurationError::NotADuration)),
        ("99999999999999999999s", Err(DurationError::NotADuration)),
        ("18446744073709551615d", Err(DurationError::NotADuration)),
    ];
    for (text, expected) in table {
        assert_eq!(milliseconds(text), expected, "{text:?}");
    }
}

#[test]
fn a_duration_is_shown_as_it_is_written() {
    for text in ["500ms", "3s", "1m30s", "2h", "365d", "0s"] {
        assert_eq!(show_duration(parse_duration(text).expect("a duration")), text);
    }
}

#[test]
fn as_numbers_are_plain_or_dotted() {
    let table = [
        ("65001", Ok(65001)),
        ("\"65001\"", Ok(65001)),
        ("4200000000", Ok(4_200_000_000)),
        ("1.10", Ok(65546)),
        ("1.0", Ok(65536)),
        ("0.1", Ok(1)),
    ];
    for (text, expected) in table {
        assert_eq!(read(text, asn).map(|asn| asn.0), expected, "{text}");
    }
    for text in
        ["0", "4294967295", "4294967296", "-1", "1.65536", "1.2.3", "65_001", "0xfde9", "065001", "1e3"]
    {
        let message = format!("expected an AS number, 1 to 4294967294, found `{text}` | -");
        assert_eq!(read(text, asn), Err(message), "{text}");
    }
    assert_eq!(
        read("AS65001", asn),
        Err(String::from("expected an AS number, 1 to 4294967294, found `AS65001` | write `65001`"))
    );
}

#[test]
fn numbers_keep_to_their_range() {
    assert_eq!(read("179", ranged), Ok(179));
    for text in ["0", "65536", "1.5", "http", "'1 2'"] {
        let found = text.trim_matches('\'');
        assert_eq!(read(text, ranged), Err(format!("expected a port, 1 to 65535, found `{found}` | -")));
    }
}

#[test]
fn the_booleans_of_old_yaml_are_answered_with_the_word_to_write() {
    assert_eq!(read("true", boolean), Ok(true));
    assert_eq!(read("false", boolean), Ok(false));
    for (text, word) in [("yes", "true"), ("off", "false"), ("0", "false")] {
        let said = format!("expected `true` or `false`, found `{text}` | write `{word}`");
        assert_eq!(read(text, boolean), Err(said));
    }
}

#[test]
fn addresses_say_what_to_leave_out() {
    assert_eq!(read("2001:db8::1", address), Ok("2001:db8::1".parse().expect("an address")));
    let table = [
        ("10.0.0.1/32", "write it without the prefix length: `10.0.0.1`"),
        ("fe80::1%eth0", "write `fe80::1` here and `interface: eth0` beside it"),
        ("tor-a.example", "host names are not looked up here"),
        ("10.0.0.256", "-"),
    ];
    for (text, hint) in table {
        assert_eq!(read(text, address), Err(format!("expected an IP address, found `{text}` | {hint}")));
    }
}
