//! The kinds of value: numbers, durations, addresses, AS numbers, words, paths, names.
//!
//! Each reader takes a node and the span of its key (shown if there is no value), and returns the value or reports its
//! error.

mod name;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use vipcast_bgp::wire::Asn;

pub(crate) use self::name::name;
pub use self::name::{NameError, parse_service_name};
use super::near::nearest;
use super::tree::{Node, Value};
use super::{expected, short};
use crate::config::diagnostic::{Report, Span};

/// No duration in a configuration is longer; it keeps sums of durations far from overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The text of a scalar.
pub(crate) fn text<'t>(node: &'t Node, key: Span, what: &str, report: &mut Report) -> Option<&'t str> {
    match &node.value {
        Value::Scalar(text) => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => {
            expected(node, key, what, report);
            None
        }
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: &Node, key: Span, report: &mut Report) -> Option<bool> {
    const WHAT: &str = "`true` or `false`";
    match text(node, key, WHAT, report)? {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        other => {
            let meant = match other.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "1" => Some("true"),
                "no" | "off" | "n" | "0" => Some("false"),
                _ => None,
            };
            let diagnostic = expected(node, key, WHAT, report);
            if let Some(meant) = meant {
                diagnostic.hint(format!("write `{meant}`"));
            }
            None
        }
    }
}

/// `true` for the defaults, `false`, or a map, which `settings` reads. `Some(None)`: switched off.
pub(crate) fn switch<T: Default>(
    node: &Node,
    key: Span,
    what: &str,
    report: &mut Report,
    settings: impl FnOnce(&mut Report) -> Option<T>,
) -> Option<Option<T>> {
    match &node.value {
        Value::Scalar(_) => Some(boolean(node, key, report)?.then(T::default)),
        Value::Map(_) => settings(report).map(Some),
        Value::Null | Value::List(_) => {
            expected(node, key, what, report);
            None
        }
    }
}

/// A whole number within a range; `what` names it with its range ("a port, 1 to 65535").
pub(crate) fn integer(
    node: &Node,
    key: Span,
    range: RangeInclusive<u32>,
    what: &str,
    report: &mut Report,
) -> Option<u32> {
    let number = text(node, key, what, report)?;
    match decimal(number).filter(|n| range.contains(n)) {
        Some(number) => Some(number),
        None => {
            expected(node, key, what, report);
            None
        }
    }
}

/// Digits only: `0x10`, `1_000` and `+5` are more likely mistakes than meant.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

/// The name of a port in a diagnostic.
pub(crate) const PORT: &str = "a port";

/// An AS number, plain or `high.low` (RFC 5396), that a speaker may have.
pub(crate) fn asn(node: &Node, key: Span, report: &mut Report) -> Option<Asn> {
    const WHAT: &str = "an AS number, 1 to 4294967294";
    let number = text(node, key, WHAT, report)?;
    let parsed = match number.split_once('.') {
        None => decimal::<u32>(number),
        Some((high, low)) => decimal::<u16>(high)
            .zip(decimal::<u16>(low))
            .map(|(high, low)| (u32::from(high) << 16) | u32::from(low)),
    };
    match parsed {
        Some(0 | u32::MAX) | None => {
            let digits = number.trim_start_matches("AS").trim_start_matches("as");
            let diagnostic = expected(node, key, WHAT, report);
            if digits != number && decimal::<u32>(digits).is_some() {
                diagnostic.hint(format!("write `{digits}`"));
            }
            None
        }
        Some(23456) => {
            report
                .error(node.span, "23456 is AS_TRANS, which no speaker has as its own number (RFC 6793)")
                .hint("write the four-octet number itself; routers that show 23456 cannot show it");
            None
        }
        Some(65535) => {
            report
                .error(node.span, "65535 is reserved, no speaker may have it (RFC 7300)")
                .hint("private AS numbers are 64512 to 65534 and 4200000000 to 4294967294");
            None
        }
        Some(value) => {
            // `65001.0` is what a program makes of 65001 that takes it for a fraction. Numbers of four octets that registries
            // give out begin with less.
            const LARGE: u32 = 1000 << 16;
            if value >= LARGE && number.ends_with(".0") {
                report
                    .warning(
                        node.span,
                        format!("`{}` is AS {value} in the notation high.low (RFC 5396)", short(number)),
                    )
                    .hint(format!(
                        "write the intended one, `{}` or `{value}`",
                        number.trim_end_matches(".0")
                    ));
            }
            Some(Asn(value))
        }
    }
}

/// A duration with units, at least `least`: `500ms`, `3s`, `1m30s`, `2h`, `1d`.
pub(crate) fn duration(node: &Node, key: Span, least: Duration, report: &mut Report) -> Option<Duration> {
    duration_of(node, key, least, Unit::Either, report)
}

/// The unit that a number without one is probably in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds, as in the timers of BGP.
    Seconds,
    /// Milliseconds, as in the timers of BFD.
    Milliseconds,
    /// Seconds where the number is small.
    Either,
}

