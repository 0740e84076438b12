//! Finds the control socket of the daemon for a command, from the configuration file.

use std::path::{Path, PathBuf};

use super::DEFAULT_SOCKET;
use super::diagnostic::Report;
use super::read::{tree, value};
use super::variables::Variables;

/// The control socket of the daemon, from its configuration file; other errors in the file do not matter. The default
/// if the file cannot be read or names none. The default too if only the default exists: a running daemon keeps the
/// socket from its start.
pub fn control_socket(path: &Path) -> PathBuf {
    let default = PathBuf::from(DEFAULT_SOCKET);
    let named =
        super::read_bytes(path).ok().and_then(|(bytes, _)| named_socket(&String::from_utf8(bytes).ok()?));
    match named {
        Some(named) if named.exists() || !default.exists() => named,
        Some(_) | None => default,
    }
}

fn named_socket(text: &str) -> Option<PathBuf> {
    // A file with ten thousand services takes a moment to parse, and most do not name one.
    if !text.contains("socket") {
        return None;
    }
    let mut report = Report::default();
    let file = super::add_text("", text, &mut report)?;
    let root = tree::parse(file, &Variables::of_process(), &mut report)?;
    let control = root.entries().iter().find(|entry| entry.key == "control")?;
    let socket = control.value.entries().iter().find(|entry| entry.key == "socket")?;
    value::absolute_path(&socket.value, socket.key_span, &mut report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_finds_the_socket_that_the_configuration_names_whatever_else_is_wrong_with_it() {
        let table = [
            ("control: {socket: /run/x.sock}\n", Some("/run/x.sock")),
            (
                "{\"control\": {\"socket\": \"/run/x.sock\", \"group\": \"nonesuch\"}, \"peer\": 7}",
                Some("/run/x.sock"),
            ),
            (
                "local_as: many\ncontrol:\n  sockets: /run/y.sock\n  socket: '/run/x.sock'\n",
                Some("/run/x.sock"),
            ),
            ("socket: /run/x.sock\n", None),
            ("control: {socket: x.sock}\n", None),
            ("control: /run/socket\n", None),
            ("- control: {socket: /run/x.sock}\n", None),
            ("control: {socket: [/run/x.sock\n", None),
            ("", None),
        ];
        for (text, socket) in table {
            assert_eq!(named_socket(text), socket.map(Into::into), "{text}");
        }
        assert_eq!(control_socket(Path::new("/nonesuch")), Path::new(DEFAULT_SOCKET));
    }
}
