//! FRR: zebra (routes into the kernel), bgpd, and bfdd if a neighbour has BFD, without its init scripts, with their
//! sockets in their own directory.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::host::Host;
use crate::router::instance::{Instance, accepts, delegate_to_instance};
use crate::router::{
    Announcement, Bfd, BfdState, Family, History, Neighbor, Notification, Path, Router, RouterConfig,
    RouterKind, Routes, community,
};

const CONFIG: &str = "frr.conf";

/// Its own, because bfdd loses its way in the sections that it does not know.
const BFD_CONFIG: &str = "bfdd.conf";

/// A running FRR.
#[derive(Debug)]
pub(crate) struct Frr {
    instance: Instance,
}

impl Frr {
    pub(crate) fn new(host: &Host, config: &RouterConfig) -> Result<Self> {
        let instance = Instance::new(RouterKind::Frr, host, config)?;
        instance.write(CONFIG, &config_text(host.name(), config))?;
        instance.write(BFD_CONFIG, &bfd_config_text(config))?;
        // The daemons give up root and then create sockets and pid files here.
        let (user, group) = frr_ids()?;
        chown(&instance.directory, Some(user), Some(group)).context("cannot give the directory to frr")?;
        Ok(Self { instance })
    }

    /// A daemon in the foreground, without a TCP port for its command line.
    fn daemon(&self, name: &str, config: &str) -> Command {
        let mut command = self.instance.host.command(format!("/usr/lib/frr/{name}"));
        command.arg("--vty_socket").arg(&self.instance.directory);
        command.arg("--socket").arg(self.instance.file("zserv.api"));
        command.arg("--config_file").arg(self.instance.file(config));
        command.arg("--pid_file").arg(self.instance.file(&format!("{name}.pid")));
        command.args(["--vty_addr", "127.0.0.1", "--vty_port", "0"]);
        command
    }

    fn configure(&self, lines: &[&str]) -> Result<String> {
        let router = format!("router bgp {}", self.instance.config.asn);
        self.vtysh(&[&["configure terminal", &router], lines].concat())
    }

    fn vtysh(&self, commands: &[&str]) -> Result<String> {
        let directory = self.instance.directory.to_string_lossy();
        let mut arguments = vec!["vtysh", "--vty_socket", &directory];
        for command in commands {
            arguments.extend(["-c", command]);
        }
        self.instance.host.run(arguments)
    }

    fn has_bfd(&self, neighbor: IpAddr) -> bool {
        let found = self.instance.config.neighbors.iter().find(|candidate| candidate.address == neighbor);
        found.is_some_and(|neighbor| neighbor.bfd.is_some())
    }

    fn bfd_counters(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.json("show bfd peers counters json")?;
        let mut sessions = answer.as_array().into_iter().flatten();
        let found = sessions.find(|session| session["peer"].as_str() == Some(&neighbor.to_string()));
        let found = found.with_context(|| format!("no BFD session with {neighbor} in {answer}"))?;
        Ok(format!("up {}, down {}", found["session-up"], found["session-down"]))
    }

    fn json(&self, command: &str) -> Result<Value> {
        let text = self.cli(command)?;
        serde_json::from_str(&text).with_context(|| format!("{command:?} printed no JSON: {text}"))
    }
}

