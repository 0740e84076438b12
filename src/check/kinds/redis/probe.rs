//! `redis:` checks: AUTH where there is a password, PING, and ROLE and INFO where more is asked than an answer.
//!
//! All questions are sent at once, and answered in their order; the first that is answered with an error decides. What is not
//! needed is not asked: a user whose ACL allows `+ping` alone, and a proxy that knows no ROLE, pass a plain check. The answers are
//! read by [`resp`]; [`role`] has what ROLE and INFO say.

mod resp;
mod role;
#[cfg(test)]
mod tests;

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use self::resp::{Broken, LONGEST, ReplyReader, RespReply};
use self::role::ServerRole;
use crate::check::context::ProbeContext;
use crate::check::kinds::redis::RedisCheck;
use crate::check::limit::Answer;
use crate::check::password::{KnownPassword, Password};
use crate::check::quoted::quoted;
use crate::check::tls::{self, Hello, Trust};

/// Read at a time, in bytes.
const PIECE: usize = 4096;

/// Passes when PING is answered, and the server is what it should be.
pub(super) async fn probe(
    check: &RedisCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
    password: &KnownPassword,
) -> Answer {
    let password = password.get(context).await?;
    let questions = Commands::new(check, password.as_ref());
    let stream = context.connect(&check.target, &check.dial).await?;
    match &check.tls {
        None => questions.ask(stream, check, context).await,
        Some(options) => {
            let hello = Hello { host: &check.host, options, alpn: &[], named: true };
            let (stream, identity) = tls::handshake(stream, hello, trust, context).await?;
            questions.ask(stream, check, context).await.map_err(|cause| identity.blamed(cause))
        }
    }
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Auth,
    Ping,
    Role,
    Info,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "AUTH",
            Self::Ping => "PING",
            Self::Role => "ROLE",
            Self::Info => "INFO",
        })
    }
}

/// What is asked, in order, and as it is sent. It has the password in it, and no `Debug`.
struct Commands {
    order: Vec<Command>,
    bytes: Vec<u8>,
}

impl Commands {
    fn new(check: &RedisCheck, password: Option<&Password>) -> Self {
        let mut questions = Self { order: Vec::new(), bytes: Vec::new() };
        if let Some(password) = password {
            match &check.username {
                None => questions.add(Command::Auth, &[password.octets()]),
                Some(name) => questions.add(Command::Auth, &[name.as_bytes(), password.octets()]),
            }
        }
        questions.add(Command::Ping, &[]);
        if check.role.is_some() || check.replication {
            questions.add(Command::Role, &[]);
        }
        if check.max_lag.is_some() {
            questions.add(Command::Info, &[b"replication"]);
        }
        questions
    }

