//! The check of a VIP. Without a host of its own it asks the VIP.

use super::UNKNOWN;
use crate::import::anycast_healthchecker::set_timeout;
use crate::import::imported::{Imported, Item, Place, Section};
use crate::import::tree::Map;
use crate::import::words;
use crate::import::yaml::{Yaml, list, map, milliseconds, text};

/// Adds the checks. Returns their names.
pub(super) fn read(name: &str, prefix: &str, mut check: Map<'_>, imported: &mut Imported) -> Vec<String> {
    let place = check.place;
    let kind = check.text("type").unwrap_or_default();
    let timing = Timing::read(&mut check, imported);
    let own = check.map(kind);
    let around = Around { name, place, vip: vip_of(prefix) };
    let items = match kind {
        "http" => http(&around, own, imported).map(|item| vec![item]),
        "tcp" => tcp(&around, own, imported).map(|item| vec![item]),
        "udp" => udp(&around, own, imported).map(|item| vec![item]),
        "dns" => Some(dns(&around, own, imported)),
        "ping" => ping(&around, own, imported).map(|item| vec![item]),
        "grpc" => grpc(&around, own, imported).map(|item| vec![item]),
        _ => {
            own.finish(|_| UNKNOWN, imported);
            None
        }
    };
    check.finish(|_| "it is not of the check's type, or unknown", imported);
    let items = items.filter(|items| !items.is_empty());
    let Some(items) = items else {
        let why = format!("its check of type `{kind}` cannot be translated");
        imported.lose(place, format!("check: {{type: {kind}}}"), "the check here fails until it is replaced");
        return vec![imported.add_failing_check(name, place, &why)];
    };
    items.into_iter().map(|item| imported.add(Section::Checks, timing.set(item))).collect()
}

/// Where the check belongs.
struct Around<'a> {
    name: &'a str,
    place: Place,
    /// The address of a VIP that is one.
    vip: Option<String>,
}

impl Around<'_> {
    fn item(&self) -> Item {
        Item::new(self.name, self.place)
    }

    /// Sets the server `host:port` of a kind; without a host it is the VIP.
    fn server(&self, item: &mut Item, host: Option<&str>, port: &str) -> Option<String> {
        match host {
            Some(host) => Some(with_port(host, port)),
            None => {
                self.vip.as_ref()?;
                item.set("host", text("vip"));
                Some(format!(":{port}"))
            }
        }
    }
}

fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn vip_of(prefix: &str) -> Option<String> {
    let (address, length) = prefix.split_once('/')?;
    let is_host = if address.contains(':') { length == "128" } else { length == "32" };
    is_host.then(|| address.to_owned())
}

/// When the check runs.
struct Timing {
    interval: u64,
    timeout: u64,
    rise: String,
    fall: String,
}

impl Timing {
    fn read(check: &mut Map<'_>, imported: &mut Imported) -> Self {
        let mut duration = |key: &str, otherwise: u64| match check.written(key) {
            Some((written, place)) => words::go_duration(written).unwrap_or_else(|| {
                imported.lose(
                    place,
                    format!("{key}: {written}"),
                    "it is no duration; pathosd's default is taken",
                );
                otherwise
            }),
            None => otherwise,
        };
        let (interval, timeout) = (duration("interval", 1000), duration("timeout", 100));
        let rise = check.text("rise").unwrap_or("1").to_owned();
        let fall = check.text("fall").unwrap_or("3").to_owned();
        Self { interval, timeout, rise, fall }
    }

    fn set(&self, mut item: Item) -> Item {
        // What the kernel tells is not asked again and again.
        if item.keys.iter().any(|(key, _)| key == "listener") {
            return item;
        }
        item.set("interval", milliseconds(self.interval));
        item.set("fast_interval", milliseconds(self.interval));
        set_timeout(&mut item, self.interval, self.timeout);
        item.set("rise", text(self.rise.clone()));
        item.set("fall", text(self.fall.clone()));
        item
    }
}

