//! BIRD 2: one process, which also puts its routes into the kernel.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ipnet::IpNet;

use crate::host::Host;
use crate::router::instance::{Instance, delegate_to_instance};
use crate::router::{
    Bfd, BfdState, Family, History, Neighbor, Notification, Path, Router, RouterConfig, RouterKind, Routes,
    Since, as_path, community,
};

const CONFIG: &str = "bird.conf";
const SOCKET: &str = "bird.ctl";

/// BIRD's words for NOTIFICATIONs, and what is on the wire. A text that it does not know it shows as `Unknown
/// error <code>.<subcode>`.
const ERRORS: &[(&str, u8, u8)] = &[
    ("Connection not synchronized", 1, 1),
    ("Bad message length", 1, 2),
    ("Bad message type", 1, 3),
    ("Invalid OPEN message", 2, 0),
    ("Unsupported version number", 2, 1),
    ("Bad peer AS", 2, 2),
    ("Bad BGP identifier", 2, 3),
    ("Unsupported optional parameter", 2, 4),
    ("Authentication failure", 2, 5),
    ("Unacceptable hold time", 2, 6),
    ("Required capability missing", 2, 7),
    ("No supported AFI/SAFI", 2, 8),
    ("Role mismatch", 2, 11),
    ("Invalid UPDATE message", 3, 0),
    ("Malformed attribute list", 3, 1),
    ("Unknown well-known attribute", 3, 2),
    ("Missing mandatory attribute", 3, 3),
    ("Invalid attribute flags", 3, 4),
    ("Invalid attribute length", 3, 5),
    ("Invalid ORIGIN attribute", 3, 6),
    ("AS routing loop", 3, 7),
    ("Invalid NEXT_HOP attribute", 3, 8),
    ("Optional attribute error", 3, 9),
    ("Invalid network field", 3, 10),
    ("Malformed AS_PATH", 3, 11),
    ("Hold timer expired", 4, 0),
    ("Finite state machine error", 5, 0),
    ("Cease", 6, 0),
    ("Maximum number of prefixes reached", 6, 1),
    ("Administrative shutdown", 6, 2),
    ("Peer de-configured", 6, 3),
    ("Administrative reset", 6, 4),
    ("Connection rejected", 6, 5),
    ("Other configuration change", 6, 6),
    ("Connection collision resolution", 6, 7),
    ("Out of Resources", 6, 8),
];

/// A running BIRD.
#[derive(Debug)]
pub(crate) struct Bird {
    instance: Instance,
}

impl Bird {
    pub(crate) fn new(host: &Host, config: &RouterConfig) -> Result<Self> {
        let instance = Instance::new(RouterKind::Bird, host, config)?;
        instance.write(CONFIG, &config_text(config))?;
        Ok(Self { instance })
    }

    /// The name of the protocol for a neighbour.
    fn protocol(&self, neighbor: IpAddr) -> Result<String> {
        let position = self.instance.config.neighbors.iter().position(|one| one.address == neighbor);
        position.map(protocol).with_context(|| format!("{neighbor} is no neighbour"))
    }

    /// `birdc` reports success whatever BIRD answers, so the answer is looked at.
    fn order(&self, command: &str, answer: &str) -> Result<()> {
        let text = self.cli(command)?;
        ensure!(text.contains(answer), "{command:?}: {text}");
        Ok(())
    }
}

