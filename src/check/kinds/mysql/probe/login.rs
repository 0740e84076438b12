//! A login, and nothing but its decisions: what a server says goes in, what to send comes out.
//!
//! | plugin of the account | |
//! | --- | --- |
//! | `mysql_native_password` | SHA-1 of the password and the scramble; every MariaDB, MySQL to 8 |
//! | `caching_sha2_password` | the same with SHA-256, and the password itself where the server does not remember it: over TLS or a socket only |
//! | any other | we give up in words |
//!
//! The password itself is never sent over a connection that can be read. MySQL would encrypt it with the RSA key of the server, which
//! anybody in between can replace: that is left out, and so is `client_ed25519`, whose keys ring does not make.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::greeting::Greeting;
use super::message::{self, MORE, MessageBytes, OK, SWITCH_OR_END, ServerError};
use crate::check::quoted::quoted;

/// Of the scramble, in bytes; a NUL may follow.
const SCRAMBLE: usize = 20;
/// What `caching_sha2_password` says more: the server remembers the password, or wants it in full.
const REMEMBERED: u8 = 3;
const IN_FULL: u8 = 4;

/// Who logs in.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) password: Option<&'a [u8]>,
    /// Nobody in between can read what is sent.
    pub(super) is_secret: bool,
}

/// A login under way.
pub(super) struct LoggingIn<'a> {
    login: Login<'a>,
    plugin: Option<Plugin>,
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plugin {
    Native,
    CachingSha2,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LoginStep {
    Send(Vec<u8>),
    Wait,
    In,
    Refused(ServerError),
    /// Send this, which the server refuses, so that it sees the end of the handshake; and why.
    GiveUp(Vec<u8>, String),
    Strange,
}

impl Plugin {
    fn named(name: &[u8]) -> Option<Self> {
        [Self::Native, Self::CachingSha2].into_iter().find(|plugin| plugin.name() == name)
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Native => b"mysql_native_password",
            Self::CachingSha2 => b"caching_sha2_password",
        }
    }

    fn proof(self, password: Option<&[u8]>, scramble: &[u8]) -> Vec<u8> {
        let scramble = &scramble[..scramble.len().min(SCRAMBLE)];
        match (self, password) {
            (Self::Native, None) => Vec::new(),
            // That is what clients send for none.
            (Self::CachingSha2, None) => vec![0],
            (Self::Native, Some(password)) => native(password, scramble),
            (Self::CachingSha2, Some(password)) => caching_sha2(password, scramble),
        }
    }
}

impl<'a> Login<'a> {
    /// The first message, with the proof that the server would like, if we know how.
    pub(super) fn begin(self, greeting: &Greeting, has_tls: bool) -> (LoggingIn<'a>, Vec<u8>) {
        let plugin = Plugin::named(&greeting.plugin).unwrap_or(Plugin::Native);
        let proof = match (plugin, self.password) {
            // In a login, none is written as none.
            (Plugin::Native | Plugin::CachingSha2, None) => Vec::new(),
            (plugin, password) => plugin.proof(password, &greeting.scramble),
        };
        let message = message::login(self.user, &proof, plugin.name(), has_tls);
        (LoggingIn { login: self, plugin: Some(plugin) }, message)
    }
}

impl LoggingIn<'_> {
    /// What follows from a message of the server.
    pub(super) fn next(&mut self, message: &[u8]) -> LoginStep {
        if let Some(error) = ServerError::read(message) {
            return LoginStep::Refused(error);
        }
        match message.split_first() {
            Some((&OK, _)) => LoginStep::In,
            Some((&MORE, more)) => self.more(more),
            Some((&SWITCH_OR_END, [])) => {
                let why = "the account has a password of before MySQL 4.1, which is not supported";
                LoginStep::GiveUp(Vec::new(), why.into())
            }
            Some((&SWITCH_OR_END, rest)) => self.switch(rest),
            Some(_) | None => LoginStep::Strange,
        }
    }

    /// AuthSwitchRequest: the account has another plugin.
    fn switch(&mut self, rest: &[u8]) -> LoginStep {
        /// What `client_ed25519` is refused for as a wrong proof; anything shorter is a broken handshake.
        const SIGNATURE: usize = 64;
        let mut bytes = MessageBytes(rest);
        let Some(name) = bytes.until_nul() else { return LoginStep::Strange };
        self.plugin = Plugin::named(name);
        match self.plugin {
            Some(plugin) => LoginStep::Send(plugin.proof(self.login.password, bytes.0)),
            None => {
                let farewell = if name == b"client_ed25519" { vec![0; SIGNATURE] } else { Vec::new() };
                let why = format!("the account logs in with {}, which is not supported", quoted(name));
                LoginStep::GiveUp(farewell, why)
            }
        }
    }

    /// AuthMoreData.
    fn more(&self, more: &[u8]) -> LoginStep {
        match (self.plugin, more, self.login.password) {
            (Some(Plugin::CachingSha2), [REMEMBERED], _) => LoginStep::Wait,
            (Some(Plugin::CachingSha2), [IN_FULL], Some(password)) if self.login.is_secret => {
                LoginStep::Send([password, &[0]].concat())
            }
            (Some(Plugin::CachingSha2), [IN_FULL], _) => {
                let why = "the server wants the password itself (caching_sha2_password), which is sent over TLS or a socket only";
                LoginStep::GiveUp(vec![0], why.into())
            }
            (Some(Plugin::CachingSha2 | Plugin::Native) | None, _, _) => LoginStep::Strange,
        }
    }
}

/// SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password))).
fn native(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let once = sha1(password);
    let stored = sha1(once.as_ref());
    xor(once.as_ref(), sha1(&[scramble, stored.as_ref()].concat()).as_ref())
}

/// SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble).
fn caching_sha2(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    let sha256 = |bytes: &[u8]| digest(&SHA256, bytes);
    let once = sha256(password);
    let stored = sha256(once.as_ref());
    xor(once.as_ref(), sha256(&[stored.as_ref(), scramble].concat()).as_ref())
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

#[cfg(test)]
mod tests;