impl Unit {
    /// The hint for a number without a unit.
    fn hint(self, number: &str) -> String {
        /// A number from here on may be milliseconds.
        const LARGE: u64 = 50;
        const UNITS: &str = "the units are ms, s, m, h and d";
        match self {
            Self::Milliseconds => format!("write `{number}ms` ({UNITS})"),
            Self::Either if decimal::<u64>(number).is_none_or(|number| number >= LARGE) => {
                format!("write `{number}ms` or `{number}s` ({UNITS})")
            }
            Self::Either | Self::Seconds => format!("write `{number}s` ({UNITS})"),
        }
    }
}

/// Like [`duration`], where the usual unit is known.
pub(crate) fn duration_of(
    node: &Node,
    key: Span,
    least: Duration,
    unit: Unit,
    report: &mut Report,
) -> Option<Duration> {
    const WHAT: &str = "a duration";
    let written = text(node, key, WHAT, report)?;
    match parse_duration(written) {
        Ok(duration) if duration < least => {
            let message = if duration.is_zero() {
                String::from("it must be greater than zero")
            } else {
                format!("`{}` is too short", short(written))
            };
            report.error(node.span, message).hint(format!("the least is {}", show_duration(least)));
            None
        }
        Ok(duration) if duration > LONGEST => {
            report
                .error(node.span, format!("`{}` is too long", short(written)))
                .hint(format!("the most is {}", show_duration(LONGEST)));
            None
        }
        Ok(duration) => Some(duration),
        Err(DurationError::NoUnit) => {
            report.error(node.span, format!("`{}` has no unit", short(written))).hint(unit.hint(written));
            None
        }
        Err(DurationError::NotADuration) => {
            expected(node, key, WHAT, report).hint("write it like `500ms`, `3s`, `1m30s`, `2h` or `1d`");
            None
        }
    }
}

/// The reason why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A bare number.
    #[error("a duration needs a unit, like `3s`")]
    NoUnit,
    /// Anything else.
    #[error("not a duration; write it like `500ms`, `3s`, `1m30s`, `2h` or `1d`")]
    NotADuration,
}

/// A duration of whole seconds within a range, for a field of the OPEN message that is called `what`.
pub(crate) fn whole_seconds(
    node: &Node,
    key: Span,
    range: RangeInclusive<u16>,
    what: &str,
    report: &mut Report,
) -> Option<u16> {
    let least = Duration::from_secs(u64::from(*range.start()));
    let time = duration_of(node, key, least, Unit::Seconds, report)?;
    if time.subsec_nanos() != 0 {
        report
            .error(node.span, format!("a {what} is in whole seconds"))
            .hint(format!("write `{}s`", time.as_secs() + 1));
        return None;
    }
    let seconds = u16::try_from(time.as_secs()).ok().filter(|seconds| seconds <= range.end());
    if seconds.is_none() {
        report
            .error(node.span, format!("the {what} does not fit in an OPEN message"))
            .hint(format!("the most is {}s", range.end()));
    }
    seconds
}

/// Numbers with units from the largest to the smallest, each at most once, nothing between: `1m30s`.
///
/// # Errors
/// It has no unit, or is no duration at all.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    const UNITS: [(&str, u64); 5] =
        [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];
    if decimal::<u64>(text).is_some_and(|n| n > 0) {
        return Err(DurationError::NoUnit);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut units = &UNITS[..];
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(DurationError::NotADuration)?;
        let number: u64 = number.parse().map_err(|_| DurationError::NotADuration)?;
        let part = number.checked_mul(units[at].1).ok_or(DurationError::NotADuration)?;
        total = total.checked_add(part).ok_or(DurationError::NotADuration)?;
        units = &units[at + 1..];
        rest = &rest[digits + letters..];
    }
    if text.is_empty() { Err(DurationError::NotADuration) } else { Ok(Duration::from_millis(total)) }
}

/// A bandwidth in bits per second with its unit, `100M`, `10G`, `2.5G`; in octets per second.
pub(crate) fn bandwidth(node: &Node, key: Span, report: &mut Report) -> Option<u64> {
    const WHAT: &str = "a bandwidth";
    const UNITS: [(char, f64); 4] = [('k', 1e3), ('M', 1e6), ('G', 1e9), ('T', 1e12)];
    let written = text(node, key, WHAT, report)?;
    let unit = written.chars().next_back().and_then(|last| UNITS.iter().find(|(unit, _)| *unit == last));
    let number = unit.and_then(|(unit, factor)| {
        let digits = written.strip_suffix(*unit)?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        digits
            .parse::<f64>()
            .ok()
            .filter(|number| plain && *number > 0.0 && *number < 1e6)
            .map(|n| n * factor / 8.0)
    });
    match number {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be 1 to 10^18"
        )]
        Some(octets) if octets >= 1.0 => Some(octets as u64),
        _ => {
            expected(node, key, WHAT, report)
                .hint("write bits per second with a unit: `100M`, `2.5G`, `10G`");
            None
        }
    }
}