fn http(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Option<Item> {
    let mut item = around.item();
    let written = own.text("url").unwrap_or("/");
    let (scheme, authority, path) = parts(written);
    let proto = own.text("proto").map(str::to_owned).or(scheme).unwrap_or_else(|| "http".to_owned());
    let host = own.text("host").map(str::to_owned);
    let port_of_url = authority.as_deref().and_then(port_of);
    let port = own.text("port").filter(|port| *port != "0").map(str::to_owned).or(port_of_url);
    let name = authority.as_deref().map(|authority| host_of(authority).to_owned());
    // The host of the URL is only a name: the connection goes to `host`, or to the VIP.
    match (&host, &around.vip) {
        (Some(host), _) if Some(host) == name.as_ref() || name.is_none() => {}
        (Some(host), _) => item.set("host", text(host.clone())),
        (None, Some(_)) => item.set("host", text("vip")),
        (None, None) if name.is_some() => {}
        (None, None) => {
            own.finish(|_| "the check asks no host", imported);
            return None;
        }
    }
    let in_url = name.or(host).or_else(|| around.vip.clone())?;
    let in_url = if in_url.contains(':') { format!("[{in_url}]") } else { in_url };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut keys = vec![("url".to_owned(), text(format!("{proto}://{in_url}{port}{path}")))];
    let mut set = |key: &str, value: Yaml| keys.push((key.to_owned(), value));
    if let Some(method) = own.text("method").filter(|method| *method != "GET") {
        set("method", text(method));
    }
    let codes = own.texts("response_codes");
    if !codes.is_empty() && codes != ["200"] {
        set("status", list(codes.into_iter().map(text)));
    }
    match (own.text("response_text"), own.text("response_regex")) {
        (Some(said), None) => set("body", text(said)),
        (None, Some(regex)) => set("body", map([("regex", text(regex))])),
        (Some(said), Some(regex)) => {
            set("body", text(said));
            imported.lose(
                own.place,
                format!("response_regex: {regex}"),
                "a check has one `body`; the text is taken",
            );
        }
        (None, None) => {}
    }
    let mut tls = Vec::new();
    if own.switch("tls_insecure") == Some(true) {
        tls.push(("insecure", Yaml::Switch(true)));
    }
    tls.extend(own.text("tls_ca_cert").map(|path| ("ca_file", text(path))));
    tls.extend(own.text("tls_server_name").map(|name| ("server_name", text(name))));
    if !tls.is_empty() {
        set("tls", map(tls));
    }
    let mut headers = Vec::new();
    for (key, value) in own.pairs("headers") {
        match key.eq_ignore_ascii_case("host") {
            true => set("host", text(value)),
            false => headers.push((key, text(value))),
        }
    }
    if !headers.is_empty() {
        set("headers", map(headers));
    }
    if let Some((expression, place)) = own.written("response_jq") {
        let why = "vipcast has no JQ; without it the check would pass more often, so it fails until `body` or an \
                   `exec` check replaces the expression";
        imported.lose(place, format!("response_jq: {expression}"), why);
        own.finish(|_| UNKNOWN, imported);
        return None;
    }
    own.finish(|_| UNKNOWN, imported);
    item.set("http", Yaml::Map(keys));
    Some(item)
}

/// Scheme, authority and path of a URL, of which pathosd takes a path alone as well.
fn parts(url: &str) -> (Option<String>, Option<String>, String) {
    let Some((scheme, rest)) = url.split_once("://") else {
        let path = if url.starts_with('/') { url.to_owned() } else { format!("/{url}") };
        return (None, None, path);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (Some(scheme.to_lowercase()), Some(authority.to_owned()).filter(|authority| !authority.is_empty()), path)
}

fn port_of(authority: &str) -> Option<String> {
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    behind.rsplit_once(':').map(|(_, port)| port.to_owned()).filter(|port| !port.is_empty())
}

fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, _)) => literal,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

