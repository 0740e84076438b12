//! `tcp:` checks, and the connection that `http:` checks speak on.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::limit::{Answer, Limit};
use super::resolve::Resolver;
use super::words;
use crate::config::model::{Target, TcpCheck};

#[cfg(test)]
mod tests;

/// Passes when somebody accepts the connection, which is closed at once.
pub(super) async fn probe(check: &TcpCheck, limit: Limit, resolver: &Resolver) -> Answer {
    connect(&check.target, limit, resolver).await.map(|_| "connected".into())
}

/// Connects to the first address of `target` that accepts. Each address gets its equal share of the time that is
/// left, so that one which swallows packets does not hide those behind it.
///
/// # Errors
/// In words; for a name with the address that was tried last.
pub(super) async fn connect(target: &Target, limit: Limit, resolver: &Resolver) -> Result<TcpStream, String> {
    let cannot_resolve = |cause: &str| format!("cannot resolve \"{}\": {cause}", target.host);
    let addresses = limit
        .within(resolver.addresses(&target.host))
        .await
        .ok_or_else(|| cannot_resolve(&limit.exceeded("no answer")))?
        .map_err(|cause| cannot_resolve(&cause))?;
    let mut failure = String::new();
    for (tried, address) in addresses.iter().enumerate() {
        let attempt = limit.share(addresses.len() - tried);
        let cause = match attempt.within(connect_to((*address, target.port).into())).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => words::io_error(&error),
            None => attempt.exceeded("no connection"),
        };
        failure = match target.host.parse::<IpAddr>() {
            Ok(_) => cause,
            Err(_) => format!("{address}: {cause}"),
        };
    }
    Err(failure)
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if is_connected_to_itself(&stream)? {
        // A normal close would leave the port in TIME_WAIT, where the service could not bind it.
        stream.set_zero_linger()?;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// When nobody listens on a local port of the ephemeral range, the kernel sooner or later picks that very port as the
/// source of a connection to it, and TCP connects to itself (RFC 9293 §3.5, simultaneous open): a dead service would pass.
fn is_connected_to_itself(stream: &TcpStream) -> io::Result<bool> {
    Ok(stream.local_addr()? == stream.peer_addr()?)
}
