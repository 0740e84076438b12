//! The service: a web server on the VIP, which can be killed, and its client.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The running server. Dropping it closes everything at once, like `kill -9`.
pub(super) struct Web(JoinHandle<()>);

impl Web {
    pub(super) async fn start(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot serve on {address}"))?;
        Ok(Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            // Ends when `accept` does; the check then says what is wrong.
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(|_request| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                        b"hello from the edge\n",
                    ))))
                });
                let connection = hyper::server::conn::http1::Builder::new();
                connections.spawn(connection.serve_connection(TokioIo::new(stream), answer));
                while connections.try_join_next().is_some() {}
            }
        })))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The server's answer.
pub(super) async fn ask(address: SocketAddr) -> Result<String> {
    let stream = TcpStream::connect(address).await.context("the VIP does not answer")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        Request::get("/").header(hyper::header::HOST, address.ip().to_string()).body(Empty::<Bytes>::new())?;
    let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}
