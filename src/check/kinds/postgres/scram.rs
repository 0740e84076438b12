//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client of PostgreSQL does it.
//!
//! ```text
//!   client                                         server
//!     │  n,,n=,r=NONCE                               │
//!     ├─────────────────────────────────────────────►│
//!     │  r=NONCE and more, s=SALT, i=ROUNDS          │
//!     │◄─────────────────────────────────────────────┤
//!     │  c=biws, r=NONCE and more, p=PROOF           │
//!     ├─────────────────────────────────────────────►│
//!     │  v=SIGNATURE: the server knows it as well    │
//!     │◄─────────────────────────────────────────────┤
//! ```
//!
//! There is no channel binding: whom we speak to is what the certificate says. The user is in the startup packet, and PostgreSQL
//! does not look at it here. The password is taken as it is written: characters that SASLprep (RFC 4013) would change, such as
//! ligatures and full-width letters, do not log in.

use std::num::NonZeroU32;
use std::sync::Mutex;

use ring::digest::{SHA256, digest};
use ring::hmac::{self, HMAC_SHA256};
use ring::pbkdf2::{PBKDF2_HMAC_SHA256, derive};

use crate::check::base64::{decode, encode};
use crate::check::password::Password;

/// Its name.
pub(super) const NAME: &str = "SCRAM-SHA-256";
/// Rounds that we do for a server, at most; PostgreSQL asks for 4096, and a tenth of a second is more than most have in time.
const MOST_ROUNDS: u32 = 200_000;
/// The longest salt, in bytes; PostgreSQL has 16.
const LONGEST_SALT: usize = 256;
/// Length of a hash.
const HASH: usize = 32;

/// What a client begins with, without the header that says that there is no channel binding.
pub(super) fn first(nonce: &str) -> String {
    format!("n,,{}", first_bare(nonce))
}

fn first_bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}

/// A number that was never used before.
///
/// # Errors
/// This host has no random numbers, in words.
pub(super) fn nonce() -> Result<String, String> {
    let random: ring::rand::Random<[u8; 18]> = ring::rand::generate(&ring::rand::SystemRandom::new())
        .map_err(|_| String::from("this host has no random numbers"))?;
    Ok(encode(&random.expose()))
}

/// What the server said first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    text: String,
    /// Ours, and what the server has put behind it.
    nonce: String,
    salt: Vec<u8>,
    rounds: NonZeroU32,
}

impl Challenge {
    /// Reads what the server said to our `nonce`.
    ///
    /// # Errors
    /// In words.
    pub(super) fn read(said: &[u8], nonce: &str) -> Result<Self, String> {
        let garbled = || format!("the server's part of {NAME} is garbled");
        let text = std::str::from_utf8(said).map_err(|_| garbled())?;
        let mut fields = text.split(',');
        let mut field =
            |name: &str| fields.next().and_then(|field| field.strip_prefix(name)).ok_or_else(garbled);
        let both = field("r=")?;
        let salt = decode(field("s=")?).filter(|salt| salt.len() <= LONGEST_SALT).ok_or_else(garbled)?;
        let rounds: NonZeroU32 = field("i=")?.parse().map_err(|_| garbled())?;
        if both.len() <= nonce.len() || !both.starts_with(nonce) {
            return Err(format!("the server answers another {NAME} exchange"));
        }
        if rounds.get() > MOST_ROUNDS {
            return Err(format!(
                "the server asks for {rounds} rounds of {NAME}, and vipcast does {MOST_ROUNDS} at most"
            ));
        }
        Ok(Self { text: text.to_owned(), nonce: both.to_owned(), salt, rounds })
    }

    /// A password made slow to guess, which takes milliseconds.
    pub(super) fn salted(&self, password: &Password) -> Salted {
        let mut key = [0; HASH];
        derive(PBKDF2_HMAC_SHA256, self.rounds, &self.salt, password.octets(), &mut key);
        Salted { password: password.clone(), salt: self.salt.clone(), rounds: self.rounds, key }
    }

    /// What we say to it, and what proves that the server knows the password as well. `nonce` is the one that it was read with.
    pub(super) fn answer(&self, salted: &Salted, nonce: &str) -> (String, Signature) {
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text);
        let client_key = sign(&salted.key, b"Client Key");
        let stored_key = digest(&SHA256, client_key.as_ref());
        // Base64 of `n,,`.
        let without_proof = format!("c=biws,r={}", self.nonce);
        let exchange = format!("{},{},{without_proof}", first_bare(nonce), self.text);
        let signature = sign(stored_key.as_ref(), exchange.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::Key::new(HMAC_SHA256, sign(&salted.key, b"Server Key").as_ref());
        (format!("{without_proof},p={}", encode(&proof)), Signature { server_key, exchange })
    }
}

/// What a server that knows the password has to say at the end.
#[derive(Debug)]
pub(super) struct Signature {
    server_key: hmac::Key,
    exchange: String,
}

impl Signature {
    /// Whether this is it.
    pub(super) fn is(&self, said: &[u8]) -> bool {
        let signature = std::str::from_utf8(said).ok().and_then(|text| decode(text.strip_prefix("v=")?));
        signature.is_some_and(|said| hmac::verify(&self.server_key, self.exchange.as_bytes(), &said).is_ok())
    }
}

/// A salted password, for this salt and so many rounds.
#[derive(Clone)]
pub(super) struct Salted {
    password: Password,
    salt: Vec<u8>,
    rounds: NonZeroU32,
    key: [u8; HASH],
}

impl std::fmt::Debug for Salted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salted(…)")
    }
}

/// The last salted password: the salt of a user stays the same until the password changes.
#[derive(Debug, Default)]
pub(super) struct LastSalted(Mutex<Option<Salted>>);

impl LastSalted {
    /// The one for this challenge and password, if it is the last one.
    pub(super) fn get(&self, challenge: &Challenge, password: &Password) -> Option<Salted> {
        let last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fits = |last: &&Salted| {
            (&last.password, &last.salt, last.rounds) == (password, &challenge.salt, challenge.rounds)
        };
        last.as_ref().filter(fits).cloned()
    }

    pub(super) fn keep(&self, salted: Salted) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(salted);
    }
}

#[cfg(test)]
mod tests;
