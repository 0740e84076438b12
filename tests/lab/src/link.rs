//! A cable between two hosts: a veth pair that is created inside their namespaces and so dies with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::host::{Host, Toggle};
use crate::lab::run;
use crate::wait;

/// The addresses of a link: the first host gets `.1` and `::1`, the second `.2` and `::2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subnet {
    /// The IPv4 subnet, if the link has IPv4.
    pub v4: Option<Ipv4Net>,
    /// The IPv6 subnet, if the link has IPv6 beyond its link-local addresses.
    pub v6: Option<Ipv6Net>,
}

impl Subnet {
    /// `10.0.<number>.0/24` and `fd00:<number in hex>::/64`.
    pub fn dual(number: u8) -> Self {
        Self { v6: Self::v6(number).v6, ..Self::v4(number) }
    }

    /// `10.0.<number>.0/24` alone.
    pub fn v4(number: u8) -> Self {
        Self { v4: Some(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, number, 0), 24)), v6: None }
    }

    /// `fd00:<number in hex>::/64` alone.
    pub fn v6(number: u8) -> Self {
        let address = Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, 0);
        Self { v4: None, v6: Some(Ipv6Net::new_assert(address, 64)) }
    }

    /// No addresses but the link-local ones.
    pub fn none() -> Self {
        Self::default()
    }

    /// The addresses of the host at this position (1 is the first).
    fn addresses(self, position: u8) -> Vec<IpNet> {
        let v4 = self.v4.map(|net| {
            let address = Ipv4Addr::from_bits(net.network().to_bits() | u32::from(position));
            IpNet::new_assert(address.into(), net.prefix_len())
        });
        let v6 = self.v6.map(|net| {
            let address = Ipv6Addr::from_bits(net.network().to_bits() | u128::from(position));
            IpNet::new_assert(address.into(), net.prefix_len())
        });
        v4.into_iter().chain(v6).collect()
    }
}

/// A link between two hosts. It lasts as long as they do; this is only a handle.
#[derive(Debug, Clone)]
pub struct Link {
    ends: [End; 2],
}

/// One end of a link.
#[derive(Debug, Clone)]
pub struct End {
    /// The host it is plugged into.
    pub host: Host,
    /// The interface there: `to-<the other host>`, cut to 15 characters and numbered if there are several.
    pub interface: String,
    /// Its addresses, with the length of their subnet.
    pub addresses: Vec<IpNet>,
}

impl End {
    /// Waits for the link-local address: the kernel makes it when it has noticed the carrier, which takes a while on a
    /// busy machine.
    fn wait_ready(&self) -> Result<()> {
        let what = format!("{} of {} to be ready", self.interface, self.host.name());
        wait::until(what, Duration::from_secs(10), || {
            let addresses = self.host.addresses()?;
            let mut own = addresses.iter().filter(|address| address.interface == self.interface);
            ensure!(own.any(|address| address.scope == "link"), "{addresses:?}");
            Ok(())
        })
    }
}

impl End {
    /// Waits until no address is tentative. Without DAD one is so for a moment all the same, until the kernel's worker
    /// has run, and a solicitation for it is dropped.
    fn wait_usable(&self) -> Result<()> {
        let what = format!("the addresses of {} of {} to be usable", self.interface, self.host.name());
        wait::until(what, Duration::from_secs(10), || {
            let show = ["ip", "-6", "-oneline", "address", "show", "dev", &self.interface, "tentative"];
            let tentative = self.host.run(show)?;
            ensure!(tentative.is_empty(), "tentative: {tentative}");
            Ok(())
        })
    }
}

impl Link {
    pub(crate) fn with_subnet(a: &Host, b: &Host, subnet: Subnet) -> Result<Self> {
        Self::with_addresses((a, &subnet.addresses(1)), (b, &subnet.addresses(2)))
    }

    pub(crate) fn with_addresses(a: (&Host, &[IpNet]), b: (&Host, &[IpNet])) -> Result<Self> {
        let end = |(host, addresses): (&Host, &[IpNet]), other: &Host| End {
            host: host.clone(),
            interface: host.next_interface(other.name()),
            addresses: addresses.to_vec(),
        };
        let link = Self { ends: [end(a, b.0), end(b, a.0)] };
        let [first, second] = &link.ends;
        let mut add = std::process::Command::new("ip");
        add.args(["link", "add", &first.interface, "netns", first.host.namespace(), "type", "veth"]);
        add.args(["peer", "name", &second.interface, "netns", second.host.namespace()]);
        run(&mut add).with_context(|| format!("cannot link {} and {}", a.0.name(), b.0.name()))?;
        // Up and ready first: an IPv6 address that is there before answers no neighbour solicitation for a second.
        link.restore()?;
        for end in &link.ends {
            end.wait_ready()?;
        }
        for end in &link.ends {
            for address in &end.addresses {
                end.host.add_address(&end.interface, *address)?;
            }
        }
        for end in &link.ends {
            end.wait_usable()?;
        }
        Ok(link)
    }

    /// The end at this host.
    ///
    /// # Panics
    /// When the link does not touch the host: the test is wrong then.
    pub fn end(&self, host: &Host) -> &End {
        let found = self.ends.iter().find(|end| end.host.namespace() == host.namespace());
        found.unwrap_or_else(|| panic!("the link does not touch {}", host.name()))
    }

    /// The IPv4 address of this host on the link.
    ///
    /// # Errors
    /// When it has none.
    pub fn v4(&self, host: &Host) -> Result<IpAddr> {
        self.address(host, IpAddr::is_ipv4)
    }

    /// The global IPv6 address of this host on the link.
    ///
    /// # Errors
    /// When it has none.
    pub fn v6(&self, host: &Host) -> Result<IpAddr> {
        self.address(host, IpAddr::is_ipv6)
    }

    /// Pulls the cable: both ends lose their carrier.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn cut(&self) -> Result<()> {
        self.ends.iter().try_for_each(|end| end.host.set_link(&end.interface, Toggle::Down))
    }

    /// Plugs the cable in again. IPv6 addresses may need a second until they answer.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn restore(&self) -> Result<()> {
        self.ends.iter().try_for_each(|end| end.host.set_link(&end.interface, Toggle::Up))
    }

    fn address(&self, host: &Host, family: fn(&IpAddr) -> bool) -> Result<IpAddr> {
        let mut addresses = self.end(host).addresses.iter().map(IpNet::addr);
        addresses.find(family).ok_or_else(|| anyhow!("{} has no such address on this link", host.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_host_of_a_subnet_gets_two() {
        let nets: Vec<IpNet> = vec!["10.0.7.2/24".parse().unwrap(), "fd00:7::2/64".parse().unwrap()];
        assert_eq!(Subnet::dual(7).addresses(2), nets);
    }
}
