//! `icmp:` checks: echo requests, and the share of answered ones.
//!
//! A request counts as lost when it is refused, or not answered by the time-out. The probe waits for all possible
//! answers, even if they cannot change the result any more, so that the reported loss is the real one.

mod packet;
mod socket;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use self::packet::{Echo, TOKEN, Version};
use self::socket::{EchoSocket, Heard};
use crate::check::context::ProbeContext;
use crate::check::kinds::icmp::IcmpCheck;
use crate::check::limit::Answer;
use crate::check::target::Target;

/// Passes when no more are lost than may be. Where a name has several addresses, the next one is asked when one does not
/// answer at all.
pub(super) async fn probe(check: &IcmpCheck, context: ProbeContext<'_>) -> Answer {
    let addresses = context.addresses(&check.host).await?;
    let target = Target { host: check.host.clone(), port: 0 };
    let mut failure = String::new();
    for (address, context) in context.turns(&addresses) {
        match ask(check, address, context).await {
            Ok(tally) => match tally.verdict(check, &context) {
                Err(cause) if tally.answered() == 0 => failure = target.named(address, cause),
                verdict => return verdict,
            },
            Err(cause) => failure = target.named(address, cause),
        }
    }
    Err(failure)
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Tally {
    /// When each was sent, and how long its answer took.
    sent: Vec<(Instant, Option<Duration>)>,
    refused: u16,
    /// The last refusal, in words.
    refusal: Option<String>,
}

/// An error when the requests could not even be sent.
async fn ask(check: &IcmpCheck, address: IpAddr, context: ProbeContext<'_>) -> Result<Tally, String> {
    let in_words = |error: &io::Error| context.in_words(error);
    let socket = EchoSocket::open(address, context.via).map_err(|error| in_words(&error))?;
    let echo = echo(address);
    let mut buffer = vec![0; usize::from(check.size) + 128];
    let mut tally = Tally::default();
    let mut next = Instant::now();
    while !tally.is_settled(check) {
        let heard = tokio::select! {
            biased;
            () = context.limit.over() => break,
            () = sleep_until(next), if tally.sent.len() < usize::from(check.count) => {
                let packet = echo.request(tally.next(), check.size);
                let now = Instant::now();
                match socket.send(&echo, &packet).map_err(|error| in_words(&error))? {
                    None => {
                        tally.sent.push((now, None));
                        next = now + check.spacing;
                        continue;
                    }
                    // This one is sent at the next turn.
                    Some(refusal) => Heard::Refusal(refusal),
                }
            }
            heard = socket.hear(&echo, &mut buffer) => heard.map_err(|error| in_words(&error))?,
        };
        match heard {
            Heard::Answer(sequence) => tally.answer(sequence, Instant::now()),
            Heard::Refusal(refusal) => {
                tally.refused = tally.refused.saturating_add(1);
                tally.refusal = Some(refusal.in_words());
            }
            Heard::Noise => {}
        }
    }
    Ok(tally)
}

fn echo(address: IpAddr) -> Echo {
    // The keys of the hash are random.
    let token: [u8; TOKEN] = RandomState::new().hash_one(()).to_be_bytes();
    Echo { version: Version::of(address), id: u16::from_be_bytes([token[0], token[1]]), token }
}

impl Tally {
    fn next(&self) -> u16 {
        u16::try_from(self.sent.len()).unwrap_or(u16::MAX)
    }

    /// The first answer to a request counts.
    fn answer(&mut self, sequence: u16, now: Instant) {
        if let Some((sent, took @ None)) = self.sent.get_mut(usize::from(sequence)) {
            *took = Some(now - *sent);
        }
    }

    fn answered(&self) -> u16 {
        let answered = self.sent.iter().filter(|(_, took)| took.is_some()).count();
        u16::try_from(answered).unwrap_or(u16::MAX)
    }

    /// Whether nothing more is waited for: all are sent, and each was answered or refused; or too many were refused.
    fn is_settled(&self, check: &IcmpCheck) -> bool {
        let all_sent = self.sent.len() == usize::from(check.count);
        let known = self.answered().saturating_add(self.refused);
        (all_sent && known >= check.count) || check.is_too_much(self.refused)
    }

    fn verdict(&self, check: &IcmpCheck, context: &ProbeContext<'_>) -> Answer {
        let answered = self.answered();
        let times = self.sent.iter().filter_map(|(_, took)| *took);
        let average = times.sum::<Duration>() / u32::from(answered.max(1));
        let text = match answered {
            0 => context.limit.exceeded("no answer"),
            _ => format!("{answered} of {} answered, {}", check.count, round_trip(average)),
        };
        if !check.is_too_much(check.count - answered.min(check.count)) {
            return Ok(text);
        }
        Err(match (answered, &self.refusal) {
            (0, Some(refusal)) => refusal.clone(),
            (0, None) => text,
            (_, Some(refusal)) => format!("{text}, at most {} % may be lost: {refusal}", check.loss),
            (_, None) => format!("{text}, at most {} % may be lost", check.loss),
        })
    }
}

/// `0.05 ms`, `12.3 ms`.
fn round_trip(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.1} ms") }
}