/// A size in bytes with its unit, `64KiB`, `16MiB`, `1GiB`, within a range.
pub(crate) fn size(node: &Node, key: Span, range: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
    const WHAT: &str = "a size";
    const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let written = text(node, key, WHAT, report)?;
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = (decimal::<u32>(&written[..digits]), &written[digits..]);
    let size =
        UNITS.iter().find(|(name, _)| *name == unit).and_then(|(_, shift)| Some(u64::from(number?) << shift));
    match size {
        Some(size) if range.contains(&size) => Some(size),
        Some(size) => {
            let which = if size < *range.start() { "small" } else { "large" };
            let (least, most) = (show_size(*range.start()), show_size(*range.end()));
            report
                .error(node.span, format!("`{}` is too {which}", short(written)))
                .hint(format!("it may be {least} to {most}"));
            None
        }
        None => {
            let meant = match unit.trim_start().chars().next().map(|first| first.to_ascii_uppercase()) {
                Some(first @ ('K' | 'M' | 'G')) if number.is_some() => {
                    format!("write `{}{first}iB`", &written[..digits])
                }
                Some(_) | None => "write it like `64KiB`, `16MiB` or `1GiB`".to_owned(),
            };
            expected(node, key, WHAT, report).hint(meant);
            None
        }
    }
}

/// A size as one writes it: `16MiB`.
fn show_size(size: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| size.is_multiple_of(1_u64 << shift));
    unit.map_or_else(|| size.to_string(), |(unit, shift)| format!("{}{unit}", size >> shift))
}

/// A duration as one writes it: `1m30s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut shown = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= length {
            shown.push_str(&format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if shown.is_empty() { String::from("0s") } else { shown }
}

/// An IPv4 or IPv6 address without prefix length or zone.
pub(crate) fn address(node: &Node, key: Span, report: &mut Report) -> Option<IpAddr> {
    let written = text(node, key, "an IP address", report)?;
    if let Ok(address) = written.parse() {
        return Some(address);
    }
    let diagnostic = expected(node, key, "an IP address", report);
    if let Some((address, _)) = written.split_once('/')
        && address.parse::<IpAddr>().is_ok()
    {
        diagnostic.hint(format!("write it without the prefix length: `{address}`"));
    } else if let Some((address, zone)) = written.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        diagnostic.hint(format!("write `{address}` here and `interface: {zone}` beside it"));
    } else if written.bytes().any(|b| b.is_ascii_alphabetic()) && !written.contains(':') {
        diagnostic.hint("host names are not looked up here");
    }
    None
}

/// An IPv4 address.
pub(crate) fn ipv4(node: &Node, key: Span, report: &mut Report) -> Option<Ipv4Addr> {
    match text(node, key, "an IPv4 address", report)?.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            expected(node, key, "an IPv4 address", report);
            None
        }
    }
}

/// An IPv6 address.
pub(crate) fn ipv6(node: &Node, key: Span, report: &mut Report) -> Option<Ipv6Addr> {
    match text(node, key, "an IPv6 address", report)?.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            expected(node, key, "an IPv6 address", report);
            None
        }
    }
}

/// Why one host cannot have this address as its own, or a session with it; `None` when it can.
pub(crate) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Some("the unspecified address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("an address in 0.0.0.0/8"),
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) if v6.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("IPv4 in IPv6 notation"),
        IpAddr::V6(_) => None,
    }
}

/// Whether an address means something on its own link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(node: &Node, key: Span, words: &[(&str, T)], report: &mut Report) -> Option<T> {
    let listed = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>();
    let what = match listed.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some(_) | None => listed.concat(),
    };
    let written = text(node, key, &what, report)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == written) {
        return Some(*value);
    }
    let diagnostic = expected(node, key, &what, report);
    if let Some(meant) = nearest(written, words.iter().map(|(word, _)| *word)) {
        diagnostic.hint(format!("did you mean `{meant}`?"));
    }
    None
}

/// A path from the root.
pub(crate) fn absolute_path(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    const WHAT: &str = "an absolute path";
    let path = text(node, key, WHAT, report)?;
    if path.starts_with('/') && !path.chars().any(char::is_control) {
        return Some(PathBuf::from(path));
    }
    expected(node, key, WHAT, report).hint("a path begins with `/`: the daemon has no directory of its own");
    None
}

/// The name of a network interface that sockets are bound to: 1 to 15 bytes (IFNAMSIZ) with no blank and no `/`.
pub(crate) fn interface(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    interface_of(node, key, 15, report)
}

/// The name of a network interface, which may be an alternative one: 1 to 127 bytes (ALTIFNAMSIZ).
pub(crate) fn interface_or_altname(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    interface_of(node, key, 127, report)
}

fn interface_of(node: &Node, key: Span, longest: usize, report: &mut Report) -> Option<String> {
    const WHAT: &str = "the name of an interface";
    let name = text(node, key, WHAT, report)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if (1..=longest).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(odd) {
        return Some(name.to_owned());
    }
    expected(node, key, WHAT, report)
        .hint(format!("the kernel allows 1 to {longest} characters, no blank, no `/`, `:` or `%`"));
    None
}

#[cfg(test)]
mod tests;
