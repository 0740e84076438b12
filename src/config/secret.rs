//! Secrets: keys that both ends of a session share, from a file, from a systemd credential, or from the configuration
//! itself, and the files of private keys. They are never shown: a diagnostic names the file, or has stars where the key stands.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vipcast_bgp::net::{Secret, SecretError};

use super::checks::io_cause;
use super::diagnostic::{Diagnostic, Report, Span};
use super::read::{expected, short};
use super::tree::{Node, Value};
use super::{file, value};

/// What others may do with a file: read or write it.
const OTHERS: u32 = 0o006;
/// Read at most of a password, in bytes; longer than any.
const LARGEST: u64 = 4096;
/// Read at most of a private key, in bytes; its certificates may stand beside it.
const LARGEST_KEY: u64 = 256 * 1024;
/// Where systemd says which directory has the credentials of the unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// `password: …`. The file that it stands in is then a secret itself.
pub(super) fn written(node: &Node, key: Span, report: &mut Report) -> Option<Secret> {
    report.redact(node.span);
    let Value::Scalar(text) = &node.value else {
        expected(node, key, "a password", report);
        return None;
    };
    if report.is_exposed(key.file) {
        report
            .error(key, "there is a password in this file, and everyone may read it")
            .hint("`chmod o-rw` the file, or write the password to another and name it with `password_file`");
        return None;
    }
    secret(text.as_bytes(), node.span, "the password", report)
}

/// `password_file: /path`.
pub(super) fn file(node: &Node, key: Span, report: &mut Report) -> Option<Secret> {
    let path = value::absolute_path(node, key, report)?;
    from_file(&path, node.span, report)
}

/// `password_credential: name`: what `LoadCredential=name:…` of the systemd unit provides.
pub(super) fn credential(node: &Node, key: Span, report: &mut Report) -> Option<Secret> {
    const WHAT: &str = "the name of a systemd credential";
    let name = value::text(node, key, WHAT, report)?;
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        expected(node, key, WHAT, report).hint("the name that stands before the colon of `LoadCredential=`");
        return None;
    }
    let Some(directory) = std::env::var_os(CREDENTIALS).filter(|directory| !directory.is_empty()) else {
        report
            .error(node.span, format!("there are no credentials: {CREDENTIALS} is not set"))
            .hint(format!(
                "systemd sets it with `LoadCredential={0}:/path` in the unit; to check by hand, set it to a directory \
                 with the file `{0}`",
                short(name)
            ));
        return None;
    };
    from_file(&PathBuf::from(directory).join(name), node.span, report)
}

/// What is in the file of a private key, in whatever form.
pub(super) fn private_key(path: &Path, span: Span, report: &mut Report) -> Option<Vec<u8>> {
    read_secret(path, "private key", "replace the key", LARGEST_KEY, span, report)
}

fn from_file(path: &Path, span: Span, report: &mut Report) -> Option<Secret> {
    let mut bytes = read_secret(path, "password", "choose a new password", LARGEST, span, report)?;
    // What `echo` and editors put behind it.
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let shown = path.display();
    if bytes.contains(&b'\n') {
        report
            .error(span, format!("`{shown}` has more than one line"))
            .hint("the password is the only line of its file");
        return None;
    }
    secret(&bytes, span, &format!("the password in `{shown}`"), report)
}

/// What is in a file that holds a `what`, unless others can read it, too; then the hint says to do `then`, because they may
/// have.
fn read_secret(
    path: &Path,
    what: &str,
    then: &str,
    largest: u64,
    span: Span,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let shown = path.display();
    let (metadata, bytes) = match file::read(path, largest) {
        Ok(read) => read,
        Err(error) => {
            let cause = io_cause(&error);
            let diagnostic = report.error(span, format!("cannot read `{shown}`: {cause}"));
            if error.kind() == ErrorKind::PermissionDenied {
                diagnostic.hint("the user that vipcast runs as must be able to read it");
            }
            return None;
        }
    };
    if !metadata.is_file() {
        report.error(span, format!("`{shown}` is not a file"));
        return None;
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        report
            .error(span, format!("`{shown}` holds a {what}, and everyone may read or write it"))
            .hint(format!("`chmod o-rw {shown}`, and {then}"));
        return None;
    }
    Some(bytes)
}

fn secret(octets: &[u8], span: Span, what: &str, report: &mut Report) -> Option<Secret> {
    match Secret::new(octets) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let diagnostic: &mut Diagnostic = report.error(span, format!("{what} cannot be used: {error}"));
            if error == SecretError::Empty {
                diagnostic.hint("leave the key out for a session without a password");
            }
            None
        }
    }
}