impl Router for Frr {
    delegate_to_instance!();

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.json(&format!("show bgp neighbors {neighbor} json"))?;
        let state = answer[neighbor.to_string()]["bgpState"].as_str();
        state.map(str::to_owned).ok_or_else(|| anyhow!("no state of {neighbor} in {answer}"))
    }

    fn routes(&self) -> Result<Routes> {
        let mut routes = Routes::new();
        // Of the many commands for it, only these print all attributes of all prefixes as JSON in FRR 8.4; the
        // second is IPv6, though it does not say so.
        for command in ["show ip bgp detail json", "show bgp detail json"] {
            let answer = self.json(command)?;
            for (prefix, entries) in answer["routes"].as_object().into_iter().flatten() {
                let prefix = prefix.parse().with_context(|| format!("{prefix:?} is no prefix"))?;
                // The first entry describes the prefix itself.
                let paths =
                    entries.as_array().into_iter().flatten().filter(|entry| entry["nexthops"].is_array());
                let paths = paths.map(parse_path).collect::<Result<Vec<_>>>()?;
                if !paths.is_empty() {
                    routes.insert(prefix, paths);
                }
            }
        }
        Ok(routes)
    }

    /// Asked without `vtysh`, so that a daemon beside it can be watched without being slowed down.
    fn count(&self, neighbor: IpAddr) -> Result<usize> {
        let text = ask(&self.instance.file("bgpd.vty"), &format!("show bgp neighbors {neighbor} json"))?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        let families = answer[neighbor.to_string()]["addressFamilyInfo"].as_object();
        let counts = families.into_iter().flatten().map(|(_, family)| &family["acceptedPrefixCounter"]);
        let total: u64 = counts.filter_map(Value::as_u64).sum();
        Ok(usize::try_from(total)?)
    }

    fn history(&self, neighbor: IpAddr) -> Result<History> {
        let answer = self.json(&format!("show bgp neighbors {neighbor} json"))?;
        let answer = &answer[neighbor.to_string()];
        let number =
            |value: &Value| value.as_u64().with_context(|| format!("a counter is missing: {answer}"));
        let (began, ended) =
            (number(&answer["connectionsEstablished"])?, number(&answer["connectionsDropped"])?);
        let bfd = self.has_bfd(neighbor).then(|| self.bfd_counters(neighbor)).transpose()?;
        Ok(History {
            session: format!("{began} sessions, {ended} of them ended"),
            bfd,
            since: Vec::new(),
            updates: number(&answer["messageStats"]["updatesRecv"])?,
        })
    }

    fn received_notification(&self, neighbor: IpAddr) -> Result<Option<Notification>> {
        Ok(self.log().lines().rev().find_map(|line| parse_notification(line, neighbor)))
    }

    fn bfd(&self, neighbor: IpAddr) -> Result<BfdState> {
        let answer = self.json("show bfd peers json")?;
        let mut sessions = answer.as_array().into_iter().flatten();
        let found = sessions.find(|session| session["peer"].as_str() == Some(&neighbor.to_string()));
        parse_bfd(found.with_context(|| format!("no BFD session with {neighbor} in {answer}"))?)
    }

    fn set_bfd(&self, neighbor: IpAddr, bfd: Bfd) -> Result<()> {
        let lines = bfd_peer(neighbor, bfd);
        let mut commands = vec!["configure terminal", "bfd"];
        commands.extend(lines.iter().map(String::as_str));
        self.vtysh(&commands).map(drop)
    }

    fn refresh(&self, neighbor: IpAddr) -> Result<()> {
        let found = self.instance.config.neighbors.iter().find(|candidate| candidate.address == neighbor);
        let families = &found.with_context(|| format!("{neighbor} is no neighbour"))?.families;
        families.iter().try_for_each(|family| {
            self.cli(&format!("clear bgp {} unicast {neighbor} soft in", family.word())).map(drop)
        })
    }

    fn clear(&self, neighbor: IpAddr) -> Result<()> {
        self.cli(&format!("clear bgp {neighbor}")).map(drop)
    }

    fn shut(&self, neighbor: IpAddr, message: &str) -> Result<()> {
        self.configure(&[&format!("neighbor {neighbor} shutdown message {message}")]).map(drop)
    }

    fn unshut(&self, neighbor: IpAddr) -> Result<()> {
        self.configure(&[&format!("no neighbor {neighbor} shutdown")]).map(drop)
    }

    fn cli(&self, command: &str) -> Result<String> {
        self.vtysh(&[command])
    }

    fn start(&self) -> Result<()> {
        self.instance.expect_stopped()?;
        for name in ["zserv.api", "zebra.vty", "bfdd.vty", "bfdd.sock", "bgpd.vty"] {
            // What a killed predecessor left would look like a daemon that is ready.
            let _absent = fs::remove_file(self.instance.file(name));
        }
        let ready = |socket: &str| accepts(&self.instance.file(socket));
        self.instance.launch("zebra", self.daemon("zebra", CONFIG), || {
            ready("zserv.api").and_then(|()| ready("zebra.vty"))
        })?;
        if self.instance.config.neighbors.iter().any(|neighbor| neighbor.bfd.is_some()) {
            let mut bfdd = self.daemon("bfdd", BFD_CONFIG);
            bfdd.arg("--bfdctl").arg(self.instance.file("bfdd.sock"));
            self.instance.launch("bfdd", bfdd, || ready("bfdd.vty"))?;
        }
        let mut bgpd = self.daemon("bgpd", CONFIG);
        bgpd.args(["--bgp_port", &self.instance.config.port.to_string()]);
        if !self.instance.config.kernel {
            bgpd.arg("--no_kernel");
        }
        self.instance.launch("bgpd", bgpd, || ready("bgpd.vty"))
    }

    fn dump(&self) -> String {
        let commands = [
            "show bgp summary",
            "show bgp neighbors",
            "show ip bgp",
            "show bgp ipv6",
            "show ip route",
            "show ipv6 route",
            "show bfd peers",
        ];
        self.instance.dump(CONFIG, &commands, |command| self.cli(command))
    }
}