impl Router for Bird {
    delegate_to_instance!();

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let text = self.cli(&format!("show protocols all {}", self.protocol(neighbor)?))?;
        let state = text.lines().find_map(|line| line.trim().strip_prefix("BGP state:"));
        state.map(|state| state.trim().to_owned()).ok_or_else(|| anyhow!("no state of {neighbor} in {text}"))
    }

    fn routes(&self) -> Result<Routes> {
        let peers: Vec<_> = self
            .instance
            .config
            .neighbors
            .iter()
            .enumerate()
            .map(|(i, n)| (protocol(i), n.address))
            .collect();
        parse_routes(&self.cli("show route all")?, &peers)
    }

    /// Asked without `birdc`, so that a daemon beside it can be watched without being slowed down.
    fn count(&self, neighbor: IpAddr) -> Result<usize> {
        let text =
            ask(&self.instance.file(SOCKET), &format!("show protocols all {}", self.protocol(neighbor)?))?;
        Ok(text.lines().filter_map(imported).sum())
    }

    fn history(&self, neighbor: IpAddr) -> Result<History> {
        let name = self.protocol(neighbor)?;
        let text = self.cli(&format!("show protocols all {name}"))?;
        let mut heads = text.lines().filter(|line| line.split_whitespace().next() == Some(&name));
        let head = heads.next().with_context(|| format!("no protocol {name} in {text}"))?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let [_, _, _, state, since, info @ ..] = words.as_slice() else { bail!("{head:?} is no protocol") };
        let has_bfd = self.instance.config.neighbors.iter().any(|one| one.bfd.is_some());
        let bfd = if has_bfd { self.cli("show bfd sessions")? } else { String::new() };
        let bfd = bfd.lines().find_map(|line| bfd_since(line, neighbor));
        let since = Since::read(since).into_iter().chain(bfd.as_ref().and_then(|(_, since)| *since));
        Ok(History {
            session: format!("{state} {}", info.join(" ")),
            since: since.collect(),
            bfd: bfd.map(|(state, _)| state),
            updates: text.lines().filter_map(received).sum(),
        })
    }

    fn received_notification(&self, neighbor: IpAddr) -> Result<Option<Notification>> {
        let protocol = self.protocol(neighbor)?;
        Ok(self.log().lines().rev().find_map(|line| parse_notification(line, &protocol)))
    }

    fn bfd(&self, neighbor: IpAddr) -> Result<BfdState> {
        let text = self.cli("show bfd sessions")?;
        parse_bfd(&text, neighbor)?.with_context(|| format!("no BFD session with {neighbor} in {text}"))
    }

    fn set_bfd(&self, neighbor: IpAddr, bfd: Bfd) -> Result<()> {
        ensure!(self.instance.config.neighbors.iter().any(|one| one.address == neighbor), "no {neighbor}");
        let mut config = self.instance.config.clone();
        for neighbor in config.neighbors.iter_mut().filter(|neighbor| neighbor.bfd.is_some()) {
            neighbor.bfd = Some(bfd);
        }
        self.instance.write(CONFIG, &config_text(&config))?;
        self.order("configure", "Reconfigur")
    }

    fn refresh(&self, neighbor: IpAddr) -> Result<()> {
        let protocol = self.protocol(neighbor)?;
        self.order(&format!("reload in {protocol}"), "reloading")
    }

    fn clear(&self, neighbor: IpAddr) -> Result<()> {
        let protocol = self.protocol(neighbor)?;
        self.order(&format!("restart {protocol}"), "restarted")
    }

    fn shut(&self, neighbor: IpAddr, message: &str) -> Result<()> {
        let protocol = self.protocol(neighbor)?;
        self.order(&format!("disable {protocol} \"{message}\""), "disabled")
    }

    fn unshut(&self, neighbor: IpAddr) -> Result<()> {
        let protocol = self.protocol(neighbor)?;
        self.order(&format!("enable {protocol}"), "enabled")
    }

    fn cli(&self, command: &str) -> Result<String> {
        let socket = self.instance.file(SOCKET);
        let mut arguments = vec!["birdc".to_owned(), "-s".to_owned(), socket.to_string_lossy().into_owned()];
        arguments.extend(command.split(' ').map(str::to_owned));
        self.instance.host.run(arguments)
    }

    fn start(&self) -> Result<()> {
        self.instance.expect_stopped()?;
        // What a killed predecessor left would look like a daemon that is ready.
        let _absent = fs::remove_file(self.instance.file(SOCKET));
        let mut command = self.instance.host.command("bird");
        command.arg("-f").arg("-c").arg(self.instance.file(CONFIG));
        command.arg("-s").arg(self.instance.file(SOCKET)).arg("-P").arg(self.instance.file("bird.pid"));
        // Its socket accepts before the configuration is read.
        self.instance.launch("bird", command, || self.order("show status", "Daemon is up and running"))
    }

    fn dump(&self) -> String {
        self.instance.dump(
            CONFIG,
            &["show protocols all", "show route all", "show bfd sessions"],
            |command| self.cli(command),
        )
    }
}