fn tcp(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Option<Item> {
    let mut item = around.item();
    let (host, port) = (own.text("host"), own.text("port"));
    own.finish(|_| UNKNOWN, imported);
    let server = around.server(&mut item, host, port?)?;
    item.set("tcp", text(server));
    Some(item)
}

/// pathosd passes unless the port is closed. On this host the kernel tells just that.
fn udp(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Option<Item> {
    let (host, port) = (own.written("host"), own.text("port"));
    own.lose("payload", "the kernel is asked who has the port, and nothing is sent", imported);
    own.finish(|_| UNKNOWN, imported);
    let address = match host {
        None => around.vip.clone()?,
        Some((host, _)) if Some(host) == around.vip.as_deref() => host.to_owned(),
        Some((host, place)) => {
            let why =
                "a closed port on another host shows only without an answer; `udp` with `send` waits for one";
            imported.lose(place, format!("host: {host}"), why);
            return None;
        }
    };
    let mut item = around.item();
    item.note("pathosd sends a datagram and takes silence for health; the kernel knows who has the port");
    item.set("listener", map([("udp", text(port?)), ("address", text(address))]));
    Some(item)
}

/// All names must resolve, and a check here has one.
fn dns(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Vec<Item> {
    let names = own.texts("names");
    let resolver = own.text("resolver").map(str::to_owned);
    let port = own.text("port").filter(|port| *port != "53" && *port != "0");
    let record = own.text("query_type").filter(|record| *record != "A");
    own.finish(|_| UNKNOWN, imported);
    if resolver.is_none() && around.vip.is_none() {
        return Vec::new();
    }
    let server = match (resolver, port) {
        (Some(resolver), Some(port)) if resolver.parse::<std::net::IpAddr>().is_ok() => {
            Some(with_port(&resolver, port))
        }
        (Some(resolver), _) => Some(resolver),
        (None, Some(port)) => Some(format!(":{port}")),
        (None, None) => None,
    };
    let check = |name: &str| {
        let mut item = around.item();
        let mut keys = vec![("name", text(name))];
        match &server {
            Some(server) => {
                if server.starts_with(':') {
                    item.set("host", text("vip"));
                }
                keys.insert(0, ("server", text(server.clone())));
            }
            None => item.set("host", text("vip")),
        }
        keys.extend(record.map(|record| ("type", text(record))));
        item.set("dns", map(keys));
        item
    };
    names.into_iter().map(check).collect()
}

fn ping(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Option<Item> {
    let mut item = around.item();
    let mut keys = Vec::new();
    match own.text("dst_ip") {
        Some(host) => keys.push(("host", text(host))),
        None => {
            around.vip.as_ref()?;
            item.set("host", text("vip"));
        }
    }
    if let Some(source) = own.text("src_ip") {
        item.set("source_address", text(source));
    }
    keys.push(("count", own.text("count").filter(|count| *count != "0").map_or(Yaml::Number(1), text)));
    let loss = own
        .written("max_loss_ratio")
        .map(|(ratio, place)| (ratio.parse::<f64>().unwrap_or(2.0), ratio, place));
    let percent = match loss {
        Some((ratio, _, _)) if (0.0..=0.99).contains(&ratio) => format!("{}%", (ratio * 100.0).floor()),
        Some((_, written, place)) => {
            imported.lose(place, format!("max_loss_ratio: {written}"), "the most is 0.99");
            "99%".to_owned()
        }
        None => "0%".to_owned(),
    };
    keys.push(("loss", text(percent)));
    if let Some(spacing) = own.text("interval").and_then(words::go_duration).filter(|ms| *ms > 0) {
        keys.push(("spacing", text(format!("{spacing}ms"))));
    }
    own.lose("timeout", "the time-out is that of the check as a whole", imported);
    own.lose("privileged", "vipcast takes the socket that the kernel allows", imported);
    own.finish(|_| UNKNOWN, imported);
    item.set("icmp", map(keys));
    Some(item)
}

fn grpc(around: &Around<'_>, mut own: Map<'_>, imported: &mut Imported) -> Option<Item> {
    let mut item = around.item();
    let (host, port) = (own.text("host"), own.text("port"));
    let method = own.written("method");
    let service = own.text("service");
    let mut tls = Vec::new();
    let is_tls = own.switch("tls") == Some(true);
    if own.switch("tls_insecure") == Some(true) {
        tls.push(("insecure", Yaml::Switch(true)));
    }
    tls.extend(own.text("tls_ca_cert").map(|path| ("ca_file", text(path))));
    tls.extend(own.text("tls_server_name").map(|name| ("server_name", text(name))));
    own.lose("metadata", "the standard health protocol needs none", imported);
    own.lose("ok_codes", "they belong to `method`", imported);
    own.finish(|_| UNKNOWN, imported);
    if let Some((method, place)) = method {
        imported.lose(place, format!("method: {method}"), "only the standard health protocol is known");
        return None;
    }
    let mut keys = vec![("address", text(around.server(&mut item, host, port?)?))];
    keys.extend(service.map(|service| ("service", text(service))));
    if is_tls {
        keys.push(("tls", if tls.is_empty() { Yaml::Switch(true) } else { map(tls) }));
    }
    item.set("grpc", map(keys));
    Some(item)
}
