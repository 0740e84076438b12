//! What a value may be, as far as it can be said of the value alone: in words for the reference, and as an expression or a range
//! for the schema. The readers say the rest.

use vipcast_bgp::wire::iana::community::NAMED;

use super::section::Section;
use crate::check::kinds::systemd::read::SUFFIXES as UNIT_SUFFIXES;
use crate::control::api::EventKind;

/// The parts of expressions: an IPv4 address that a host can have, one of IPv6, a host name, a port.
macro_rules! host4 {
    () => {
        "(?!0\\.|22[4-9]\\.|23[0-9]\\.|255\\.255\\.255\\.255)(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?:\\.(?!$)|(?![0-9.]))){4}"
    };
}
macro_rules! v6 {
    () => {
        "[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*"
    };
}
macro_rules! host {
    () => {
        "(?![0-9.]+(?:[:/]|$))[^\\s/@#:?\\[\\]$]+"
    };
}
macro_rules! port {
    () => {
        "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    };
}

/// What a value may be, as far as it can be said of the value alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
    /// A text with something in it.
    Said,
    /// An AS number that a speaker may have.
    Asn,
    /// A text of this form: in words, and as an expression.
    Form(&'static str, &'static str),
    /// The same, where the expression is made from a list that the readers have.
    Made(&'static str, fn() -> String),
    /// A whole number within these bounds.
    Number(u64, u64),
    /// One of these.
    Word(&'static [&'static str]),
    /// A list of at least so many.
    List(&'static Self, u8),
    /// A map whose keys are the operator's.
    Map(&'static Self),
    /// A map whose keys are ours.
    Section(&'static Section),
    /// Any of these.
    Either(&'static [Self]),
}

pub(crate) const SWITCH: Shape = Shape::Switch;
pub(crate) const ASN: Shape = Shape::Asn;
pub(crate) const TEXT: Shape = Shape::Text;
/// With something in it.
pub(crate) const SOME_TEXT: Shape = Shape::Said;
/// An address that a host can have.
pub(crate) const IP: Shape = Shape::Either(&[IPV4, IPV6]);
pub(crate) const IPV4: Shape = Shape::Form("IPv4 address", concat!("^", host4!(), "$"));
pub(crate) const IPV6: Shape =
    Shape::Form("IPv6 address", concat!("^(?!::$|[fF]{2}[0-9a-fA-F]{2}:|::[fF]{4}:)", v6!(), "$"));
/// One that may stand in a route.
pub(crate) const GATEWAY: Shape = Shape::Either(&[GATEWAY4, GATEWAY6]);
pub(crate) const GATEWAY4: Shape = Shape::Form("IPv4 address", concat!("^(?!127\\.)", host4!(), "$"));
pub(crate) const GATEWAY6: Shape = Shape::Form(
    "IPv6 address",
    concat!("^(?!::1?$|[fF]{2}[0-9a-fA-F]{2}:|[fF][eE][89abAB][0-9a-fA-F]:|::[fF]{4}:)", v6!(), "$"),
);
pub(crate) const PREFIX: Shape = Shape::Either(&[
    Shape::Form("IPv4 prefix", concat!("^(?!127\\.|169\\.254\\.)", host4!(), "(/[1-9][0-9]?)?$")),
    Shape::Form(
        "IPv6 prefix",
        concat!(
            "^(?!::1?$|[fF]{2}[0-9a-fA-F]{2}:|[fF][eE][89abAB][0-9a-fA-F]:|::[fF]{4}:)",
            v6!(),
            "(/[1-9][0-9]{0,2})?$"
        ),
    ),
]);
/// An address of ours, or all of a family.
pub(crate) const LISTENED: Shape = Shape::Form("IP address", "^[0-9a-fA-F:.]+$");
pub(crate) const ENDPOINT: Shape =
    Shape::Form("IP address and port", "^([0-9.]+|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$");
pub(crate) const PATH: Shape = Shape::Form("absolute path", "^/");
pub(crate) const FILE_PATH: Shape = Shape::Form("absolute path", "^/.*[^/]$");
/// What fits into `sun_path`.
pub(crate) const SHORT_PATH: Shape = Shape::Form("absolute path", "^/.{0,106}$");
pub(crate) const RESTART_TIME: Shape =
    Shape::Form("whole seconds", "^(?=[0-9a-z]*[1-9])(1h)?([0-9]{1,2}m)?([0-9]{1,4}s)?([0-9]+ms)?$");
pub(crate) const SOCKET_PATH: Shape = Shape::Form("absolute path, or `@name`", "^[/@].");
pub(crate) const INTERFACE: Shape = Shape::Form("interface name", "^[^\\s/:%]{1,127}$");
pub(crate) const NAME: Shape = Shape::Form("name", "^[^/\\s]+$");
pub(crate) const DURATION: Shape =
    Shape::Form("duration", "^(?=[0-9a-z]*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$");
/// A second or more.
pub(crate) const SECONDS: Shape = Shape::Form(
    "duration",
    "^(?![0-9]{1,3}ms$)(?=[0-9a-z]*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
);
/// A minute or more.
pub(crate) const LONG: Shape = Shape::Form(
    "duration",
    "^(?![1-5]?[0-9]s$|[0-9]{1,4}ms$)(?=[0-9a-z]*[1-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
);
/// The word that stands for each VIP.
pub(crate) const VIP: Shape = Shape::Form("`vip`", "^[vV][iI][pP]$");
pub(crate) const SHORT: Shape = Shape::Form("seconds", "^(?=[0-9a-z]*[1-9])([0-9]+s)?([0-9]+ms)?$");
pub(crate) const UP_TO_AN_HOUR: Shape = Shape::Form("duration", "^(1h|([0-9]+m)?([0-9]+s)?([0-9]+ms)?|0)$");
/// No time at all.
pub(crate) const NOT_AT_ALL: Shape = Shape::Either(&[Shape::Number(0, 0), Shape::Word(&["0s", "0ms"])]);
pub(crate) const PERCENT: Shape = Shape::Form("percentage", "^[0-9]{1,2}(\\.[0-9])?%$");
pub(crate) const SIZE: Shape = Shape::Form("size", "^[1-9][0-9]{0,8}(KiB|MiB|GiB)$");
pub(crate) const BANDWIDTH: Shape = Shape::Form("bandwidth", "^[0-9]+(\\.[0-9]+)?[kMGT]$");
pub(crate) const STATUS: Shape =
    Shape::Either(&[Shape::Number(100, 599), Shape::Form("range", "^[1-5][0-9][0-9]-[1-5][0-9][0-9]$")]);
pub(crate) const URL: Shape = Shape::Form(
    "URL",
    concat!("^https?://(\\[", v6!(), "\\]|", host4!(), "|", host!(), ")(:", port!(), ")?([/?][^\\s#]*)?$"),
);
pub(crate) const HOST: Shape =
    Shape::Form("host name or IP address", concat!("^(", v6!(), "|", host4!(), "|", host!(), ")$"));
/// The port alone where the check says whom to ask.
pub(crate) const HOST_AND_PORT: Shape = Shape::Either(&[
    Shape::Number(1, 65535),
    Shape::Form("`host:port`", concat!("^(\\[", v6!(), "\\]|", host4!(), "|", host!(), ")?:", port!(), "$")),
]);
/// The same, or a socket on this host.
pub(crate) const SERVER: Shape = Shape::Either(&[HOST_AND_PORT, Shape::Form("socket", "^(unix:)?[/@].")]);
pub(crate) const RESOLVER: Shape = Shape::Form(
    "host name or IP address, with `:port` or without",
    concat!("^(", v6!(), "|(\\[", v6!(), "\\]|", host4!(), "|", host!(), ")(:", port!(), ")?)$"),
);
pub(crate) const DOMAIN: Shape = Shape::Form("domain name", "^(?!.*\\.\\.)\\S+$");
pub(crate) const HEX: Shape = Shape::Form("hexadecimal digits", "^\\s*([0-9a-fA-F]{2}\\s*)+$");
pub(crate) const COMMUNITY: Shape = Shape::Made("community", community);
pub(crate) const LARGE_COMMUNITY: Shape = Shape::Form("large community", "^[0-9]+:[0-9]+:[0-9]+$");
/// A time for a program or a request.
pub(crate) const WAIT: Shape =
    Shape::Form("duration", "^(?![0-9]{1,2}ms$)(?=[0-9a-z]*[1-9])([0-9]{1,2}m)?([0-9]{1,3}s)?([0-9]+ms)?$");
pub(crate) const EVENT_KIND: Shape = Shape::Made("kind of event", event_kind);
pub(crate) const UNIT: Shape = Shape::Made("unit name", unit);

/// Numbers, or a name in capitals or not, with `_` or `-`.
fn community() -> String {
    let either_case = |c: char| match c {
        '-' => "[-_]".to_owned(),
        c => format!("[{}{c}]", c.to_ascii_uppercase()),
    };
    let names = NAMED.iter().map(|(name, _)| name.chars().map(either_case).collect::<String>());
    format!("^([0-9]{{1,5}}:[0-9]{{1,5}}|{})$", names.collect::<Vec<_>>().join("|"))
}

fn event_kind() -> String {
    let words = EventKind::KNOWN.iter().map(EventKind::word).collect::<Vec<_>>();
    format!("^({})$", words.join("|"))
}

fn unit() -> String {
    format!("^[^\\s/]*[^\\s/@]\\.({})$", UNIT_SUFFIXES.join("|"))
}

pub(crate) const fn number(least: u64, most: u64) -> Shape {
    Shape::Number(least, most)
}

pub(crate) const fn word(words: &'static [&'static str]) -> Shape {
    Shape::Word(words)
}

/// The words of a table that a reader chooses from.
pub(crate) const fn words<T, const N: usize>(table: &'static [(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

pub(crate) const fn list(of: &'static Shape) -> Shape {
    Shape::List(of, 0)
}

pub(crate) const fn some(of: &'static Shape) -> Shape {
    Shape::List(of, 1)
}

pub(crate) const fn map(of: &'static Shape) -> Shape {
    Shape::Map(of)
}

pub(crate) const fn section(section: &'static Section) -> Shape {
    Shape::Section(section)
}

pub(crate) const fn either(shapes: &'static [Shape]) -> Shape {
    Shape::Either(shapes)
}
