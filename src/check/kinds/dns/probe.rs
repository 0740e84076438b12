//! `dns:` checks: one question to one server, over UDP, and over TCP when the answer does not fit.
//!
//! Datagrams that do not answer our question (another id, another name, garbage) are ignored until the time-out: an
//! answer to an earlier probe may be late, and any host may forge one. The socket is connected, so that datagrams of
//! other hosts are dropped. Over TCP a wrong answer is a failure.

mod answer;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use domain::base::iana::OptRcode;
use domain::base::{Message, MessageBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::check::context::ProbeContext;
use crate::check::kinds::dns::{DnsCheck, DnsTransport};
use crate::check::limit::Answer;
use crate::check::target::{Dial, Target};
use crate::check::words;

/// The largest answer that we take over UDP, in bytes: what passes everywhere without fragments (RFC 9715 §3.1).
const UDP_SIZE: u16 = 1232;
/// Datagrams that are not our answer: the probe gives up after this number.
const STRANGE: usize = 64;

/// Passes when the answer is as it must be. Where the server's name has several addresses, the next one is asked when one does
/// not answer.
pub(super) async fn probe(check: &DnsCheck, context: ProbeContext<'_>, server: &mut Server) -> Answer {
    let answer = probe_once(check, context, server).await;
    if answer.is_err() {
        // Another server may have taken its place.
        server.is_without_edns = false;
    }
    answer
}

async fn probe_once(check: &DnsCheck, context: ProbeContext<'_>, server: &mut Server) -> Answer {
    let addresses = context.addresses(&check.server.host).await?;
    let mut failure = String::new();
    for (address, context) in context.turns(&addresses) {
        match ask(check, address, context, server).await {
            Ok(answer) => return answer::judge(check, &answer),
            Err(cause) => failure = check.server.named(address, cause),
        }
    }
    Err(failure)
}

/// The state of a server, kept between probes.
#[derive(Debug, Default)]
pub(super) struct Server {
    /// The server does not know EDNS, and answers a query with EDNS with an error.
    is_without_edns: bool,
}

/// Asks one server; with EDNS, and without where that is what it complains of (RFC 6891 §6.2.2).
async fn ask(
    check: &DnsCheck,
    address: IpAddr,
    context: ProbeContext<'_>,
    server: &mut Server,
) -> Result<Message<Bytes>, String> {
    let ask = async |edns: bool| {
        let query = query(check, random(), edns)?;
        match check.transport {
            DnsTransport::Udp => over_udp(check, &query, address, context).await,
            DnsTransport::Tcp => over_tcp(check, &query, address, context).await,
        }
    };
    if !check.edns || server.is_without_edns {
        return ask(false).await;
    }
    let answer = ask(true).await?;
    let rcode = answer.opt_rcode();
    let complains = [OptRcode::FORMERR, OptRcode::NOTIMP, OptRcode::BADVERS].contains(&rcode);
    if !complains || check.rcodes.contains(&rcode) {
        return Ok(answer);
    }
    let answer = ask(false).await?;
    server.is_without_edns = answer.opt_rcode() != rcode;
    Ok(answer)
}

/// The query.
fn query(check: &DnsCheck, id: u16, edns: bool) -> Result<Message<Bytes>, String> {
    let impossible = |_| String::from("the question does not fit into a message");
    let mut query = MessageBuilder::new_bytes();
    query.header_mut().set_id(id);
    query.header_mut().set_rd(check.recursion);
    // RFC 6840 §5.7: with it, a resolver says AD although DNSSEC records are not asked for.
    query.header_mut().set_ad(check.authenticated);
    let mut query = query.question();
    query.push((&check.name, check.record_type)).map_err(impossible)?;
    let mut query = query.additional();
    if !edns {
        return Ok(query.into_message());
    }
    let opt = query.opt(|opt| {
        opt.set_udp_payload_size(UDP_SIZE);
        opt.set_dnssec_ok(check.authenticated);
        Ok(())
    });
    opt.map_err(impossible)?;
    Ok(query.into_message())
}

/// An id that cannot be guessed without seeing the query (RFC 5452 §4.3).
fn random() -> u16 {
    // The keys of the hash are random: they protect the maps of the standard library from collisions.
    (RandomState::new().hash_one(()) & u64::from(u16::MAX)).try_into().unwrap_or_default()
}

/// An error when there is no answer.
async fn over_udp(
    check: &DnsCheck,
    query: &Message<Bytes>,
    address: IpAddr,
    context: ProbeContext<'_>,
) -> Result<Message<Bytes>, String> {
    let to = SocketAddr::new(address, check.server.port);
    let socket = context.datagrams(to).await?;
    let in_words = |error: std::io::Error| context.in_words_of_datagrams(&error);
    socket.send(query.as_slice()).await.map_err(in_words)?;
    let mut buffer = vec![0; usize::from(UDP_SIZE)];
    let mut strange = None;
    for _ in 0..STRANGE {
        let Some(received) = context.limit.within(socket.recv(&mut buffer)).await else {
            let exceeded = context.limit.exceeded("no answer");
            return Err(match strange {
                Some(strange) => format!("{exceeded}; the last thing that came {strange}"),
                None => exceeded,
            });
        };
        let received = &buffer[..received.map_err(in_words)?];
        match answer::to(query, received) {
            Ok(answer) if answer.header().tc() => return over_tcp(check, query, address, context).await,
            Ok(answer) => return Ok(answer),
            Err(cause) => strange = Some(cause),
        }
    }
    let strange = strange.unwrap_or_default();
    Err(format!("{STRANGE} datagrams and none is the answer; the last thing that came {strange}"))
}

/// An error when there is no answer.
async fn over_tcp(
    check: &DnsCheck,
    query: &Message<Bytes>,
    address: IpAddr,
    context: ProbeContext<'_>,
) -> Result<Message<Bytes>, String> {
    let over_tcp = |cause: String| format!("over TCP: {cause}");
    let target = Target { host: address.to_string(), port: check.server.port };
    let mut stream = context.connect(&target, &Dial::PLAIN).await.map_err(over_tcp)?;
    let exchange = async {
        let length = u16::try_from(query.as_slice().len()).unwrap_or(u16::MAX);
        let question = [&length.to_be_bytes(), query.as_slice()].concat();
        stream.write_all(&question).await?;
        let length = stream.read_u16().await?;
        // Grows as it comes: to announce much costs the server nothing, and neither us.
        let mut answer = Vec::new();
        stream.take(length.into()).read_to_end(&mut answer).await?;
        if answer.len() < usize::from(length) {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        Ok(answer)
    };
    let received = match context.limit.within(exchange).await {
        Some(Ok(received)) => received,
        Some(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(over_tcp("connection closed before the whole answer".into()));
        }
        Some(Err(error)) => return Err(over_tcp(words::io_error(&error))),
        None => return Err(over_tcp(context.limit.exceeded("no answer"))),
    };
    answer::to(query, &received).map_err(|cause| over_tcp(format!("what came {cause}")))
}
