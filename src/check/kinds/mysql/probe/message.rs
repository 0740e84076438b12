//! The other messages, as bytes: what a client says, errors, and the answer to a question. Whatever a server sends is read without a
//! panic, and nothing is set aside for what has only been promised.

use crate::check::quoted::quoted;

pub(super) const CLIENT_LONG_PASSWORD: u32 = 1;
pub(super) const CLIENT_PROTOCOL_41: u32 = 1 << 9;
pub(super) const CLIENT_SSL: u32 = 1 << 11;
pub(super) const CLIENT_SECURE_CONNECTION: u32 = 1 << 15;
pub(super) const CLIENT_PLUGIN_AUTH: u32 = 1 << 19;
/// What we are able to do.
const CAPABILITIES: u32 =
    CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH;
/// The largest message that we could be sent.
const LARGEST: u32 = 1 << 24;
/// utf8mb4_general_ci, which every server since 2010 has.
const CHARSET: u8 = 45;

const COM_QUERY: u8 = 3;
/// COM_QUIT.
pub(super) const QUIT: [u8; 1] = [1];

/// The first byte of an answer.
pub(super) const OK: u8 = 0;
pub(super) const MORE: u8 = 1;
pub(super) const NULL: u8 = 0xfb;
pub(super) const SWITCH_OR_END: u8 = 0xfe;
pub(super) const ERROR: u8 = 0xff;

/// MessageBytes that are taken from the front; `None` where there are too few.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageBytes<'a>(pub(super) &'a [u8]);

impl<'a> MessageBytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

/// Protocol::HandshakeResponse41.
pub(super) fn login(user: &str, proof: &[u8], plugin: &[u8], has_tls: bool) -> Vec<u8> {
    let mut message = begin(has_tls);
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    // A proof has 32 bytes at most.
    message.push(u8::try_from(proof.len()).unwrap_or(u8::MAX));
    message.extend_from_slice(proof);
    message.extend_from_slice(plugin);
    message.push(0);
    message
}

/// Protocol::SSLRequest: the beginning of a login, after which TLS begins.
pub(super) fn tls_request() -> Vec<u8> {
    begin(true)
}

fn begin(has_tls: bool) -> Vec<u8> {
    let capabilities = CAPABILITIES | if has_tls { CLIENT_SSL } else { 0 };
    let mut message = capabilities.to_le_bytes().to_vec();
    message.extend_from_slice(&LARGEST.to_le_bytes());
    message.push(CHARSET);
    message.extend_from_slice(&[0; 23]);
    message
}

pub(super) fn query(text: &str) -> Vec<u8> {
    [&[COM_QUERY], text.as_bytes()].concat()
}

/// EOF_Packet, before and behind the rows.
pub(super) fn is_end(message: &[u8]) -> bool {
    message.first() == Some(&SWITCH_OR_END) && message.len() < 9
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column<'a> {
    Null,
    Text(&'a [u8]),
}

/// The only value of a row. It is short: a longer one than 250 bytes is none that is looked for.
pub(super) fn column(row: &[u8]) -> Option<Column<'_>> {
    match row.split_first()? {
        (&NULL, []) => Some(Column::Null),
        (length, text) if *length < NULL && usize::from(*length) == text.len() => Some(Column::Text(text)),
        _ => None,
    }
}

/// ERR_Packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    code: u16,
    text: Vec<u8>,
}

impl ServerError {
    /// `None`: it is something else.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut bytes = MessageBytes(message);
        if bytes.byte()? != ERROR {
            return None;
        }
        let code = bytes.u16()?;
        // The state of SQL, which says the same in five characters; it is not there before the login.
        if bytes.0.first() == Some(&b'#') {
            bytes.take(6)?;
        }
        Some(Self { code, text: bytes.0.to_vec() })
    }

    /// Whether it is about who logs in, and not about the server.
    pub(super) fn is_of_the_account(&self) -> bool {
        matches!(self.code, 1045 | 1698 | 1820 | 1862 | 3118 | 3159 | 4151)
    }

    /// What it means, and what the server says.
    pub(super) fn in_words(&self) -> String {
        let meaning = match self.code {
            1040 => "the server has too many connections",
            1203 | 1226 => "the user has too many connections",
            1045 | 1698 => "the server refuses user or password",
            1053 => "the server is shutting down",
            1129 => "the server has blocked this host after broken handshakes, until FLUSH HOSTS",
            1130 => "the server has no account for this host",
            1820 | 1862 => "the password of the user has expired",
            3032 => "the server is in offline mode",
            3118 | 4151 => "the account of the user is locked",
            3159 => "the server wants TLS",
            _ => "the server says",
        };
        format!("{meaning} ({}): {}", self.code, quoted(&self.text))
    }
}
