//! The client: one request over the control socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::Refusal;
use super::caller;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach the daemon on {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("no answer from the daemon")]
    Http(#[from] hyper::Error),
    /// What came is not what this version expects.
    #[error("cannot understand the daemon's answer; are both the same version?")]
    Decode(#[from] serde_json::Error),
    /// The daemon says no.
    #[error("{}", .0.error)]
    Refused(Refusal),
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root, or set `control: {group: …}` and join that group".to_owned())
            }
            Self::Connect { .. } => {
                Some("is `vipcast run` running? `--socket` or VIPCAST_SOCKET names another socket".to_owned())
            }
            Self::Refused(refusal) => refusal.hint.clone(),
            Self::Http(_) | Self::Decode(_) => None,
        }
    }
}

/// Asks for `path`.
///
/// # Errors
/// See [`ClientError`].
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    call(socket, Method::GET, path, Bytes::new()).await
}

/// Sends `body` to `path`.
///
/// # Errors
/// See [`ClientError`].
pub async fn post<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
) -> Result<T, ClientError> {
    call(socket, Method::POST, path, serde_json::to_vec(body)?.into()).await
}

async fn call<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| ClientError::Connect { path: socket.to_owned(), source })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("vipcast"));
    if let Some(operator) = operator().and_then(|name| hyper::header::HeaderValue::from_str(&name).ok()) {
        request.headers_mut().insert(caller::CLAIM, operator);
    }
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    if status == StatusCode::OK { Ok(serde_json::from_slice(&body)?) } else { Err(refused(&body)) }
}

/// Whom root asks for: the person behind sudo or doas. The daemon believes it only where the kernel knows no login.
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
