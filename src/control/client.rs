//! The client: one request over the control socket.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::api::Refusal;
use super::caller;
use super::routes::{self, Ask, Route};
pub use super::sse::Item;
use super::sse::Parser;

/// The default time-out of an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a daemon with too many clients is asked again.
const NO_ROOM: Duration = Duration::from_millis(50);

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens.
    #[error("cannot reach the daemon on {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The kernel's error.
        #[source]
        source: io::Error,
    },
    /// The daemon listens, but does not answer.
    #[error("vipcast does not answer on {}: no answer within {within:?}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// The time-out.
        within: Duration,
        /// Whether the request was a command.
        command: bool,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("no answer from the daemon")]
    Http(#[from] hyper::Error),
    /// The answer is not one of this version.
    #[error("cannot understand the daemon's answer; are both the same version?")]
    Decode(#[from] serde_json::Error),
    /// The daemon refused.
    #[error("{}", .0.error)]
    Refused(Refusal),
}

impl ClientError {
    /// The hint for the operator.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root, or set `control: {group: …}` and join that group".to_owned())
            }
            Self::Connect { .. } => {
                Some("is `vipcast run` running? `--socket` or VIPCAST_SOCKET names another socket".to_owned())
            }
            Self::Silent { command, .. } => {
                let later = if *command { "; it does not carry the command out later" } else { "" };
                Some(format!(
                    "is it stopped (`T`) or does it wait (`D`)? `ps -C vipcast -o pid,stat,wchan` and its log say so{later}"
                ))
            }
            Self::Refused(refusal) => refusal.hint.clone(),
            Self::Http(_) | Self::Decode(_) => None,
        }
    }
}

/// A client of a daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

impl Client {
    /// A client with this time-out for each answer.
    pub fn new(socket: PathBuf, patience: Duration) -> Self {
        Self { socket, patience }
    }

    /// Sends a request to a route, and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<Q: Ask, A: DeserializeOwned>(
        &self,
        route: &Route<Q, A>,
        request: &Q,
    ) -> Result<A, ClientError> {
        let (parameter, body) = request.write()?;
        let method = match route.method() {
            routes::Method::Get => Method::GET,
            routes::Method::Post => Method::POST,
        };
        let (path, body) = (route.target(&parameter), Bytes::from(body));
        let silent = || ClientError::Silent {
            path: self.socket.clone(),
            within: self.patience,
            command: method != Method::GET,
        };
        let until = Instant::now() + self.patience;
        loop {
            let asked = timeout_at(until, self.ask(&method, &path, &body)).await;
            let (status, body) = asked.map_err(|_over| silent())??;
            if status == StatusCode::OK {
                return Ok(serde_json::from_slice(&body)?);
            }
            // Other clients have all its connections at the moment.
            if status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() + NO_ROOM >= until {
                return Err(refused(&body));
            }
            sleep(NO_ROOM).await;
        }
    }

    /// Follows the stream of events behind the event with this id, until the daemon ends it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn follow(
        &self,
        after: Option<&str>,
        mut take: impl FnMut(Item) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let (mut sender, _connection) = self.open().await?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = routes::FOLLOW.target("").parse().unwrap_or_default();
        request.headers_mut().insert(hyper::header::HOST, HeaderValue::from_static("vipcast"));
        if let Some(id) = after.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert("last-event-id", id);
        }
        let response = sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        if status != StatusCode::OK {
            return Err(refused(&body.collect().await?.to_bytes()));
        }
        let mut parser = Parser::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            for item in parser.read(&data)? {
                if take(item).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<(SendRequest<Full<Bytes>>, AbortOnDrop), ClientError> {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await?)).await?;
        Ok((sender, AbortOnDrop(tokio::spawn(connection))))
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let (mut sender, connection) = self.open().await?;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(hyper::header::HOST, HeaderValue::from_static("vipcast"));
        if let Some(operator) = operator().and_then(|name| HeaderValue::from_str(&name).ok()) {
            request.headers_mut().insert(caller::CLAIM, operator);
        }
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        drop(connection);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                // A daemon that stands still accepts nothing, and its queue is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(NO_ROOM).await,
                Err(source) => return Err(ClientError::Connect { path: self.socket.clone(), source }),
            }
        }
    }
}

/// A connection must not outlive its request: the daemon would take it for a waiting client.
struct AbortOnDrop(JoinHandle<Result<(), hyper::Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The claim of root: the person behind sudo or doas. The daemon uses it only if the kernel knows no login.
fn operator() -> Option<String> {
    let is_root = nix::unistd::geteuid().is_root();
    let named = ["SUDO_USER", "DOAS_USER"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| is_root && !name.is_empty())
}

fn refused(body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(refusal) => ClientError::Refused(refusal),
        Err(error) => ClientError::Decode(error),
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Socket, Type};

    use super::*;

    #[tokio::test]
    async fn a_daemon_that_stands_still_is_given_up_also_when_others_fill_its_queue() {
        let path = std::env::temp_dir().join(format!("vipcast-client-{}.sock", std::process::id()));
        drop(std::fs::remove_file(&path));
        let daemon = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        daemon.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        daemon.listen(1).unwrap();
        let client = Client::new(path.clone(), Duration::from_millis(30));
        let silent = client.call(&routes::STATUS, &()).await.unwrap_err();
        assert_eq!(
            silent.to_string(),
            format!("vipcast does not answer on {}: no answer within 30ms", path.display())
        );
        let mut others = Vec::new();
        while let Ok(other) = UnixStream::connect(&path).await {
            others.push(other);
        }
        let silent = client.call(&routes::RELOAD, &()).await.unwrap_err();
        let hint = silent.hint().unwrap_or_default();
        assert!(hint.ends_with("; it does not carry the command out later"), "{silent}: {hint}");
        std::fs::remove_file(path).unwrap();
    }
}
