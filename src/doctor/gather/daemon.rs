//! The daemon, by its control socket.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use crate::control::client::{Client, ClientError};
use crate::control::routes;
use crate::doctor::gathered::Daemon;

/// The answer of the daemon, and the process behind the socket.
pub(super) async fn ask(socket: &Path, patience: Duration) -> (Daemon, Option<u32>) {
    let client = Client::new(socket.to_owned(), patience);
    let (answer, pid) =
        tokio::join!(client.call(&routes::STATUS, &()), tokio::time::timeout(patience, pid(socket)));
    let daemon = match answer {
        Ok(status) => Daemon::Answers(Box::new(status)),
        Err(ClientError::Connect { source, .. }) => {
            let kind = source.kind();
            if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&kind) {
                Daemon::Absent
            } else if kind == ErrorKind::PermissionDenied {
                Daemon::Forbidden
            } else {
                Daemon::Fails(vipcast_bgp::net::words::io_error(&source))
            }
        }
        Err(ClientError::Silent { .. }) => Daemon::Silent,
        Err(ClientError::Decode(_)) => Daemon::Incomprehensible,
        Err(error @ (ClientError::Http(_) | ClientError::Refused(_))) => Daemon::Fails(error.to_string()),
    };
    (daemon, pid.ok().flatten())
}

/// The process that listens.
async fn pid(socket: &Path) -> Option<u32> {
    let stream = UnixStream::connect(socket).await.ok()?;
    stream.peer_cred().ok()?.pid()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("vipcast-doctor-{}-{name}.sock", std::process::id()))
    }

    #[tokio::test]
    async fn an_absent_a_silent_and_a_strange_daemon_are_told_apart() {
        assert!(matches!(ask(&path("absent"), PATIENCE).await, (Daemon::Absent, None)));
        let silent = path("silent");
        let listener = UnixListener::bind(&silent).unwrap();
        let (daemon, pid) = ask(&silent, PATIENCE).await;
        assert!(matches!(daemon, Daemon::Silent) && pid == Some(std::process::id()), "{daemon:?} {pid:?}");
        drop(listener);
        std::fs::remove_file(&silent).unwrap();
        let strange = path("strange");
        let listener = UnixListener::bind(&strange).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        assert!(matches!(ask(&strange, PATIENCE).await.0, Daemon::Incomprehensible));
        std::fs::remove_file(&strange).unwrap();
    }
}
