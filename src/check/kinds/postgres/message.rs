//! Arriving of PostgreSQL's protocol 3.0, as far as a login and a query of one value need them (PostgreSQL manual, "Frontend/Backend
//! Protocol", "Message Formats").
//!
//! ```text
//!  0     1              5
//!  ├─────┼──────────────┼──────────┄        the first message of a client has no type
//!  │type │ length, BE   │ content
//!        └── itself and the content ──┄
//! ```
//!
//! [`Arriving`] cuts what has arrived into messages. It keeps what has arrived and nothing else: a length that a server announces
//! reserves no room, and a longer message than [`LONGEST`] is refused at its header.

use crate::check::quoted::quoted;

/// The longest message that is taken, with its header, in bytes; an error with its context is far shorter.
const LONGEST: usize = 16 * 1024;
/// Type and length.
const HEADER: usize = 5;
/// SSLRequest, and the version of the protocol.
const SSL_REQUEST: u32 = 80_877_103;
const PROTOCOL: u32 = 3 << 16;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerMessage {
    LoginRequest(LoginRequest),
    Error(ServerError),
    /// It waits for a query.
    Ready,
    /// A row with these values.
    Row(Vec<Option<Vec<u8>>>),
    /// A parameter, a notice, the end of a command: nothing that changes the answer.
    Other,
}

/// What a server wants of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginRequest {
    /// Nothing more.
    Ok,
    CleartextPassword,
    Md5Password([u8; 4]),
    /// One of these mechanisms.
    Sasl(Vec<Vec<u8>>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    /// Kerberos, GSSAPI, SSPI, and whatever is new.
    Other(u32),
}

/// An error as the server says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ServerError {
    severity: Vec<u8>,
    /// SQLSTATE, five letters or digits.
    pub(super) code: Vec<u8>,
    message: Vec<u8>,
}

impl ServerError {
    /// `FATAL 57P03: "the database system is starting up"`.
    pub(super) fn in_words(&self) -> String {
        let word = |bytes: &[u8]| {
            let is_word = (1..=12).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_alphanumeric);
            is_word.then(|| String::from_utf8_lossy(bytes).into_owned())
        };
        let severity = word(&self.severity).unwrap_or_else(|| "ERROR".into());
        let code = word(&self.code).map(|code| format!(" {code}")).unwrap_or_default();
        format!("{severity}{code}: {}", quoted(&self.message))
    }
}

/// Asks for TLS.
pub(super) fn ssl_request() -> [u8; 8] {
    let mut message = [0; 8];
    message[..4].copy_from_slice(&8_u32.to_be_bytes());
    message[4..].copy_from_slice(&SSL_REQUEST.to_be_bytes());
    message
}

/// Begins a session.
pub(super) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut content = PROTOCOL.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        content.extend_from_slice(text.as_bytes());
        content.push(0);
    }
    content.push(0);
    [&length(content.len())[..], &content].concat()
}

/// PasswordMessage: a password, or a hash of it.
pub(super) fn password(password: &[u8]) -> Vec<u8> {
    message(b'p', &[password, &[0]].concat())
}

/// SASLInitialResponse.
pub(super) fn sasl_initial(mechanism: &str, response: &str) -> Vec<u8> {
    let length = u32::try_from(response.len()).unwrap_or(u32::MAX).to_be_bytes();
    message(b'p', &[mechanism.as_bytes(), &[0], &length, response.as_bytes()].concat())
}

/// SASLResponse.
pub(super) fn sasl_response(response: &str) -> Vec<u8> {
    message(b'p', response.as_bytes())
}

pub(super) fn query(query: &str) -> Vec<u8> {
    message(b'Q', &[query.as_bytes(), &[0]].concat())
}

/// Ends a session.
pub(super) fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &length(content.len()), content].concat()
}

fn length(content: usize) -> [u8; 4] {
    u32::try_from(content + 4).unwrap_or(u32::MAX).to_be_bytes()
}

/// Cuts what arrives into messages.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    arrived: Vec<u8>,
}

impl Arriving {
    pub(super) fn arrived(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// What has arrived of the next message.
    pub(super) fn rest(&self) -> &[u8] {
        &self.arrived
    }

    /// The next message; `None` until all of it has arrived.
    ///
    /// # Errors
    /// What has arrived is no message, in words.
    pub(super) fn next(&mut self) -> Result<Option<ServerMessage>, String> {
        let Some((header, _)) = self.arrived.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, length @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).saturating_add(1);
        let strange = |arrived: &[u8]| format!("the answer is not of PostgreSQL: {}", quoted(arrived));
        if !(HEADER..=LONGEST).contains(&length) {
            return Err(strange(&self.arrived));
        }
        let Some(content) = self.arrived.get(HEADER..length) else { return Ok(None) };
        let message = read(kind, content).ok_or_else(|| strange(&self.arrived[..length]))?;
        self.arrived.drain(..length);
        Ok(Some(message))
    }
}

fn read(kind: u8, content: &[u8]) -> Option<ServerMessage> {
    Some(match kind {
        b'R' => ServerMessage::LoginRequest(authentication(content)?),
        b'E' => ServerMessage::Error(error(content)?),
        b'Z' => ServerMessage::Ready,
        b'D' => ServerMessage::Row(row(content)?),
        // Notice, parameter, key to cancel with, version, description of a row, end of a command, nothing to do, notification.
        b'N' | b'S' | b'K' | b'v' | b'T' | b'C' | b'I' | b'A' => ServerMessage::Other,
        _ => return None,
    })
}

fn authentication(content: &[u8]) -> Option<LoginRequest> {
    let (kind, rest) = content.split_first_chunk::<4>()?;
    Some(match u32::from_be_bytes(*kind) {
        0 => LoginRequest::Ok,
        3 => LoginRequest::CleartextPassword,
        5 => LoginRequest::Md5Password(rest.try_into().ok()?),
        10 => {
            let names = rest.split(|byte| *byte == 0).take_while(|name| !name.is_empty());
            LoginRequest::Sasl(names.map(<[u8]>::to_vec).collect())
        }
        11 => LoginRequest::SaslContinue(rest.to_vec()),
        12 => LoginRequest::SaslFinal(rest.to_vec()),
        other => LoginRequest::Other(other),
    })
}

/// Fields, each a letter and a text that a zero ends, until another zero.
fn error(mut content: &[u8]) -> Option<ServerError> {
    let mut error = ServerError::default();
    loop {
        let (field, rest) = content.split_first()?;
        if *field == 0 {
            return Some(error);
        }
        let end = rest.iter().position(|byte| *byte == 0)?;
        let text = rest[..end].to_vec();
        content = &rest[end + 1..];
        match field {
            // Not translated, since version 9.6; it is behind the one that may be.
            b'S' | b'V' => error.severity = text,
            b'C' => error.code = text,
            b'M' => error.message = text,
            // Detail, hint, position, file, line: for the log of the server.
            _ => {}
        }
    }
}

/// Values, each with its length before it; −1 is NULL.
fn row(content: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let (_count, mut rest) = content.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        rest = behind;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            values.push(None);
            continue;
        };
        let (value, behind) = rest.split_at_checked(length)?;
        values.push(Some(value.to_vec()));
        rest = behind;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests;
