//! `mysql:` checks: the greeting, a login, and one question.
//!
//! ```text
//!   server   greeting ──────────────┐            switch, more ─┐        OK ─────────┐        row ─┐
//!   vipcast                [TLS] login ───────────────────────► proof ──► [SELECT @@global.read_only] ──► quit
//! ```
//!
//! **No handshake is broken off.** A server counts, for each host, the handshakes that it did not see the end of, and refuses the
//! host after `max_connect_errors` of them, 100 as a rule, until somebody flushes its cache. A login that is refused does not
//! count. So every probe that was greeted logs in: without a user, as one that does not exist, and is refused; and where the
//! server wants what we do not have, it is sent something that it refuses. What remains is a time-out in the middle, and a
//! certificate that we do not trust.

mod greeting;
mod login;
mod message;
#[cfg(test)]
mod tests;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use self::greeting::Greeting;
use self::login::{Login, LoginStep};
use self::message::{Column, ServerError};
use crate::check::context::ProbeContext;
use crate::check::kinds::mysql::MysqlCheck;
use crate::check::limit::Answer;
use crate::check::password::KnownPassword;
use crate::check::tls::{self, Hello, Trust};

/// The longest message, in bytes; a greeting has some hundred.
const LONGEST: usize = 64 * 1024;
/// Who logs in where the check has no user. Nobody is called so: an account might be locked after failures.
const NOBODY: &str = "vipcast-without-user";
/// A login takes at most four.
const MOST_STEPS: usize = 8;

/// Passes when the server takes us, and is writable or not as it should be.
pub(super) async fn probe(
    check: &MysqlCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
    password: &KnownPassword,
) -> Answer {
    let password = password.get(context).await?;
    let stream = context.connect(&check.target, &check.dial).await?;
    let mut wire = MessageWire { stream, next: 0, context };
    let first = wire.receive("the greeting").await?;
    if let Some(error) = ServerError::read(&first) {
        return Err(error.in_words());
    }
    let greeting = Greeting::read(&first).ok_or(STRANGE)?;
    let login = Login {
        user: check.user.as_deref().unwrap_or(NOBODY),
        password: password.as_ref().map(|password| password.octets()),
        is_secret: check.dial.unix.is_some(),
    };
    let Some(options) = &check.tls else { return talk(wire, check, &greeting, login).await };
    if !greeting.has_tls() {
        let nobody = Login { user: NOBODY, password: None, is_secret: false };
        let _refused = log_in(&mut wire, &greeting, nobody, false).await;
        return Err("the server offers no TLS".into());
    }
    wire.send(&message::tls_request()).await?;
    let hello = Hello { host: &check.host, options, alpn: &[], named: true };
    let (stream, identity) = tls::handshake(wire.stream, hello, trust, context).await?;
    let wire = MessageWire { stream, next: wire.next, context };
    let login = Login { is_secret: true, ..login };
    talk(wire, check, &greeting, login).await.map_err(|cause| identity.blamed(cause))
}

const STRANGE: &str = "the server does not speak MySQL on this port";

/// From the login to the end.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: MessageWire<'_, S>,
    check: &MysqlCheck,
    greeting: &Greeting,
    login: Login<'_>,
) -> Answer {
    let version = greeting.version();
    let outcome = log_in(&mut wire, greeting, login, check.tls.is_some()).await?;
    let answer = match (outcome, &check.user) {
        (LoginOutcome::In, None) => Ok(format!("greeting of {version}")),
        // That is what should become of it.
        (LoginOutcome::Refused(error), None) if error.is_of_the_account() => {
            return Ok(format!("greeting of {version}"));
        }
        (LoginOutcome::GaveUp(_), None) => return Ok(format!("greeting of {version}")),
        (LoginOutcome::Refused(error), _) => return Err(error.in_words()),
        (LoginOutcome::GaveUp(why), Some(_)) => return Err(why),
        (LoginOutcome::In, Some(_)) => match check.read_only {
            None => Ok(format!("logged in to {version}")),
            Some(wanted) => match read_only(&mut wire).await? {
                found if found == wanted => Ok(format!("logged in to {version}, read_only is {}", on(found))),
                found => Err(format!("read_only is {}, wanted {}", on(found), on(wanted))),
            },
        },
    };
    wire.next = 0;
    // Who is heard saying goodbye is not counted as lost. The answer is known in any case.
    let _not_heard = wire.send(&message::QUIT).await;
    answer
}

