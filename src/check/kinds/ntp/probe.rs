//! `ntp:` checks: one packet out, and the answer to it. Both clocks are read here: ours when the question goes out and when its
//! answer is there; everything else is in [`packet`] and [`verdict`](super::verdict).
//!
//! What is not the answer to our very question is passed over until the time-out: it may be late, or forged. A Kiss-o'-Death is
//! an answer, so that RATE and DENY fail at once; nothing is sent again within a probe, and how often there is one is `interval`.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::SystemTime;

use super::NtpCheck;
use super::packet::{self, LENGTH, Timestamp};
use super::verdict::verdict;
use crate::check::context::ProbeContext;
use crate::check::limit::Answer;

#[cfg(test)]
mod tests;

/// Datagrams that are not our answer, until no better one is waited for.
const STRANGE: usize = 64;

/// Passes when the server has the time. Where a name has several addresses, the next one is asked when one does not answer.
pub(super) async fn probe(check: &NtpCheck, context: ProbeContext<'_>) -> Answer {
    let addresses = context.addresses(&check.server.host).await?;
    let mut failure = String::new();
    for (address, context) in context.turns(&addresses) {
        match ask(check, (address, check.server.port).into(), context).await {
            Ok(answer) => return answer,
            Err(cause) => failure = check.server.named(address, cause),
        }
    }
    Err(failure)
}

/// The verdict on the answer; an error when there is no answer.
async fn ask(check: &NtpCheck, to: SocketAddr, context: ProbeContext<'_>) -> Result<Answer, String> {
    let socket = context.datagrams(to).await?;
    let in_words = |error: std::io::Error| context.in_words_of_datagrams(&error);
    let cookie = random();
    let question = packet::question(cookie);
    let sent = Timestamp::of(SystemTime::now());
    socket.send(&question).await.map_err(in_words)?;
    // What is behind the header is not received.
    let mut buffer = [0; LENGTH];
    let mut strange = None;
    for _ in 0..STRANGE {
        let Some(length) = context.limit.within(socket.recv(&mut buffer)).await else {
            let exceeded = context.limit.exceeded("no answer");
            return Err(match strange {
                Some(strange) => format!("{exceeded}; the last thing that came {strange}"),
                None => exceeded,
            });
        };
        let received = Timestamp::of(SystemTime::now());
        match packet::answer(&buffer[..length.map_err(in_words)?], cookie) {
            Ok(answer) => return Ok(verdict(check, &answer, packet::measured(sent, &answer, received))),
            Err(cause) => strange = Some(cause),
        }
    }
    let strange = strange.unwrap_or_default();
    Err(format!("{STRANGE} datagrams and none is the answer; the last thing that came {strange}"))
}

/// Nobody who does not see the question can tell it.
fn random() -> Timestamp {
    // The keys of the hash are random, which is what makes the standard library's maps safe from collisions. Zero would be what
    // an empty packet has.
    Timestamp(RandomState::new().hash_one(()) | 1)
}
