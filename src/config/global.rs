//! The settings of the daemon as a whole: `state_dir`, `drain_file`, `control`, `events`, `log`, `shutdown`, `listen`, `interface`,
//! `router_id`.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Report, Span};
use super::host::{GroupUse, Need};
use super::model::{Control, EventFile, Listen, Log, LogFormat, LogLevel, Shutdown};
use super::read::tree::Node;
use super::read::{Placed, Table, list_of, value};
use super::{defaults, keys};

/// The longest path that fits in the address of a unix socket, its final NUL not counted (sun_path).
const LONGEST_SOCKET_PATH: usize = 107;

/// The longest time that a stop may take.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// The size of a file of events, in bytes: at least a few hundred events, and no more than a text editor can bear.
const EVENT_FILE_SIZES: RangeInclusive<u64> = 64 << 10..=16 << 30;

/// The shortest stop time-out of a supervisor by default, and the time that a stop takes besides the configured times.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// The keys of the top level that stand for themselves.
#[derive(Debug)]
pub(super) struct Global {
    pub(super) state_dir: PathBuf,
    pub(super) drain_file: Option<PathBuf>,
    pub(super) control: Control,
    pub(super) api: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) event_file: Option<EventFile>,
    pub(super) log: Log,
    pub(super) shutdown: Shutdown,
    pub(super) listen: Listen,
    pub(super) interface: String,
    pub(super) router_id: Option<Ipv4Addr>,
}

/// Takes its keys out of the top level.
pub(super) fn read(top: &mut Table<'_>, report: &mut Report) -> Option<Global> {
    let state_dir = top.field("state_dir", report, value::absolute_path).or(defaults::STATE_DIR.into());
    let drain_file = top.field("drain_file", report, value::absolute_path).optional();
    let control = top
        .field("control", report, control)
        .or_else(|| Control { socket: defaults::CONTROL_SOCKET.into(), group: None });
    let api = top.field("api", report, |node, key, report| offered(node, key, &keys::API, report)).optional();
    let metrics = top
        .field("metrics", report, |node, key, report| offered(node, key, &keys::METRICS, report))
        .optional();
    if let (Some(Some(api)), Some(Some(metrics))) = (&api, &metrics)
        && api.value == metrics.value
    {
        report
            .error(metrics.span, format!("{} is the address of `api`, too", metrics.value))
            .also(api.span, "used here")
            .hint("the API has `/metrics` as well: leave `metrics` out, or give it another port");
    }
    let address =
        |listen: Option<Option<Placed<SocketAddr>>>| listen.map(|listen| listen.map(|listen| listen.value));
    let (api, metrics) = (address(api), address(metrics));
    let event_file = top.field("events", report, events).or(None);
    let log = top.field("log", report, log).or(Log { level: LogLevel::Info, format: LogFormat::Plain });
    let shutdown = top.field("shutdown", report, shutdown).or(Shutdown {
        drain_time: defaults::DRAIN_TIME,
        unbind_delay: defaults::UNBIND_DELAY,
        keep_addresses: false,
        inhibit: true,
    });
    let listen = top
        .field("listen", report, listen)
        .or_else(|| Listen { addresses: Vec::new(), port: defaults::BGP_PORT });
    let interface =
        top.field("interface", report, value::interface_or_altname).or(defaults::INTERFACE.into());
    let router_id = top.field("router_id", report, router_id).optional();
    Some(Global {
        state_dir: state_dir?,
        drain_file: drain_file?,
        control: control?,
        api: api?,
        metrics: metrics?,
        event_file: event_file?,
        log: log?,
        shutdown: shutdown?,
        listen: listen?,
        interface: interface?,
        router_id: router_id?,
    })
}

/// A BGP identifier: any four octets but zero (RFC 6286).
fn router_id(node: &Node, key: Span, report: &mut Report) -> Option<Ipv4Addr> {
    let id = value::ipv4(node, key, report)?;
    if id.is_unspecified() {
        report
            .error(node.span, "a router id of 0.0.0.0 is not valid (RFC 6286)")
            .hint("leave `router_id` out to use the address towards the first peer");
        return None;
    }
    // Routers refuse an OPEN with such an id as RFC 4271 §6.2 tells them to.
    if id.is_multicast() || id.is_broadcast() {
        report
            .error(node.span, format!("{id} is no host's address: routers refuse such a router id"))
            .hint("take an address of this host that no other speaker uses as its router id");
        return None;
    }
    if id.is_loopback() || id.octets()[0] == 0 || id.octets()[0] >= 240 {
        report
            .warning(node.span, format!("{id} is no host's address, but the router id"))
            .hint("some routers refuse it (RFC 4271 §6.2), and every speaker needs an id of its own");
    }
    Some(id)
}

fn control(node: &Node, key: Span, report: &mut Report) -> Option<Control> {
    let mut table = Table::open(node, &keys::CONTROL, "`control`", key, report)?;
    let socket = table.field("socket", report, socket).or(defaults::CONTROL_SOCKET.into());
    let group = table.field("group", report, group).optional();
    table.finish(report);
    Some(Control { socket: socket?, group: group? })
}