fn on(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// How a login ended.
enum LoginOutcome {
    In,
    Refused(ServerError),
    /// We cannot log in so; the server has refused us by now.
    GaveUp(String),
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut MessageWire<'_, S>,
    greeting: &Greeting,
    login: Login<'_>,
    has_tls: bool,
) -> Result<LoginOutcome, String> {
    let (mut login, first) = login.begin(greeting, has_tls);
    wire.send(&first).await?;
    let mut why = None;
    for _ in 0..MOST_STEPS {
        let message = wire.receive("the answer to the login").await?;
        let end = match login.next(&message) {
            LoginStep::Wait => continue,
            LoginStep::Send(proof) => {
                wire.send(&proof).await?;
                continue;
            }
            LoginStep::GiveUp(farewell, cause) => {
                why = Some(cause);
                wire.send(&farewell).await?;
                continue;
            }
            LoginStep::In => LoginOutcome::In,
            LoginStep::Refused(error) => LoginOutcome::Refused(error),
            LoginStep::Strange => return Err("the answer to the login is none that is known".into()),
        };
        return Ok(why.map_or(end, LoginOutcome::GaveUp));
    }
    Err("the login has no end".into())
}

/// Whether the server takes no writes. Every user may ask that.
async fn read_only<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut MessageWire<'_, S>) -> Result<bool, String> {
    const WHAT: &str = "the answer to SELECT @@global.read_only";
    wire.next = 0;
    wire.send(&message::query("SELECT @@global.read_only")).await?;
    let strange = || format!("{WHAT} is none that is known");
    let count = wire.receive(WHAT).await?;
    if let Some(error) = ServerError::read(&count) {
        return Err(error.in_words());
    }
    if count != [1] {
        return Err(strange());
    }
    let _definition = wire.receive(WHAT).await?;
    if !message::is_end(&wire.receive(WHAT).await?) {
        return Err(strange());
    }
    let row = wire.receive(WHAT).await?;
    let found = match message::column(&row).ok_or_else(strange)? {
        Column::Null => return Err(strange()),
        // MariaDB 12 has words for it: OFF, ON, NO_LOCK, NO_LOCK_NO_ADMIN.
        Column::Text(text) => !(text == b"0" || text.eq_ignore_ascii_case(b"OFF")),
    };
    let _end = wire.receive(WHAT).await?;
    Ok(found)
}

/// Messages on a connection: three bytes of length, one of a number that goes up, and what is said.
struct MessageWire<'a, S> {
    stream: S,
    /// The number of the next one that we send.
    next: u8,
    context: ProbeContext<'a>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageWire<'_, S> {
    /// The next message. No byte behind it is read, so that what follows in the clear is never taken for what came over TLS.
    async fn receive(&mut self, what: &str) -> Result<Vec<u8>, String> {
        let limit = self.context.limit;
        let reading = async {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).await?;
            let [low, middle, high, number] = head;
            let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            if length > LONGEST {
                return Ok(None);
            }
            let mut message = vec![0; length];
            self.stream.read_exact(&mut message).await?;
            self.next = number.wrapping_add(1);
            Ok(Some(message))
        };
        match limit.within(reading).await {
            None => Err(limit.exceeded(&format!("no {}", what.trim_start_matches("the ")))),
            Some(Ok(Some(message))) => Ok(message),
            Some(Ok(None)) => Err(STRANGE.into()),
            Some(Err(error)) if std::io::Error::kind(&error) == std::io::ErrorKind::UnexpectedEof => {
                Err(format!("connection closed before {what}"))
            }
            Some(Err(error)) => Err(format!("{} before {what}", tls::io_error(&error))),
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(4 + message.len());
        // None of ours is longer than a password and a name.
        let [low, middle, high, _] = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend_from_slice(&[low, middle, high, self.next]);
        bytes.extend_from_slice(message);
        self.next = self.next.wrapping_add(1);
        let sending = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        let sent = self.context.limit.within(sending).await;
        sent.ok_or_else(|| self.context.limit.exceeded("not all could be sent"))?
            .map_err(|error| self.context.in_words(&error))
    }
}
