//! The context of a probe over the network: its time-out, name look-ups, and its source address and interface.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket, UnixStream};
use vipcast_node::model::Via;

use super::file_reader::{self, FileAccess, FileReader, LastRead};
use super::limit::Limit;
use super::owners::Owner;
use super::resolve::{Resolved, Resolver};
use super::said::{self, Said};
use super::stream::Stream;
use super::{proxy, words};
use crate::check::target::{Dial, Target};
use crate::vip::Here;

#[cfg(test)]
mod tests;

/// What a probe over the network is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProbeContext<'a> {
    /// The time it may take.
    pub(super) limit: Limit,
    /// Names to addresses.
    pub(super) resolver: &'a Resolver,
    /// Where packets come from.
    pub(super) via: &'a Via,
    /// The owner of the check.
    pub(super) owner: &'a Owner,
    /// The addresses that are on this host.
    pub(super) here: &'a Here,
    /// A remark for the result.
    pub(super) remark: &'a OnceLock<String>,
    /// For what has to look at files on the way.
    pub(super) file_reader: &'a FileReader,
    /// Of this check.
    pub(super) last_read: &'a LastRead,
}

impl ProbeContext<'_> {
    /// The same, within a shorter time.
    pub(super) fn within(self, limit: Limit) -> Self {
        Self { limit, ..self }
    }

    /// The addresses of `host`, a name or an address, of the family of our source address; never none.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        match host.parse() {
            Ok(address) => self.usable(&[address], host).map(Into::into),
            // In a box, because most checks have an address.
            Err(_) => Box::pin(self.addresses_of_name(host)).await,
        }
    }

    async fn addresses_of_name(&self, host: &str) -> Result<Arc<[IpAddr]>, String> {
        let cannot_resolve = |cause: &str| format!("cannot resolve \"{host}\": {cause}");
        let asked = self.resolver.addresses(host, self.owner.service.as_str(), self.limit.length());
        let Resolved { addresses, remark } = (self.limit.within(asked).await)
            .ok_or_else(|| cannot_resolve(&self.limit.exceeded("no answer")))?
            .map_err(|cause| cannot_resolve(&cause))?;
        if let Some(remark) = remark {
            // The first of several will do.
            let _told_already = self.remark.set(remark);
        }
        let usable = self.usable(&addresses, host)?;
        Ok(if usable.len() == addresses.len() { addresses } else { usable.into() })
    }

    /// Those of the family of our source address, if all may be asked.
    fn usable<'b>(&self, addresses: &'b [IpAddr], host: &str) -> Result<Cow<'b, [IpAddr]>, String> {
        if let Some(vip) = addresses.iter().find(|address| self.owner.is_elsewhere(**address, self.here)) {
            return Err(format!(
                "{vip} is not on this host now (`bind: announced`): another node would answer"
            ));
        }
        let Some(source) = self.via.source else { return Ok(addresses.into()) };
        let of_its_family = |address: &&IpAddr| address.is_ipv4() == source.is_ipv4();
        let usable: Vec<_> = addresses.iter().filter(of_its_family).copied().collect();
        if usable.is_empty() {
            let other = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!("\"{host}\" has no {other} address, and {source} is one"));
        }
        Ok(usable.into())
    }

    /// Each address with its equal share of the time that is left when its turn comes, so that one which swallows
    /// packets does not hide those behind it.
    pub(super) fn turns(&self, addresses: &[IpAddr]) -> impl Iterator<Item = (IpAddr, Self)> {
        let turn = |(tried, address): (usize, &IpAddr)| {
            (*address, self.within(self.limit.share(addresses.len() - tried)))
        };
        addresses.iter().enumerate().map(turn)
    }

    /// Connects to the first address of `target` that accepts, each in its turn, or to a socket on this host, and says what is to
    /// be said first.
    ///
    /// # Errors
    /// In words; for a name with the address that was tried last.
    pub(super) async fn connect(&self, target: &Target, dial: &Dial) -> Result<Stream, String> {
        let mut stream = match &dial.unix {
            Some(path) => self.connect_to_socket(path).await?,
            None => Stream::Tcp(self.connect_over_network(target).await?),
        };
        let Some(version) = dial.proxy else { return Ok(stream) };
        let ends = match &stream {
            Stream::Tcp(stream) => stream.local_addr().and_then(|from| Ok((from, stream.peer_addr()?))).ok(),
            Stream::Unix(_) => None,
        };
        let said = self.limit.within(stream.write_all(&proxy::header(version, ends))).await;
        said.ok_or_else(|| self.limit.exceeded("not all could be sent"))?
            .map_err(|error| self.in_words(&error))?;
        Ok(stream)
    }

    /// Connects like [`Self::connect`], and sends the part of `words` that the socket accepts at once.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn say(&self, target: &Target, dial: &Dial, words: &[u8]) -> Result<Said, String> {
        if dial.unix.is_some() || dial.proxy.is_some() {
            return Ok(Said::Part(Box::pin(self.connect(target, dial)).await?, 0));
        }
        match target.host.parse() {
            Ok(address) => {
                self.usable(&[address], &target.host)?;
                self.say_to((address, target.port).into(), words, self.limit).await
            }
            Err(_) => Box::pin(self.say_to_name(target, words)).await,
        }
    }

    async fn say_to_name(&self, target: &Target, words: &[u8]) -> Result<Said, String> {
        let addresses = self.addresses(&target.host).await?;
        let mut failure = String::new();
        for (address, Self { limit, .. }) in self.turns(&addresses) {
            match self.say_to((address, target.port).into(), words, limit).await {
                Ok(Said::All(stream)) if stream.ends().is_ok_and(is_to_itself) => {
                    failure = target.named(address, self.in_words(&io::ErrorKind::ConnectionRefused.into()));
                }
                Ok(said) => return Ok(said),
                Err(cause) => failure = target.named(address, cause),
            }
        }
        Err(failure)
    }

    async fn say_to(&self, address: SocketAddr, words: &[u8], limit: Limit) -> Result<Said, String> {
        let socket = self.socket(address).map_err(|error| self.in_words(&error))?;
        let said = limit.within(said::say(socket, address, words)).await;
        said.ok_or_else(|| limit.exceeded("no connection"))?.map_err(|error| self.in_words(&error))
    }

    /// `@` is how an abstract socket is written; any other is looked up like a file.
    async fn connect_to_socket(&self, path: &str) -> Result<Stream, String> {
        let named = |cause: String| format!("{path}: {cause}");
        let stream = match path.strip_prefix('@') {
            Some(name) => {
                let connected = self.limit.within(UnixStream::connect(format!("\0{name}"))).await;
                connected.ok_or_else(|| named(self.limit.exceeded("no connection")))?
            }
            None => {
                let socket = PathBuf::from(path);
                let reader = FileAccess {
                    file_reader: self.file_reader,
                    last: self.last_read,
                    owner: self.owner.service.as_str(),
                };
                let connected =
                    reader.at(&socket.clone(), self.limit, move || file_reader::connect(&socket)).await;
                connected.map_err(named)?.and_then(UnixStream::from_std)
            }
        };
        stream.map(Stream::Unix).map_err(|error| named(words::io_error(&error)))
    }

    async fn connect_over_network(&self, target: &Target) -> Result<TcpStream, String> {
        let addresses = self.addresses(&target.host).await?;
        let mut failure = String::new();
        for (address, Self { limit, .. }) in self.turns(&addresses) {
            let cause = match limit.within(self.connect_to((address, target.port).into())).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => self.in_words(&error),
                None => limit.exceeded("no connection"),
            };
            failure = target.named(address, cause);
        }
        Err(failure)
    }

    /// A UDP socket that sends to `to` and receives only from there; ICMP errors are its errors.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn datagrams(&self, to: SocketAddr) -> Result<UdpSocket, String> {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let open = async {
            let socket = UdpSocket::bind((self.via.source.unwrap_or(any), 0)).await?;
            socket.bind_device(self.via.interface.as_deref().map(str::as_bytes))?;
            socket.connect(to).await?;
            Ok(socket)
        };
        open.await.map_err(|error| self.in_words(&error))
    }

    /// Why there is no answer. Where the connection leads back to us, nobody listens: what we say is never an answer, so this
    /// needs to be asked only of one that failed.
    pub(super) fn blamed(&self, ends: io::Result<(SocketAddr, SocketAddr)>, cause: String) -> String {
        match ends {
            Ok(ends) if is_to_itself(ends) => self.in_words(&io::ErrorKind::ConnectionRefused.into()),
            Ok(_) | Err(_) => cause,
        }
    }

    /// An error of a socket, with what it means for one that has our source address or interface.
    pub(super) fn in_words(&self, error: &io::Error) -> String {
        match (error.kind(), self.via.source, &self.via.interface) {
            (io::ErrorKind::AddrNotAvailable, Some(source), _) => {
                format!("{source}, where it is to come from, is not on this host")
            }
            (_, _, Some(interface)) if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => {
                format!("there is no interface {interface}")
            }
            (_, _, _) => words::io_error(error),
        }
    }

    /// An error of a datagram socket, which learns by ICMP that the port is closed.
    pub(super) fn in_words_of_datagrams(&self, error: &io::Error) -> String {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            return "port unreachable".into();
        }
        self.in_words(error)
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpSocket::from_std_stream(self.socket(address)?.into()).connect(address).await?;
        if is_to_itself((stream.local_addr()?, stream.peer_addr()?)) {
            // A normal close would leave the port in TIME_WAIT, where the service could not bind it.
            stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(stream)
    }

    /// A TCP socket that comes from where it is to come from, and does not block.
    fn socket(&self, to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if let Some(interface) = &self.via.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(source) = self.via.source {
            if source.is_ipv4() {
                // Or else all connections from this address share its ports, whomever they go to; IPv6 has no such option.
                setsockopt(&socket, IpBindAddressNoPort, &true)?;
            }
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        Ok(socket)
    }
}

/// When no program listens on a local port of the ephemeral range, the kernel sooner or later picks that very port as the
/// source of a connection to it, and TCP connects to itself (RFC 9293 §3.5, simultaneous open): a dead service would pass.
fn is_to_itself((own, peer): (SocketAddr, SocketAddr)) -> bool {
    own == peer
}
