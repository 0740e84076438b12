//! `redis`: a server answers PING, has the expected role, and hears from its master.

mod probe;
mod read;

use std::sync::Arc;
use std::time::Duration;

use super::tls;
use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::password::{KnownPassword, PasswordSource};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::section;
use crate::config::keys::shape::{
    NAME, PATH, SECONDS, SERVER, SOME_TEXT, SWITCH, either, number, section, word, words,
};

/// `role`.
const ROLES: [(&str, Option<WantedRole>); 3] =
    [("any", None), ("master", Some(WantedRole::Master)), ("replica", Some(WantedRole::Replica))];

section! {
    KEYS("redis", "under `redis`").only_one_of(&[&["password", "password_file", "password_credential"]]).instead(&[("port", ADDRESS), ("database", DATABASE), ("db", DATABASE)]) {
        /// the server to connect to, as for [`tcp`](#tcp)
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "server", "url", "uri"]);
        /// the expected answer to `ROLE`; with `any` the check does not ask
        role: word(&words(&ROLES)) =>
            default("`any`") called(&["state", "expect", "mode"]);
        /// whether the link of a replica to its master must be up; a master passes
        replication: SWITCH =>
            default("true with `max_lag`, else false") called(&["link", "master_link", "replication_link"]);
        /// how long ago a replica may have heard from its master (`INFO replication`, whole seconds); an idle master says something
        /// every 10 s (`repl-ping-replica-period`)
        max_lag: SECONDS =>
            written("duration, 1s or more") default("any") called(&["lag", "max_delay", "max_age"]);
        /// the user of the ACL; with a password alone, it is that of `requirepass`
        username: SOME_TEXT => default("`default`") called(&["user", "login", "auth_user"]);
        /// sent before everything else; refused by `check` and a reload where everyone may read the configuration file
        password: SOME_TEXT => called(&["pass", "auth", "requirepass", "auth_pass", "secret"]);
        /// a file that has it in its only line, and that others may neither read nor write; read again after a failure
        password_file: PATH => called(&["auth_file", "secret_file"]);
        /// the same from `LoadCredential=name:…` of the systemd unit
        password_credential: NAME => written("name");
        /// TLS, with the keys of [`tls`](#tls) but for the first three
        tls: either(&[SWITCH, section(&tls::OPTIONS)]) => written("true, false or a map") default("false");
        /// begin the connection with the PROXY protocol, for a proxy in front of the server
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

const ADDRESS: &str = "host and port go together: `address: \"127.0.0.1:6379\"`";
const DATABASE: &str = "PING and ROLE do not depend on a database";

pub(super) static KIND: Kind = kind! {
    /// a Redis or Valkey server answers, with the right role
    redis: either(&[SERVER, section(&KEYS)]), [&KEYS], read::read
};

/// `redis: host:port`, or `redis: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedisCheck {
    /// The server to connect to.
    pub target: Target,
    pub dial: Dial,
    /// The host of the address, as written in the configuration.
    pub host: String,
    /// The expected role; `None` for any.
    pub role: Option<WantedRole>,
    /// Whether the link of a replica to its master must be up.
    pub replication: bool,
    /// How long ago a replica may have heard from its master; never without `replication`.
    pub max_lag: Option<Duration>,
    /// Never without a password.
    pub username: Option<String>,
    /// The source of the password.
    pub password: Option<PasswordSource>,
    /// `Some` for TLS.
    pub tls: Option<TlsOptions>,
}

/// `role:` of a redis check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WantedRole {
    /// It takes writes.
    Master,
    /// It follows a master.
    Replica,
}

impl Definition for RedisCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::of(&self.target.host, &self.dial)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Tcp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Box::new(RedisProbe {
            trust: Trust::new(self.tls.as_ref(), &shared.system_trust),
            password: KnownPassword::new(self.password.as_ref()),
            last_read: LastRead::default(),
            check: self,
        })
    }
}

/// A check of this kind, with the state of its probes.
#[derive(Debug)]
struct RedisProbe {
    check: Arc<RedisCheck>,
    trust: Trust,
    password: KnownPassword,
    last_read: LastRead,
}

impl Probe for RedisProbe {
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
