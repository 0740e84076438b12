//! `udp:` checks: one datagram to the server, and a matching answer.
//!
//! Silence never passes: a dead host and a firewall are also silent. An ICMP error ends the probe at once. At most
//! [`ANSWERS`] answers that do not match are skipped, because a late one to the last probe may be among them. The
//! socket is connected: datagrams of other hosts are dropped.

use std::net::SocketAddr;

use crate::check::context::ProbeContext;
use crate::check::kinds::udp::UdpCheck;
use crate::check::limit::Answer;
use crate::check::quoted::quoted;

#[cfg(test)]
mod tests;

/// Looked at of an answer, in bytes.
const READ: usize = 4096;
/// Wrong answers until nothing better is waited for.
const ANSWERS: usize = 64;

/// Passes when an answer matches. Where a name has several addresses, the next one is asked when one does not answer.
pub(super) async fn probe(check: &UdpCheck, context: ProbeContext<'_>) -> Answer {
    let addresses = context.addresses(&check.target.host).await?;
    let mut failure = String::new();
    for (address, context) in context.turns(&addresses) {
        match ask(check, (address, check.target.port).into(), context).await {
            Ok(answer) => return answer,
            Err(cause) => failure = check.target.named(address, cause),
        }
    }
    Err(failure)
}

/// What the answers are worth; an error when there is none.
async fn ask(check: &UdpCheck, to: SocketAddr, context: ProbeContext<'_>) -> Result<Answer, String> {
    let socket = context.datagrams(to).await?;
    socket.send(&check.send).await.map_err(|error| context.in_words_of_datagrams(&error))?;
    let mut buffer = vec![0; READ];
    let mut last = None;
    for _ in 0..ANSWERS {
        let length = match context.limit.within(socket.recv(&mut buffer)).await {
            Some(Ok(length)) => length,
            Some(Err(error)) => return Err(context.in_words_of_datagrams(&error)),
            None => {
                let Some(last) = last else { return Err(context.limit.exceeded("no answer")) };
                let exceeded = context.limit.exceeded("no answer that matches");
                return Ok(Err(format!("{exceeded}; the last one was {last}")));
            }
        };
        let answer = &buffer[..length];
        if check.expect.as_ref().is_none_or(|pattern| pattern.is_in(answer)) {
            return Ok(Ok(format!("answered {}", quoted(answer))));
        }
        last = Some(quoted(answer));
    }
    Ok(Err(format!("{ANSWERS} answers and none that matches; the last one was {}", last.unwrap_or_default())))
}