/// `listen` of `api` or `metrics`.
fn offered(
    node: &Node,
    key: Span,
    section: &'static keys::section::Section,
    report: &mut Report,
) -> Option<Placed<SocketAddr>> {
    let mut table = Table::open(node, section, &format!("`{}`", section.id), key, report)?;
    let hint = "an address and a port, for example `listen: \"127.0.0.1:9468\"`";
    let listen = table.required("listen", hint, report, |node, key, report| {
        let written = value::text(node, key, "an address and a port", report)?;
        let address = written.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        if address.is_none() {
            report.error(node.span, "not an IP address and a port").hint(
                "write it like `127.0.0.1:9467` or `\"[::1]:9467\"`; `0.0.0.0` and `[::]` are all addresses",
            );
        }
        address
    });
    table.finish(report);
    listen
}

fn socket(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    let path = value::absolute_path(node, key, report)?;
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        report
            .error(node.span, "the path is too long for a unix socket")
            .hint(format!("the kernel allows {LONGEST_SOCKET_PATH} bytes"));
        return None;
    }
    Some(path)
}

fn group(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    let name = value::text(node, key, "the name of a group", report)?;
    report.needs(node.span, Need::Group(name.to_owned(), GroupUse::Control));
    Some(name.to_owned())
}

/// `events`: the file, if it is on.
#[expect(clippy::option_option, reason = "whether it is right, and on")]
fn events(node: &Node, key: Span, report: &mut Report) -> Option<Option<EventFile>> {
    let mut table = Table::open(node, &keys::EVENTS, "`events`", key, report)?;
    let file = table.field("file", report, value::boolean);
    let max_size =
        table.field("max_size", report, |node, key, report| value::size(node, key, EVENT_FILE_SIZES, report));
    let keep = table.number("keep", "a number of files", report);
    let (is_sized, is_kept) =
        (max_size.set().map(|size| size.span), keep.set().map(|keep: &Placed<u8>| keep.span));
    table.finish(report);
    if let (false, Some(span)) = (file.is_given(), is_sized.or(is_kept)) {
        report.error(span, "there is no file of events").hint("add `file: true`, or remove this key");
        return None;
    }
    let (file, max_size, keep) =
        (file.or(false)?, max_size.or(defaults::EVENT_FILE_SIZE)?, keep.or(defaults::EVENT_FILES)?);
    Some(file.then_some(EventFile { max_size, keep }))
}

/// `level`.
pub(super) const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
/// `format`.
pub(super) const FORMATS: [(&str, LogFormat); 2] = [("plain", LogFormat::Plain), ("json", LogFormat::Json)];

fn log(node: &Node, key: Span, report: &mut Report) -> Option<Log> {
    let mut table = Table::open(node, &keys::LOG, "`log`", key, report)?;
    let level = table
        .field("level", report, |node, key, report| value::choice(node, key, &LEVELS, report))
        .or(LogLevel::Info);
    let format = table
        .field("format", report, |node, key, report| value::choice(node, key, &FORMATS, report))
        .or(LogFormat::Plain);
    table.finish(report);
    Some(Log { level: level?, format: format? })
}

fn shutdown(node: &Node, key: Span, report: &mut Report) -> Option<Shutdown> {
    let mut table = Table::open(node, &keys::SHUTDOWN, "`shutdown`", key, report)?;
    let drain_time = table.field("drain_time", report, wait).or(defaults::DRAIN_TIME);
    let unbind_delay = table.field("unbind_delay", report, wait).or(defaults::UNBIND_DELAY);
    let keep_addresses = table.field("keep_addresses", report, value::boolean).or(false);
    let inhibit = table.field("inhibit", report, value::boolean).or(true);
    table.finish(report);
    let (drain_time, unbind_delay) = (drain_time?, unbind_delay?);
    let stop = drain_time + unbind_delay;
    if stop > STOP_TIMEOUT - STOP_MARGIN {
        let stop = value::show_duration(stop);
        report
            .warning(key, format!("a stop takes more than {stop}, and not every supervisor waits"))
            .hint("systemd is asked for the time, others may kill it: lower `drain_time`");
    }
    Some(Shutdown { drain_time, unbind_delay, keep_addresses: keep_addresses?, inhibit: inhibit? })
}

/// One of the times that a stop is made of.
fn wait(node: &Node, key: Span, report: &mut Report) -> Option<Duration> {
    let time = value::duration_of(node, key, Duration::ZERO, value::Unit::Seconds, report)?;
    if time > LONGEST_WAIT {
        report
            .error(node.span, format!("a stop would take {}", value::show_duration(time)))
            .hint(format!("the most is {}; a few seconds are enough", value::show_duration(LONGEST_WAIT)));
        return None;
    }
    Some(time)
}

fn listen(node: &Node, key: Span, report: &mut Report) -> Option<Listen> {
    let mut table = Table::open(node, &keys::LISTEN, "`listen`", key, report)?;
    let addresses = table
        .field("addresses", report, |node, key, report| {
            let addresses = list_of(node, key, "a list of addresses", report, value::address)?;
            if addresses.is_empty() {
                report.error(node.span, "with no address nothing can listen").hint(
                    "leave `addresses` out to listen on all; with `active: true` for every peer nothing listens",
                );
                return None;
            }
            Some(addresses)
        })
        .or(Vec::new());
    let port = table.number("port", value::PORT, report).or(defaults::BGP_PORT);
    table.finish(report);
    let addresses = addresses?;
    for (at, address) in addresses.iter().enumerate() {
        if let Some(first) = addresses[..at].iter().find(|first| first.value == address.value) {
            report
                .error(address.span, format!("{} is listed twice", address.value))
                .also(first.span, "first listed here")
                .hint("keep one of them");
        }
    }
    Some(Listen { addresses: addresses.into_iter().map(|address| address.value).collect(), port: port? })
}
