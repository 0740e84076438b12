//! `postgres:` checks: one connection, and one of two questions on it.
//!
//! ```text
//!   connect ─► SSLRequest, TLS ─► startup packet ─┬─ no user ─► the first answer is the verdict, as `pg_isready` has it
//!              (with `tls`)                       └─ user ────► login ─► select pg_is_in_recovery() ─► Terminate
//! ```
//!
//! Without a user the startup packet names one that need not exist: a server that asks for a password, or refuses the user, accepts
//! connections. `pg_isready` takes every error for that but 57P03, "cannot connect now"; here the others of its class (the server
//! ends) and those of class 53 (no more connections) fail as well, because no client gets in then either.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connection::Session;
use super::login::{log_in, method};
use super::message::{self, ServerMessage};
use super::{Known, PostgresCheck, PostgresLogin, PostgresRole};
use crate::check::context::ProbeContext;
use crate::check::limit::Answer;
use crate::check::stream::Stream;
use crate::check::tls::{self, Hello, Trust};
use crate::check::words;

#[cfg(test)]
mod tests;

/// The user where nobody logs in, for the log of the server.
const NOBODY: &str = "vipcast";
/// Qualified, so that no function of the user's own comes before it.
const QUERY: &str = "select pg_catalog.pg_is_in_recovery()";

/// Passes when the server accepts connections, or lets the user in and has the role that it should have.
pub(super) async fn probe(
    check: &PostgresCheck,
    context: ProbeContext<'_>,
    trust: &Trust,
    known: &Known,
) -> Answer {
    let mut stream = context.connect(&check.target, &check.dial).await?;
    let Some(options) = &check.tls else {
        let is_private = matches!(stream, Stream::Unix(_));
        return ask(stream, check, known, is_private, context).await;
    };
    ask_for_tls(&mut stream, context).await?;
    let hello = Hello { host: &check.host, options, alpn: &[], named: true };
    let (stream, identity) = tls::handshake(stream, hello, trust, context).await?;
    ask(stream, check, known, true, context).await.map_err(|cause| identity.blamed(cause))
}

/// SSLRequest, which the server answers with one byte. Nothing more is read: what follows must come in TLS.
async fn ask_for_tls(stream: &mut Stream, context: ProbeContext<'_>) -> Result<(), String> {
    let limit = context.limit;
    let exchange = async {
        stream.write_all(&message::ssl_request()).await?;
        stream.read_u8().await
    };
    match limit.within(exchange).await.ok_or_else(|| limit.exceeded("no answer to the request for TLS"))? {
        Ok(b'S') => Ok(()),
        Ok(b'N') => Err("the server has no TLS".into()),
        // An error, of a server that does not even know the request or cannot serve anyone; its text is not ours to trust yet.
        Ok(_) => Err("the server answers the request for TLS with something else".into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err("connection closed before the answer to the request for TLS".into())
        }
        Err(error) => Err(words::io_error(&error)),
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    check: &PostgresCheck,
    known: &Known,
    is_private: bool,
    context: ProbeContext<'_>,
) -> Answer {
    let mut connection = Session::new(stream, context.limit);
    let (answer, is_in) = match &check.login {
        None => is_ready(&mut connection).await,
        Some(login) => {
            connection.send(&startup(&login.user, &login.database)).await?;
            log_in(&mut connection, login, known, is_private, context).await?;
            (role(&mut connection, login).await, true)
        }
    };
    if is_in {
        connection.end().await;
    }
    answer
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    message::startup(&[
        ("user", user),
        ("database", database),
        ("application_name", "vipcast"),
        ("client_encoding", "UTF8"),
    ])
}

/// Whether the server accepts connections, and whether there is a session now.
async fn is_ready<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Session<S>) -> (Answer, bool) {
    let first = async {
        connection.send(&startup(NOBODY, "postgres")).await?;
        connection.next("answer to the startup packet").await
    };
    const READY: &str = "accepts connections";
    match first.await {
        Err(cause) => (Err(cause), false),
        Ok(ServerMessage::LoginRequest(message::LoginRequest::Ok)) => {
            (Ok(format!("{READY} without a password")), true)
        }
        Ok(ServerMessage::LoginRequest(asked)) => match method(&asked) {
            Ok(method) => (Ok(format!("{READY}, and asks for a password ({method})")), false),
            Err(_) => (Ok(READY.into()), false),
        },
        Ok(ServerMessage::Error(error)) => match error.code.as_slice() {
            [b'5', b'7' | b'3', ..] => (Err(error.in_words()), false),
            _ => (Ok(format!("{READY}, and refuses the user {NOBODY}: {}", error.in_words())), false),
        },
        Ok(ServerMessage::Ready | ServerMessage::Row(_) | ServerMessage::Other) => {
            (Err("the server answers out of turn: there was no login yet".into()), false)
        }
    }
}

/// Which role the server has, against the one that it should have.
async fn role<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Session<S>,
    login: &PostgresLogin,
) -> Answer {
    wait_until_ready(connection).await?;
    connection.send(&message::query(QUERY)).await?;
    let found = match connection.next("answer to the query").await? {
        ServerMessage::Row(values) => match values.as_slice() {
            [Some(value)] if value == b"f" => PostgresRole::Primary,
            [Some(value)] if value == b"t" => PostgresRole::Replica,
            _ => return Err("the server answers the query with neither true nor false".into()),
        },
        ServerMessage::Error(error) => return Err(error.in_words()),
        ServerMessage::Ready | ServerMessage::LoginRequest(_) | ServerMessage::Other => {
            return Err("the server does not answer the query".into());
        }
    };
    // The session ends in good order only when the query has ended.
    wait_until_ready(connection).await?;
    match login.role {
        Some(wanted) if wanted != found => Err(format!("{}, wanted {}", found.name(), wanted.name())),
        Some(_) | None => Ok(found.name().into()),
    }
}

async fn wait_until_ready<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Session<S>,
) -> Result<(), String> {
    match connection.next("end of the login or the query").await? {
        ServerMessage::Ready => Ok(()),
        ServerMessage::Error(error) => Err(error.in_words()),
        ServerMessage::Row(_) | ServerMessage::LoginRequest(_) | ServerMessage::Other => {
            Err("the server answers out of turn".into())
        }
    }
}

impl PostgresRole {
    fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}