/// What BIRD answers to a command, by the protocol of its socket: the last line of an answer has a blank behind its code.
fn ask(socket: &std::path::Path, command: &str) -> Result<String> {
    let context = || format!("BIRD does not answer at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(context)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{command}\n").as_bytes()).with_context(context)?;
    let mut lines = BufReader::new(stream).lines();
    let _greeting = lines.next().transpose().with_context(context)?;
    let mut answer = String::new();
    for line in lines {
        let line = line.with_context(context)?;
        let is_last = line.get(..4).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
            && line.as_bytes().get(4) == Some(&b' ');
        answer += &line;
        answer.push('\n');
        if is_last {
            return Ok(answer);
        }
    }
    bail!("BIRD ended in the middle of an answer: {answer}")
}

/// The number in `    Routes:         3 imported, 0 exported, 3 preferred`.
fn imported(line: &str) -> Option<usize> {
    let mut words = line.trim().strip_prefix("Routes:")?.split_whitespace();
    let count = words.next()?.parse().ok()?;
    words.next()?.starts_with("imported").then_some(count)
}

/// The first number in `      Import updates:              3          0          0          0          3`, and of withdrawals.
fn received(line: &str) -> Option<u64> {
    let (kind, counts) = line.trim().split_once(':')?;
    let counted = matches!(kind, "Import updates" | "Import withdraws");
    counts.split_whitespace().next()?.parse().ok().filter(|_| counted)
}

/// The state and its time in `10.0.1.2                  to-edge    Up         12:47:03.279    0.100    0.300`.
fn bfd_since(line: &str, neighbor: IpAddr) -> Option<(String, Option<Since>)> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [address, _interface, state, since, ..] if address.parse() == Ok(neighbor) => {
            Some((state.to_owned(), Since::read(since)))
        }
        _ => None,
    }
}

fn protocol(index: usize) -> String {
    format!("n{index}")
}

fn config_text(config: &RouterConfig) -> String {
    let merge = if config.multipath { "merge paths on limit 16;" } else { "" };
    let mut text =
        format!("log stderr all;\nrouter id {};\nprotocol device {{ scan time 1; }}\n", config.router_id);
    // What it announces itself is a black hole in BIRD; the kernel must not have that.
    let mut attributes = String::new();
    for family in Family::ALL {
        let word = family.word();
        if config.kernel {
            text += &format!(
                "protocol kernel kernel_{word} {{ {word} {{ import none; export where source = RTS_BGP; }}; {merge} }}\n"
            );
        }
        text += &format!("protocol static own_{word} {{ {word};\n");
        for own in config.announce.iter().filter(|own| Family::of(own.prefix.addr()) == family) {
            text += &format!("  route {} blackhole;\n", own.prefix);
            // MED does not survive the way from a static route to an eBGP neighbour; it is set at the exit.
            let mut sets: String = own.med.iter().map(|med| format!(" bgp_med = {med};")).collect();
            for community in &own.communities {
                sets += &format!(" bgp_community.add(({}));", community.replace(':', ","));
            }
            attributes += &format!("  if net = {} then {{{sets} }}\n", own.prefix);
        }
        text += "}\n";
    }
    text += &bfd(config);
    let others = if config.transit { "accept" } else { "reject" };
    text += &format!(
        "filter own_routes {{\n  if source != RTS_STATIC then {others};\n{attributes}  accept;\n}}\n{}",
        config.neighbors.iter().enumerate().map(|(i, n)| session(i, n, config)).collect::<String>()
    );
    text + &config.extra
}