/// One file for zebra and bgpd: each ignores the other's part.
fn config_text(name: &str, config: &RouterConfig) -> String {
    let mut text = format!(
        "frr version 8.4\n\
         frr defaults datacenter\n\
         hostname {name}\n\
         log stdout debugging\n\
         debug bgp neighbor-events\n\
         zebra work-queue 0\n"
    );
    let mut line = |words: String| text.push_str(&(words + "\n"));
    for (index, announcement) in config.announce.iter().enumerate() {
        policy(index, announcement).into_iter().for_each(&mut line);
    }
    // Prefix lists that name nothing must not exist: an empty one lets everything pass.
    line("route-map none deny 10".to_owned());
    line("exit".to_owned());
    line(format!("router bgp {}", config.asn));
    line(format!(" bgp router-id {}", config.router_id));
    line(" no bgp ebgp-requires-policy".to_owned());
    line(" no bgp default ipv4-unicast".to_owned());
    line(" no bgp network import-check".to_owned());
    line(" bgp bestpath as-path multipath-relax".to_owned());
    line(" coalesce-time 10".to_owned());
    for neighbor in &config.neighbors {
        session(neighbor).into_iter().for_each(&mut line);
    }
    for family in Family::ALL {
        line(format!(" address-family {} unicast", family.word()));
        line(format!("  maximum-paths {}", if config.multipath { 16 } else { 1 }));
        let own = |announcement: &&Announcement| Family::of(announcement.prefix.addr()) == family;
        for (index, announcement) in
            config.announce.iter().enumerate().filter(|(_, own_or_not)| own(own_or_not))
        {
            line(format!("  network {} route-map own{index}", announcement.prefix));
        }
        for neighbor in config.neighbors.iter().filter(|neighbor| neighbor.families.contains(&family)) {
            let address = neighbor.address;
            line(format!("  neighbor {address} activate"));
            if !config.transit {
                let list = if config.announce.iter().any(|one| own(&one)) { "own" } else { "none" };
                line(format!("  neighbor {address} route-map {list} out"));
            }
        }
        line(" exit-address-family".to_owned());
    }
    line("exit".to_owned());
    text + &config.extra
}

/// A route map which sets the attributes, and a place in the list of what may be advertised.
fn policy(index: usize, announcement: &Announcement) -> Vec<String> {
    let prefix = announcement.prefix;
    let (list, ip) = if prefix.addr().is_ipv4() { ("own4", "ip") } else { ("own6", "ipv6") };
    let mut lines = vec![format!("route-map own{index} permit 10")];
    lines.extend(announcement.med.map(|med| format!(" set metric {med}")));
    if !announcement.communities.is_empty() {
        lines.push(format!(" set community {}", announcement.communities.join(" ")));
    }
    lines.push("exit".to_owned());
    lines.push(format!("{ip} prefix-list {list} permit {prefix}"));
    lines.push(format!("route-map own permit {}", if prefix.addr().is_ipv4() { 10 } else { 20 }));
    lines.push(format!(" match {ip} address prefix-list {list}"));
    lines.push("exit".to_owned());
    lines
}

/// The lines of a neighbour outside of its address families.
fn session(neighbor: &Neighbor) -> Vec<String> {
    let mut words = vec![
        format!("remote-as {}", neighbor.asn),
        format!("timers {} {}", neighbor.keepalive(), neighbor.hold_time),
        "timers connect 1".to_owned(),
        format!("port {}", neighbor.port),
        format!("graceful-restart-{}", if neighbor.graceful_restart { "helper" } else { "disable" }),
    ];
    words.extend(neighbor.passive.then(|| "passive".to_owned()));
    words.extend(neighbor.password.as_ref().map(|password| format!("password {password}")));
    words.extend(neighbor.ttl_security.map(|hops| format!("ttl-security hops {hops}")));
    words.extend(neighbor.multihop.map(|hops| format!("ebgp-multihop {hops}")));
    words.extend(neighbor.bfd.map(|_| "bfd".to_owned()));
    words.extend(neighbor.extended_nexthop.then(|| "capability extended-nexthop".to_owned()));
    let mut lines: Vec<String> =
        words.iter().map(|words| format!(" neighbor {} {words}", neighbor.address)).collect();
    lines.extend(neighbor.extra.lines().map(str::to_owned));
    lines
}

fn bfd_config_text(config: &RouterConfig) -> String {
    let peers =
        config.neighbors.iter().filter_map(|neighbor| Some(bfd_peer(neighbor.address, neighbor.bfd?)));
    let lines: String = peers.flatten().map(|line| line + "\n").collect();
    format!("frr version 8.4\nfrr defaults datacenter\nlog stdout debugging\nbfd\n{lines}exit\n")
}

/// The lines of a BFD session below `bfd`.
fn bfd_peer(address: IpAddr, bfd: Bfd) -> Vec<String> {
    let multihop = bfd.multihop.map(|local| format!(" multihop local-address {local}")).unwrap_or_default();
    vec![
        format!(" peer {address}{multihop}"),
        format!("  detect-multiplier {}", bfd.multiplier),
        format!("  receive-interval {}", bfd.receive),
        format!("  transmit-interval {}", bfd.transmit),
        // Whatever the distance is: what is tested is ours.
        bfd.multihop.map_or("  no shutdown".to_owned(), |_| "  minimum-ttl 1".to_owned()),
        " exit".to_owned(),
    ]
}

