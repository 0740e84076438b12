//! Parses `ip -j address` and `ip -j route`.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow};
use ipnet::IpNet;
use serde_json::Value;

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface.
    pub interface: String,
    /// The address and the length of its subnet.
    pub address: IpNet,
    /// `global`, `link` or `host`.
    pub scope: String,
    /// Who added it (`IFA_PROTO`), where the kernel and `ip` tell: `kernel_lo`, or a number such as `0x56`.
    pub protocol: Option<String>,
    /// False when the address is deprecated: its preferred lifetime is zero, so it is no source address.
    pub preferred: bool,
}

/// A route of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub prefix: IpNet,
    /// `unicast`, `blackhole`, …
    pub kind: String,
    /// Who installed it: `bgp` (zebra), `bird`, `kernel`, `static`, …
    pub protocol: String,
    /// The metric; 0 when there is none.
    pub metric: u32,
    /// One for a plain route, several for ECMP, none for a black hole.
    pub next_hops: Vec<NextHop>,
}

/// One of the ways a [`Route`] may take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The router, unless the destination is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: String,
    /// The share of flows it gets, relative to its siblings.
    pub weight: u32,
}

pub(crate) fn addresses(json: &str) -> Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for interface in array(json)? {
        let name = text(&interface, "ifname")?;
        for info in interface["addr_info"].as_array().into_iter().flatten() {
            let length = info["prefixlen"].as_u64().and_then(|length| u8::try_from(length).ok());
            addresses.push(Address {
                interface: name.clone(),
                address: IpNet::new(
                    text(info, "local")?.parse()?,
                    length.context("an address without length")?,
                )?,
                scope: text(info, "scope")?,
                protocol: info["protocol"].as_str().map(str::to_owned),
                preferred: info["deprecated"].as_bool() != Some(true)
                    && info["preferred_life_time"].as_u64() != Some(0),
            });
        }
    }
    Ok(addresses)
}

pub(crate) fn routes(json: &str, prefix: IpNet) -> Result<Vec<Route>> {
    array(json)?.iter().map(|route| parse_route(route, prefix)).collect()
}

fn parse_route(route: &Value, prefix: IpNet) -> Result<Route> {
    let next_hops = match route["nexthops"].as_array() {
        Some(several) => several.iter().map(parse_next_hop).collect::<Result<_>>()?,
        None if route["dev"].is_string() && route["type"].as_str().is_none_or(|kind| kind == "unicast") => {
            vec![parse_next_hop(route)?]
        }
        None => Vec::new(),
    };
    Ok(Route {
        prefix,
        kind: route["type"].as_str().unwrap_or("unicast").to_owned(),
        protocol: route["protocol"].as_str().unwrap_or("boot").to_owned(),
        metric: number(&route["metric"], 0)?,
        next_hops,
    })
}

/// `via` instead of `gateway` is an IPv6 router for an IPv4 route (RFC 8950).
fn parse_next_hop(hop: &Value) -> Result<NextHop> {
    let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
    Ok(NextHop {
        gateway: gateway.map(str::parse).transpose().context("a gateway which is no address")?,
        interface: text(hop, "dev")?,
        weight: number(&hop["weight"], 1)?,
    })
}

/// `ip -j` prints nothing at all for "no route".
fn array(json: &str) -> Result<Vec<Value>> {
    match json.trim() {
        "" => Ok(Vec::new()),
        json => serde_json::from_str(json).with_context(|| format!("ip printed no JSON: {json}")),
    }
}

fn text(object: &Value, key: &str) -> Result<String> {
    object[key].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no {key} in {object}"))
}

fn number(value: &Value, absent: u64) -> Result<u32> {
    u32::try_from(value.as_u64().unwrap_or(absent)).context("a number above 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ecmp_route_has_several_next_hops_and_one_over_ipv6() {
        let json = r#"[{"dst":"192.0.2.1","nhid":9,"protocol":"bgp","metric":20,"flags":[],"nexthops":[
            {"gateway":"10.0.1.2","dev":"to-a","weight":1,"flags":[]},
            {"via":{"family":"inet6","host":"fe80::1"},"dev":"to-b","weight":3,"flags":[]}]}]"#;
        let prefix: IpNet = "192.0.2.1/32".parse().unwrap();
        let hop = |gateway: &str, interface: &str, weight| NextHop {
            gateway: Some(gateway.parse().unwrap()),
            interface: interface.to_owned(),
            weight,
        };
        let route = Route {
            prefix,
            kind: "unicast".to_owned(),
            protocol: "bgp".to_owned(),
            metric: 20,
            next_hops: vec![hop("10.0.1.2", "to-a", 1), hop("fe80::1", "to-b", 3)],
        };
        assert_eq!(routes(json, prefix).unwrap(), vec![route]);
        assert_eq!(routes("[ ]\n", prefix).unwrap(), vec![]);
    }

    #[test]
    fn a_black_hole_has_no_next_hop() {
        let json = r#"[{"type":"blackhole","dst":"192.0.2.1","protocol":"bird","metric":32,"flags":[]}]"#;
        let route = &routes(json, "192.0.2.1/32".parse().unwrap()).unwrap()[0];
        assert_eq!((route.kind.as_str(), route.next_hops.len()), ("blackhole", 0));
    }

    #[test]
    fn an_address_tells_who_added_it_and_whether_it_is_preferred() {
        let json = r#"[{"ifindex":1,"ifname":"lo","addr_info":[
            {"family":"inet6","local":"2001:db8::1","prefixlen":128,"scope":"global","deprecated":true,"protocol":"0x56",
             "valid_life_time":4294967295,"preferred_life_time":0}]}]"#;
        let address = Address {
            interface: "lo".to_owned(),
            address: "2001:db8::1/128".parse().unwrap(),
            scope: "global".to_owned(),
            protocol: Some("0x56".to_owned()),
            preferred: false,
        };
        assert_eq!(addresses(json).unwrap(), vec![address]);
    }
}