fn session(index: usize, neighbor: &Neighbor, config: &RouterConfig) -> String {
    let mut text = format!("protocol bgp {} {{\n", protocol(index));
    let mut line = |words: String| text += &format!("  {words};\n");
    line(format!("local port {} as {}", config.port, config.asn));
    line(format!("neighbor {} port {} as {}", neighbor.address, neighbor.port, neighbor.asn));
    line(format!("hold time {}", neighbor.hold_time));
    line(format!("keepalive time {}", neighbor.keepalive()));
    line("connect delay time 0".to_owned());
    line("connect retry time 1".to_owned());
    line("error wait time 1, 2".to_owned());
    // Otherwise it keeps the routes of a neighbour that asks for it.
    line(format!("graceful restart {}", if neighbor.graceful_restart { "aware" } else { "off" }));
    line("long lived graceful restart off".to_owned());
    if neighbor.passive {
        line("passive on".to_owned());
    }
    if let Some(password) = &neighbor.password {
        line(format!("password \"{password}\""));
    }
    if neighbor.ttl_security.is_some() {
        line("ttl security on".to_owned());
    }
    if let Some(hops) = neighbor.multihop.or(neighbor.ttl_security.filter(|hops| *hops > 1)) {
        line(format!("multihop {hops}"));
    }
    if neighbor.bfd.is_some() {
        line("bfd on".to_owned());
    }
    // BIRD wants it for BFD over routers.
    if let Some(local) = neighbor.bfd.and_then(|bfd| bfd.multihop) {
        line(format!("source address {local}"));
    }
    for family in &neighbor.families {
        let extended =
            if neighbor.extended_nexthop && *family == Family::Ipv4 { " extended next hop on;" } else { "" };
        line(format!("{} {{ import all; export filter own_routes;{extended} }}", family.word()));
    }
    text + &neighbor.extra + "}\n"
}

/// Its timers belong to interfaces, or to all that is not on one; so the first neighbour with BFD decides for all
/// others of its kind.
fn bfd(config: &RouterConfig) -> String {
    let mut text = String::new();
    for neighbor in &config.neighbors {
        let Some(bfd) = neighbor.bfd else { continue };
        let options = format!(
            "{{ min tx interval {} ms; min rx interval {} ms; multiplier {}; }}",
            bfd.transmit, bfd.receive, bfd.multiplier
        );
        let (place, how) = match bfd.multihop {
            Some(local) => ("multihop", format!(" local {local} multihop on")),
            None => ("interface \"*\"", String::new()),
        };
        text += &format!("  {place} {options};\n  neighbor {}{how};\n", neighbor.address);
    }
    if text.is_empty() { text } else { format!("protocol bfd {{\n{text}}}\n") }
}

/// ```text
/// IP address                Interface  State      Since         Interval  Timeout
/// 10.0.1.2                  to-edge    Up         12:47:03.279    0.100    0.300
/// ```
fn parse_bfd(text: &str, neighbor: IpAddr) -> Result<Option<BfdState>> {
    let seconds = |word: &str| Ok::<_, anyhow::Error>(Duration::from_secs_f64(word.parse()?));
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _interface, state, .., interval, timeout] = words.as_slice() else { continue };
        if address.parse() == Ok(neighbor) {
            let state = state.to_lowercase();
            return Ok(Some(BfdState { state, transmit: seconds(interval)?, detection: seconds(timeout)? }));
        }
    }
    Ok(None)
}