fn parse_bfd(session: &Value) -> Result<BfdState> {
    let number = |key: &str| session[key].as_u64().with_context(|| format!("no {key} in {session}"));
    let state = session["status"].as_str().with_context(|| format!("no state in {session}"))?;
    let transmit = number("transmit-interval")?.max(number("remote-receive-interval")?);
    let receive = number("receive-interval")?.max(number("remote-transmit-interval")?);
    let detection = receive * number("remote-detect-multiplier")?;
    Ok(BfdState {
        state: state.to_lowercase(),
        transmit: Duration::from_millis(transmit),
        detection: Duration::from_millis(detection),
    })
}

fn parse_path(path: &Value) -> Result<Path> {
    let next_hops = || path["nexthops"].as_array().into_iter().flatten();
    // An IPv6 route has its link-local next hop in the list too.
    let next_hop = next_hops().find(|hop| hop["scope"] != "link-local").or_else(|| next_hops().next());
    let next_hop =
        next_hop.and_then(|hop| hop["ip"].as_str()).with_context(|| format!("no next hop: {path}"))?;
    let number = |key: &str| path[key].as_u64().map(u32::try_from).transpose();
    let segments = path["aspath"]["segments"].as_array().into_iter().flatten();
    let numbers = segments.flat_map(|segment| segment["list"].as_array().into_iter().flatten());
    let as_path = numbers.filter_map(Value::as_u64).map(u32::try_from).collect::<Result<_, _>>()?;
    let list = |key: &str| {
        let words = path[key]["list"].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.map(community).collect()
    };
    let peer: Option<IpAddr> = path["peer"]["peerId"].as_str().and_then(|peer| peer.parse().ok());
    Ok(Path {
        next_hop: next_hop.parse().with_context(|| format!("{next_hop:?} is no address"))?,
        as_path,
        med: number("metric")?,
        local_pref: number("locPrf")?,
        communities: list("community"),
        large_communities: list("largeCommunity"),
        peer: peer.filter(|peer| *peer != IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        best: path["bestpath"]["overall"].as_bool() == Some(true),
    })
}

/// `%NOTIFICATION: received from neighbor 10.0.1.1 6/2 (Cease/Administrative Shutdown) "bye now"`
fn parse_notification(line: &str, neighbor: IpAddr) -> Option<Notification> {
    let (_, rest) = line.split_once("%NOTIFICATION: received from neighbor ")?;
    let (name, rest) = rest.split_once(' ')?;
    // A neighbour that tells its host name is `10.0.1.1(edge-a)`.
    let address = name.split_once('(').map_or(name, |(address, _)| address);
    if address.parse() != Ok(neighbor) {
        return None;
    }
    let (codes, rest) = rest.split_once(" (")?;
    let (code, subcode) = codes.split_once('/')?;
    let text = rest.split_once(") \"").and_then(|(_, text)| text.strip_suffix('"'));
    Some(Notification {
        code: code.parse().ok()?,
        subcode: subcode.parse().ok()?,
        text: text.map(str::to_owned),
    })
}

/// What a daemon answers to a command, as `vtysh` hears it: an answer ends with three zeros and a status.
fn ask(socket: &std::path::Path, command: &str) -> Result<String> {
    let context = || format!("no answer at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(context)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{command}\0").as_bytes()).with_context(context)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).with_context(context)?;
        ensure!(length > 0, "the daemon ended in the middle of an answer");
        answer.extend(&buffer[..length]);
        if let [text @ .., 0, 0, 0, status] = answer.as_slice() {
            let text = String::from_utf8_lossy(text).into_owned();
            ensure!(*status == 0, "{command:?}: {text}");
            return Ok(text);
        }
    }
}

/// The user and group that Debian's package made.
fn frr_ids() -> Result<(u32, u32)> {
    let user = nix::unistd::User::from_name("frr").context("cannot look up the user frr")?;
    let user = user.context("there is no user frr")?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_from_the_log_with_its_text() {
        let peer: IpAddr = "10.0.1.1".parse().unwrap();
        let line = r#"2026/11/22 12:48:36 BGP: [H7QV4-WR3ZD] %NOTIFICATION: received from neighbor 10.0.1.1 6/2 (Cease/Administrative Shutdown) "bye now""#;
        let expected = Notification { code: 6, subcode: 2, text: Some("bye now".to_owned()) };
        assert_eq!(parse_notification(line, peer), Some(expected));
        assert_eq!(parse_notification(line, "10.0.1.11".parse().unwrap()), None);
    }
}
