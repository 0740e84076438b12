//! `postgres`: a PostgreSQL server accepts connections, or lets a user in and has the role that it should have.
//!
//! The few messages that this takes are written and read here ([`message`], [`scram`], [`md5`]): the crate `postgres-protocol` would
//! be 24 crates more, for another HMAC and for types of values that no check reads. The arithmetic of SCRAM is that of `ring`, which
//! rustls brings along anyway.

mod connection;
mod login;
mod md5;
mod message;
mod probe;
mod read;
mod scram;

use std::sync::Arc;

use self::scram::LastSalted;
use super::tls;
use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::password::{KnownPassword, PasswordSource};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::section;
use crate::config::keys::shape::{NAME, PATH, SERVER, SOME_TEXT, SWITCH, either, section, word, words};

/// `role`.
const ROLES: [(&str, Option<PostgresRole>); 3] =
    [("any", None), ("primary", Some(PostgresRole::Primary)), ("replica", Some(PostgresRole::Replica))];

section! {
    KEYS("postgres", "under `postgres`")
        .only_one_of(&[&["password", "password_file", "password_credential"]])
        .with(&[
            ("database", "user"),
            ("role", "user"),
            ("password", "user"),
            ("password_file", "user"),
            ("password_credential", "user")
        ])
    {
        /// the server: host and port, or its socket: `unix:/run/postgresql/.s.PGSQL.5432`
        address: SERVER =>
            required() written("`host:port`") called(&["host", "server", "dsn", "url", "conninfo", "connection_string"]);
        /// the user to log in as; without one the check asks only whether the server accepts connections
        user: SOME_TEXT => written("user name") default("no login") called(&["username", "login"]);
        /// the database to log in to
        database: SOME_TEXT => written("name") default("postgres") called(&["dbname", "db"]);
        /// the password; refused by `check` and a reload where everyone may read the file
        password: SOME_TEXT;
        /// a file with the password as its only line, which other users must not be able to read
        password_file: PATH => called(&["passfile", "pgpass"]);
        /// the systemd credential with the password (`LoadCredential=` of the unit)
        password_credential: NAME => written("name");
        /// the role that the server must have: a `replica` is in recovery, and a `primary` is not
        role: word(&words(&ROLES)) =>
            default("`any`") called(&["state", "recovery", "target_session_attrs"]);
        /// TLS, with the keys of [`tls`](#tls) but for the first three
        tls: either(&[SWITCH, section(&tls::OPTIONS)]) =>
            written("true, false or a map") default("false") called(&["ssl", "sslmode"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a PostgreSQL server accepts connections, or is the primary or a replica
    postgres: either(&[SERVER, section(&KEYS)]), [&KEYS], read::read
};

/// `postgres: host:port`, or `postgres: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresCheck {
    /// The server.
    pub target: Target,
    /// How it is reached.
    pub dial: Dial,
    /// The host of the address as it is written, for the certificate.
    pub host: String,
    /// `None`: nobody logs in.
    pub login: Option<PostgresLogin>,
    /// `Some` for TLS.
    pub tls: Option<TlsOptions>,
}

/// How a check logs in, and what it looks at then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresLogin {
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password, where there is one.
    pub password: Option<PasswordSource>,
    /// The role that the server must have; `None`: any.
    pub role: Option<PostgresRole>,
}

/// What a server is to its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostgresRole {
    /// It takes writes.
    Primary,
    /// It is in recovery, and follows a primary or an archive.
    Replica,
}

impl Definition for PostgresCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::of(&self.target.host, &self.dial)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Tcp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Box::new(PostgresProbe {
            trust: Trust::new(self.tls.as_ref(), &shared.system_trust),
            last_read: LastRead::default(),
            known: Known::new(self.login.as_ref()),
            check: self,
        })
    }
}

/// What is kept from one probe to the next to log in with.
#[derive(Debug)]
struct Known {
    password: KnownPassword,
    salted: LastSalted,
}

impl Known {
    fn new(login: Option<&PostgresLogin>) -> Self {
        let source = login.and_then(|login| login.password.as_ref());
        Self { password: KnownPassword::new(source), salted: LastSalted::default() }
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct PostgresProbe {
    check: Arc<PostgresCheck>,
    trust: Trust,
    last_read: LastRead,
    known: Known,
}

impl Probe for PostgresProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let Self { check, trust, last_read, known } = self;
            let permit = attempt.permit().await;
            permit.within(Box::pin(probe::probe(check, permit.context(last_read), trust, known))).await
        })
    }

    fn failed(&mut self) {
        self.trust.renew_identity();
        self.known.password.renew();
    }
}