    fn add(&mut self, question: Command, arguments: &[&[u8]]) {
        self.order.push(question);
        let name = question.to_string();
        self.bytes.extend_from_slice(format!("*{}\r\n", 1 + arguments.len()).as_bytes());
        for word in std::iter::once(name.as_bytes()).chain(arguments.iter().copied()) {
            self.bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.bytes.extend_from_slice(word);
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    async fn ask(
        self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        check: &RedisCheck,
        context: ProbeContext<'_>,
    ) -> Answer {
        let sending = async {
            stream.write_all(&self.bytes).await?;
            stream.flush().await
        };
        let sent = context.limit.within(sending).await;
        // A server with too many clients says so and closes, whatever it is sent.
        let unsent = sent.ok_or_else(|| context.limit.exceeded("not all could be sent"))?.err();
        let mut answers = Answers { stream, reader: ReplyReader::default(), piece: vec![0; PIECE], context };
        let (mut role, mut info) = (None, None);
        for question in self.order {
            let reply = match (answers.next(question).await, &unsent) {
                (Err(_), Some(unsent)) => return Err(context.in_words(unsent)),
                (reply, _) => reply?,
            };
            match (question, reply) {
                (question, RespReply::Error(text)) => return Err(in_words(question, &text, check)),
                (Command::Ping, RespReply::Simple(text) | RespReply::Bulk(text)) if text == b"PONG" => {}
                (Command::Auth, RespReply::Simple(text)) if text == b"OK" => {}
                (Command::Role, reply) => {
                    role = Some(
                        ServerRole::read(&reply).ok_or("the answer to ROLE is of no kind that is known")?,
                    );
                }
                (Command::Info, RespReply::Bulk(text)) => info = Some(text),
                (Command::Auth, other) => return Err(unexpected(question, &other, "OK")),
                (Command::Ping, other) => return Err(unexpected(question, &other, "PONG")),
                (Command::Info, other) => return Err(unexpected(question, &other, "a text")),
            }
        }
        match role {
            None => Ok("PONG".into()),
            Some(role) => role::judge(check, &role, info.as_deref()),
        }
    }
}

/// The answers on a connection.
struct Answers<'a, S> {
    stream: S,
    reader: ReplyReader,
    piece: Vec<u8>,
    context: ProbeContext<'a>,
}

impl<S: AsyncRead + Unpin> Answers<'_, S> {
    async fn next(&mut self, question: Command) -> Result<RespReply, String> {
        let limit = self.context.limit;
        loop {
            match self.reader.next() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(Broken::Strange(bytes)) => {
                    return Err(format!("the answer to {question} is not that of Redis: {}", quoted(&bytes)));
                }
                Err(Broken::TooLong) => {
                    return Err(format!("the answer to {question} is longer than {} KiB", LONGEST / 1024));
                }
            }
            match limit.within(self.stream.read(&mut self.piece)).await {
                None => return Err(limit.exceeded(&format!("no answer to {question}"))),
                Some(Ok(0)) => return Err(format!("connection closed before the answer to {question}")),
                Some(Ok(length)) => self.reader.feed(&self.piece[..length]),
                Some(Err(error)) => {
                    return Err(format!("{} before the answer to {question}", tls::io_error(&error)));
                }
            }
        }
    }
}

fn unexpected(question: Command, found: &RespReply, wanted: &str) -> String {
    let found = match found {
        RespReply::Simple(text) | RespReply::Bulk(text) | RespReply::Error(text) => quoted(text),
        RespReply::Integer(number) => format!("the number {number}"),
        RespReply::Nil => "nothing".into(),
        RespReply::Array(_) => "a list".into(),
    };
    format!("{question} is answered with {found}, wanted {wanted}")
}

/// An error of the server: what its code means, and what else it says where that is not the same.
fn in_words(question: Command, text: &[u8], check: &RedisCheck) -> String {
    let whole = String::from_utf8_lossy(text);
    let code = whole.split(' ').next().unwrap_or_default();
    let whose = if check.username.is_some() { "user or password" } else { "password" };
    match code {
        "NOAUTH" => "the server wants a password (NOAUTH)".into(),
        "WRONGPASS" => format!("the server refuses the {whose} (WRONGPASS)"),
        "NOPERM" => format!("the user may not ask {question} (NOPERM)"),
        "LOADING" => "the server is loading its data (LOADING)".into(),
        "MASTERDOWN" => "the link to the master is down, and the data is old (MASTERDOWN)".into(),
        "BUSY" => "the server is busy with a script (BUSY)".into(),
        "MISCONF" => "the server cannot write its data to disk, and takes none (MISCONF)".into(),
        "DENIED" => "the server talks to its own host alone: protected mode (DENIED)".into(),
        "ERR" if whole.contains("max number of clients") => "the server has too many clients".into(),
        "ERR" if question == Command::Auth && whole.contains("without any password") => NO_PASSWORD.into(),
        "ERR" if question == Command::Auth && whole.contains("no password is set") => NO_PASSWORD.into(),
        // Before version 6.
        "ERR" if whole == "ERR invalid password" => format!("the server refuses the {whose}"),
        _ => format!("{question} is answered with the error {}", quoted(text)),
    }
}

const NO_PASSWORD: &str = "the server has no password, and was sent one";
