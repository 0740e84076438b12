//! The login: whatever the server asks for until it says that the user is in.

use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Session;
use super::message::{self, LoginRequest, ServerMessage};
use super::scram::{self, Challenge};
use super::{Known, PostgresLogin, md5};
use crate::check::context::ProbeContext;
use crate::check::password::Password;
use crate::check::pool::{self, NoResult};

const LOGIN: &str = "answer to the login";

/// Logs in on a connection on which the startup packet has been sent. `is_private`: nobody else can read what is said on it.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Session<S>,
    login: &PostgresLogin,
    known: &Known,
    is_private: bool,
    context: ProbeContext<'_>,
) -> Result<(), String> {
    let asked = authentication(connection.next(LOGIN).await?)?;
    if asked == LoginRequest::Ok {
        return Ok(());
    }
    let method = method(&asked)?;
    if asked == LoginRequest::CleartextPassword && !is_private {
        return Err("the server asks for the password in clear text, and the connection has no TLS".into());
    }
    let Some(password) = known.password.get(context).await? else {
        return Err(format!("the server asks for a password ({method}), and the check has none"));
    };
    answer(connection, asked, login, &password, known).await
}

/// Gives the password in the way that the server asks for.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Session<S>,
    asked: LoginRequest,
    login: &PostgresLogin,
    password: &Password,
    known: &Known,
) -> Result<(), String> {
    match asked {
        LoginRequest::CleartextPassword => {
            connection.send(&message::password(password.octets())).await?;
        }
        LoginRequest::Md5Password(salt) => {
            let hash = md5::answer(&login.user, password.octets(), salt);
            connection.send(&message::password(hash.as_bytes())).await?;
        }
        LoginRequest::Sasl(_) => exchange(connection, password, known).await?,
        LoginRequest::Ok
        | LoginRequest::SaslContinue(_)
        | LoginRequest::SaslFinal(_)
        | LoginRequest::Other(_) => {}
    }
    let last = authentication(connection.next(LOGIN).await?)?;
    if last == LoginRequest::Ok { Ok(()) } else { Err(out_of_turn(&last)) }
}

/// SCRAM-SHA-256, until the server has proved that it knows the password as well.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Session<S>,
    password: &Password,
    known: &Known,
) -> Result<(), String> {
    let nonce = scram::nonce()?;
    connection.send(&message::sasl_initial(scram::NAME, &scram::first(&nonce))).await?;
    let asked = authentication(connection.next(LOGIN).await?)?;
    let LoginRequest::SaslContinue(said) = &asked else { return Err(out_of_turn(&asked)) };
    let challenge = Challenge::read(said, &nonce)?;
    let (challenge, salted) = match known.salted.get(&challenge, password) {
        Some(salted) => (challenge, salted),
        None => {
            // Milliseconds, which the other probes of this thread need not wait for.
            let password = password.clone();
            let salt = move || {
                let salted = challenge.salted(&password);
                (challenge, salted)
            };
            pool::run((), salt).await.map_err(|cause| match cause {
                NoResult::NoThread => "this host has no thread left to log in".to_owned(),
                NoResult::Panicked => "the login panicked".to_owned(),
            })?
        }
    };
    let (answer, signature) = challenge.answer(&salted, &nonce);
    connection.send(&message::sasl_response(&answer)).await?;
    let last = authentication(connection.next(LOGIN).await?)?;
    let LoginRequest::SaslFinal(said) = &last else { return Err(out_of_turn(&last)) };
    if !signature.is(said) {
        return Err("the server does not know the password itself".into());
    }
    known.salted.keep(salted);
    Ok(())
}

/// What the server wants of a login.
fn authentication(message: ServerMessage) -> Result<LoginRequest, String> {
    match message {
        ServerMessage::LoginRequest(asked) => Ok(asked),
        ServerMessage::Error(error) => Err(error.in_words()),
        ServerMessage::Ready | ServerMessage::Row(_) | ServerMessage::Other => {
            Err("the server answers out of turn: there was no login yet".into())
        }
    }
}

fn out_of_turn(asked: &LoginRequest) -> String {
    match method(asked) {
        Ok(method) => format!("the server answers out of turn during the login: it asks for {method}"),
        Err(cause) => cause,
    }
}

/// How the server wants the password.
///
/// # Errors
/// In a way that we do not know, in words.
pub(super) fn method(asked: &LoginRequest) -> Result<&'static str, String> {
    let unknown =
        |name: &str| format!("the server asks for a login with {name}, which vipcast does not know");
    match asked {
        LoginRequest::Ok => Ok("no password"),
        LoginRequest::CleartextPassword => Ok("clear text"),
        LoginRequest::Md5Password(_) => Ok("MD5"),
        LoginRequest::Sasl(offered) if offered.iter().any(|name| name == scram::NAME.as_bytes()) => {
            Ok(scram::NAME)
        }
        LoginRequest::Sasl(_) => Err(unknown("another mechanism of SASL than SCRAM-SHA-256")),
        LoginRequest::SaslContinue(_) | LoginRequest::SaslFinal(_) => Ok("a part of SASL"),
        LoginRequest::Other(2) => Err(unknown("Kerberos 5")),
        LoginRequest::Other(7 | 8) => Err(unknown("GSSAPI")),
        LoginRequest::Other(9) => Err(unknown("SSPI")),
        LoginRequest::Other(number) => Err(unknown(&format!("method {number}"))),
    }
}
