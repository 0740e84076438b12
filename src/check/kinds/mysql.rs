//! `mysql`: a server of MySQL or MariaDB greets, takes a user, and is writable or not.
//!
//! The few messages that this takes are written by hand: a driver (`mysql_async`, `sqlx`) is 60 to 100 crates more, opens sessions
//! with questions of its own, and decides by itself when a handshake is broken off, which servers count against the host.

mod probe;
mod read;

use std::sync::Arc;

use super::tls;
use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::password::{KnownPassword, PasswordSource};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::section;
use crate::config::keys::shape::{NAME, PATH, SERVER, SOME_TEXT, SWITCH, either, number, section};

section! {
    KEYS("mysql", "under `mysql`").only_one_of(&[&["password", "password_file", "password_credential"]]).with(&[("read_only", "user"), ("password", "user"), ("password_file", "user"), ("password_credential", "user")]).instead(&[("port", ADDRESS), ("database", DATABASE), ("db", DATABASE), ("query", QUERY)]) {
        /// the server to connect to, as for [`tcp`](#tcp)
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "server", "url", "socket"]);
        /// the user of the login; without a user the greeting of the server is enough
        user: SOME_TEXT => default("none") called(&["username", "login", "mysql_check_user"]);
        /// the password of the user; refused by `check` and a reload where everyone may read the configuration file
        password: SOME_TEXT => default("none") called(&["pass", "auth", "passwd", "secret"]);
        /// a file that has it in its only line, and that others may neither read nor write; read again after a failure
        password_file: PATH => called(&["defaults_file", "auth_file", "secret_file"]);
        /// the same from `LoadCredential=name:…` of the systemd unit
        password_credential: NAME => written("name");
        /// the expected value of `@@global.read_only`; needs a `user`
        read_only: SWITCH => default("either") called(&["role", "writable", "readonly", "super_read_only"]);
        /// TLS, with the keys of [`tls`](#tls) but for the first three; a server without it fails
        tls: either(&[SWITCH, section(&tls::OPTIONS)]) =>
            written("true, false or a map") default("false") called(&["ssl", "ssl_mode"]);
        /// begin the connection with the PROXY protocol (`proxy_protocol_networks` of MariaDB)
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

const ADDRESS: &str = "host and port go together: `address: \"127.0.0.1:3306\"`";
const DATABASE: &str = "the check logs in to the server, not to a database";
const QUERY: &str =
    "`read_only` is asked for by its key; an `exec` check can ask anything with the program `mysql`";

pub(super) static KIND: Kind = kind! {
    /// a MySQL or MariaDB server takes connections, and is writable or not
    mysql: either(&[SERVER, section(&KEYS)]), [&KEYS], read::read
};

/// `mysql: host:port`, or `mysql: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MysqlCheck {
    /// The server to connect to.
    pub target: Target,
    pub dial: Dial,
    /// The host of the address, as written in the configuration.
    pub host: String,
    /// The user of the login; without one the greeting is enough.
    pub user: Option<String>,
    /// The source of the password; never without a user.
    pub password: Option<PasswordSource>,
    /// The expected value of `@@global.read_only`; never without a user.
    pub read_only: Option<bool>,
    /// `Some` for TLS.
    pub tls: Option<TlsOptions>,
}

impl Definition for MysqlCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::of(&self.target.host, &self.dial)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Tcp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Box::new(MysqlProbe {
            trust: Trust::new(self.tls.as_ref(), &shared.system_trust),
            password: KnownPassword::new(self.password.as_ref()),
            last_read: LastRead::default(),
            check: self,
        })
    }
}

/// A check of this kind, with the state of its probes.
#[derive(Debug)]
struct MysqlProbe {
    check: Arc<MysqlCheck>,
    trust: Trust,
    password: KnownPassword,
    last_read: LastRead,
}

impl Probe for MysqlProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let permit = attempt.permit().await;
            let context = permit.context(&self.last_read);
            permit.within(Box::pin(probe::probe(&self.check, context, &self.trust, &self.password))).await
        })
    }

    fn failed(&mut self) {
        self.trust.renew_identity();
        self.password.renew();
    }
}
