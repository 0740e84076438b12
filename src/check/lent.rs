//! The means of checks for hooks: programs run and killed like those of `exec`, requests like those of `http`. A hook has
//! means of its own ([`Lent`]), so that hooks take nothing from checks.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use vipcast_node::model::Via;
use vipcast_node::names::CheckName;

use super::context::ProbeContext;
use super::file_reader::LastRead;
use super::kinds::exec::{self, ExecCheck, LastRun, Means, Slots};
use super::kinds::http::{self, HttpCheck};
use super::limit::Limit;
use super::owners::Owner;
use super::password::{KnownPassword, PasswordSource};
use super::permit::{Queue, Waiting};
use super::shared::{Drained, Shared};
use super::tls::Trust;

/// The means that hooks share.
#[derive(Debug)]
pub(crate) struct Lent {
    shared: Shared,
    slots: Slots,
}

/// Runs one program, again and again.
#[derive(Debug)]
pub(crate) struct ProgramRunner {
    program: ExecCheck,
    owner: String,
    last: LastRun,
}

/// Posts to one URL, again and again.
#[derive(Debug)]
pub(crate) struct Poster {
    http: HttpCheck,
    secret: KnownPassword,
    owner: Owner,
    trust: Trust,
    last_read: LastRead,
}

/// A request to post.
#[derive(Debug)]
pub(crate) struct Post {
    /// Besides those of the configuration.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: String,
}

impl Lent {
    /// The means of this host; the second ends when the last program has gone.
    pub(crate) fn new() -> (Self, Drained) {
        let (shared, drained) = Shared::new();
        let slots = Slots::new(shared.alive.clone());
        (Self { shared, slots }, drained)
    }
}

impl ProgramRunner {
    /// For the hook `owner`.
    pub(crate) fn new(program: ExecCheck, owner: &str) -> Self {
        Self { program, owner: owner.to_owned(), last: LastRun::default() }
    }

    /// Runs the program with these variables, and `input` on its standard input. Dropping it kills the process group.
    ///
    /// # Errors
    /// In words: it cannot be run, fails, or takes longer than `timeout`.
    pub(crate) async fn run(
        &self,
        lent: &Lent,
        variables: Vec<(&'static str, String)>,
        input: Bytes,
        timeout: Duration,
    ) -> Result<String, String> {
        let means = Means {
            slots: &lent.slots,
            file_reader: &lent.shared.file_reader,
            owner: &self.owner,
            last_run: &self.last,
        };
        let mut command = exec::command(&self.program);
        command.envs(variables);
        let mut queue = Queue::new(&Waiting::default());
        exec::run(&self.program, (command, Some(input)), timeout, means, &mut queue).await
    }
}

impl Poster {
    /// For the hook `owner`.
    pub(crate) fn new(http: HttpCheck, secret: Option<&PasswordSource>, owner: &str, lent: &Lent) -> Self {
        let trust = Trust::new(Some(&http.tls), &lent.shared.system_trust);
        Self {
            http,
            secret: KnownPassword::new(secret),
            owner: Owner::nobody(&CheckName::from(owner)),
            trust,
            last_read: LastRead::default(),
        }
    }

    /// Posts what `make` makes with the secret, and returns the status of the answer, whose body is not read. Dropping it
    /// closes the connection.
    ///
    /// # Errors
    /// In words: no answer within `timeout`, or no request.
    pub(crate) async fn post(
        &self,
        lent: &Lent,
        timeout: Duration,
        make: impl FnOnce(Option<&[u8]>) -> Result<Post, String>,
    ) -> Result<StatusCode, String> {
        let Lent { shared, .. } = lent;
        let (limit, via, remark) = (Limit::starting_now(timeout), Via::default(), OnceLock::new());
        let context = ProbeContext {
            limit: limit.watched(),
            resolver: &shared.resolver,
            via: &via,
            owner: &self.owner,
            here: &shared.here,
            remark: &remark,
            file_reader: &shared.file_reader,
            last_read: &self.last_read,
        };
        let posting = async {
            let secret = self.secret.get(context).await?;
            let Post { headers, body } = make(secret.as_ref().map(|secret| secret.octets()))?;
            let mut http = self.http.clone();
            http.headers.extend(headers);
            http.request_body = body;
            http::status(&http, context, &self.trust).await
        };
        limit.within(posting).await.unwrap_or_else(|| Err(limit.exceeded("no answer")))
    }

    /// Reads secret and certificates anew next time: new ones may be there.
    pub(crate) fn renew(&self) {
        self.secret.renew();
        self.trust.renew_identity();
    }
}
