//! A graceful restart (RFC 4724) from the outside: the program that will follow is tried out first, and takes the place
//! of this process, with its id, by `execve`. Why so: `docs/adr/0003`.
//!
//! ```text
//!  restart --graceful ─► rehearse: `vipcast check` of the program on disk ─► leave a note ─► answer
//!    ─► drop everything: sockets close with no NOTIFICATION, addresses stay ─► exec
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use tokio::sync::oneshot;

use crate::control::api::Refusal;

/// What comes of trying out the program that is to follow.
pub type Rehearsal = oneshot::Receiver<Result<(), Refusal>>;

/// Runs the program that would follow with `check`, on a thread of its own: it may be another version, which reads the
/// configuration differently.
pub fn rehearse(config: &Path) -> Rehearsal {
    let (sender, receiver) = oneshot::channel();
    let config = config.to_owned();
    let rehearsal = thread::Builder::new().name("rehearsal".to_owned());
    // Whether the thread could not be made or has no result to send: the receiver learns that it is gone.
    drop(rehearsal.spawn(move || drop(sender.send(check(&config)))));
    receiver
}

fn check(config: &Path) -> Result<(), Refusal> {
    let program = program();
    let output = Command::new(&program).arg("check").arg(config).stdin(Stdio::null()).output();
    match output {
        Err(error) => Err(Refusal {
            error: format!("cannot run {}: {error}", program.display()),
            hint: Some("nothing was changed; is the new program in its place?".to_owned()),
        }),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Refusal {
            error: format!(
                "{} does not accept the configuration ({}):\n{}",
                program.display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim_end()
            ),
            hint: Some("nothing was changed; mend it and try again".to_owned()),
        }),
    }
}

/// Replaces this process. Returns only when that fails.
pub fn exec() -> io::Error {
    Command::new(program()).args(std::env::args_os().skip(1)).exec()
}

/// What this process was started as, and not the file that it was then: an upgrade has put another in its place.
fn program() -> PathBuf {
    let name = std::env::args_os().next().unwrap_or_else(|| OsString::from("vipcast"));
    PathBuf::from(name)
}