/// ```text
/// 192.0.2.1/32         unicast [n0 12:47:03.279] * (100) [AS65001i]
/// <tab>via 10.0.1.2 on to-a
/// <tab>BGP.as_path: 65001
///                      unicast [n1 12:47:03.280] (100) [AS65002i]      the next path to the same prefix
/// ```
fn parse_routes(text: &str, peers: &[(String, IpAddr)]) -> Result<Routes> {
    let mut routes = Routes::new();
    let mut prefix: Option<IpNet> = None;
    for line in text.lines() {
        if let Some(attribute) = line.strip_prefix('\t') {
            let path = prefix.and_then(|prefix| routes.get_mut(&prefix)).and_then(|paths| paths.last_mut());
            parse_attribute(
                attribute,
                path.with_context(|| format!("an attribute without a path: {line:?}"))?,
            )
            .with_context(|| format!("cannot read {attribute:?}"))?;
            continue;
        }
        let Some((head, rest)) = line.split_once(" [") else { continue };
        if let Some(first) = head.split_whitespace().next().filter(|_| !line.starts_with(' ')) {
            let Ok(parsed) = first.parse() else { continue };
            prefix = Some(parsed);
        }
        let prefix = prefix.with_context(|| format!("a path without a prefix: {line:?}"))?;
        let protocol = rest.split([' ', ']']).next().unwrap_or_default();
        let unspecified = match Family::of(prefix.addr()) {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        routes.entry(prefix).or_default().push(Path {
            next_hop: unspecified,
            as_path: Vec::new(),
            med: None,
            local_pref: None,
            communities: Default::default(),
            large_communities: Default::default(),
            peer: peers.iter().find(|(name, _)| name == protocol).map(|(_, address)| *address),
            best: rest.contains("] * ("),
        });
    }
    Ok(routes)
}

/// `BGP.community: (65001,100) (65535,0)`, and so on; what is not known is passed over.
fn parse_attribute(line: &str, path: &mut Path) -> Result<()> {
    let Some((name, value)) = line.strip_prefix("BGP.").and_then(|line| line.split_once(": ")) else {
        return Ok(());
    };
    let tuples = || {
        value.split('(').filter_map(|tuple| tuple.split_once(')')).map(|(inner, _)| {
            let inner: String = inner.chars().filter(|c| *c != ' ').collect();
            community(&inner.replace(',', ":"))
        })
    };
    match name {
        // An IPv6 route may have a link-local next hop beside the global one.
        // A link-local one without a global one stands behind `::`.
        "next_hop" => {
            let shown = value.trim_start_matches(":: ");
            path.next_hop = shown.split(' ').next().unwrap_or_default().parse()?;
        }
        "as_path" => path.as_path = as_path(value)?,
        "med" => path.med = Some(value.trim().parse()?),
        "local_pref" => path.local_pref = Some(value.trim().parse()?),
        "community" => path.communities = tuples().collect(),
        "large_community" => path.large_communities = tuples().collect(),
        _ => {}
    }
    Ok(())
}

/// `2026-11-22 12:49:01.774 <RMT> n1: Received: Administrative shutdown: "maintenance on edge1"`
fn parse_notification(line: &str, protocol: &str) -> Option<Notification> {
    let (_, rest) = line.split_once(&format!("<RMT> {protocol}: Received: "))?;
    let (words, text) = match rest.split_once(": \"") {
        Some((words, text)) => (words, text.strip_suffix('"')),
        None => (rest.split(": ").next().unwrap_or(rest), None),
    };
    let known = ERRORS.iter().find(|(name, _, _)| *name == words).map(|(_, code, subcode)| (*code, *subcode));
    let numbers = || {
        let (code, subcode) = words.strip_prefix("Unknown error ")?.split_once('.')?;
        Some((code.parse().ok()?, subcode.parse().ok()?))
    };
    let (code, subcode) = known.or_else(numbers)?;
    Some(Notification { code, subcode, text: text.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_and_when_bfd_came_up_stand_in_a_table() {
        assert_eq!(
            received("      Import updates:              3          0          0          0          3"),
            Some(3)
        );
        assert_eq!(
            received("      Import withdraws:            1          0        ---          0          1"),
            Some(1)
        );
        assert_eq!(
            received("      Export updates:              5          5          0        ---          0"),
            None
        );
        let line = "10.0.1.2                  to-edge    Up         12:47:03.279    0.100    0.300";
        let ours = "10.0.1.2".parse().unwrap();
        assert_eq!(bfd_since(line, ours), Some(("Up".to_owned(), Since::read("12:47:03.279"))));
        assert_eq!(bfd_since(line, "10.0.1.3".parse().unwrap()), None);
    }

    #[test]
    fn a_table_with_two_paths_to_a_prefix_is_read() {
        let text = "BIRD 2.0.12 ready.\nTable master4:\n\
            192.0.2.1/32         unicast [n0 12:47:03.279] * (100) [AS65001i]\n\
            \tvia 10.0.1.2 on to-a\n\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: 65001 65009\n\
            \tBGP.next_hop: 10.0.1.2\n\tBGP.med: 77\n\tBGP.local_pref: 100\n\
            \tBGP.community: (65001,100) (65535,0)\n\tBGP.large_community: (65001, 1, 2)\n\
            \x20                    unicast [n1 12:47:03.280] (100) [AS65002i]\n\
            \tBGP.as_path: 65002\n\tBGP.next_hop: 10.0.2.2\n\n\
            Table master6:\n2001:db8::1/128      blackhole [own_ipv6 12:47:03.163] * (200)\n\tType: static univ\n";
        let peers =
            [("n0".to_owned(), "10.0.1.2".parse().unwrap()), ("n1".to_owned(), "10.0.2.2".parse().unwrap())];
        let path = |address: &str, as_path: &[u32], best| Path {
            next_hop: address.parse().unwrap(),
            as_path: as_path.to_vec(),
            med: None,
            local_pref: None,
            communities: Default::default(),
            large_communities: Default::default(),
            peer: Some(address.parse().unwrap()),
            best,
        };
        let first = Path {
            med: Some(77),
            local_pref: Some(100),
            communities: ["65001:100", "65535:0"].map(str::to_owned).into(),
            large_communities: ["65001:1:2".to_owned()].into(),
            ..path("10.0.1.2", &[65001, 65009], true)
        };
        let own = Path { peer: None, ..path("::", &[], true) };
        let expected = Routes::from([
            ("192.0.2.1/32".parse().unwrap(), vec![first, path("10.0.2.2", &[65002], false)]),
            ("2001:db8::1/128".parse().unwrap(), vec![own]),
        ]);
        assert_eq!(parse_routes(text, &peers).unwrap(), expected);
    }

    #[test]
    fn a_table_of_bfd_sessions_is_read() {
        let text = "BIRD 2.0.12 ready.\nbfd1:\n\
            IP address                Interface  State      Since         Interval  Timeout\n\
            10.0.1.2                  to-edge    Up         12:47:03.279    0.100    0.300\n";
        let expected = BfdState {
            state: "up".to_owned(),
            transmit: Duration::from_millis(100),
            detection: Duration::from_millis(300),
        };
        assert_eq!(parse_bfd(text, "10.0.1.2".parse().unwrap()).unwrap(), Some(expected));
        assert_eq!(parse_bfd(text, "10.0.1.3".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn routes_of_a_neighbour_are_counted_as_imported() {
        assert_eq!(
            imported("    Routes:         100000 imported, 0 exported, 100000 preferred"),
            Some(100_000)
        );
        assert_eq!(imported("    Route limits:"), None);
    }

    #[test]
    fn a_notification_is_read_from_the_log_with_and_without_text() {
        let line = r#"2026-11-22 12:49:01.774 <RMT> n1: Received: Administrative shutdown: "bye now""#;
        let expected = Notification { code: 6, subcode: 2, text: Some("bye now".to_owned()) };
        assert_eq!(parse_notification(line, "n1"), Some(expected));
        let line = "2026-11-22 12:49:01.775 <RMT> n2: Received: Bad peer AS: fde9";
        assert_eq!(parse_notification(line, "n2"), Some(Notification { code: 2, subcode: 2, text: None }));
    }
}
