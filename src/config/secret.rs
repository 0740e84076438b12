//! Keys that both ends of a session share: in the configuration itself, in a file, or in a credential of systemd. They are
//! never shown: a diagnostic names the file, or has stars where the key stands.

use vipcast_bgp::secret::Secret;

use super::diagnostic::{Report, Severity, Span};
use super::files;
use super::model::KeyPlace;
use super::read::tree::{Node, Value};
use super::read::{expected, value};

/// `password: …`. The file that it stands in is then a secret itself.
pub(super) fn written(node: &Node, key: Span, report: &mut Report) -> Option<Secret> {
    report.redact(node.span);
    let Value::Scalar(text) = &node.value else {
        expected(node, key, "a password", report);
        return None;
    };
    let everyones = "there is a password in this file, and everyone may read it";
    let hint = "`chmod o-rw` the file, or write the password to another and name it with `password_file`";
    match report.exposed(key.file) {
        None => {}
        Some(Severity::Warning) => {
            report.warning(key, format!("{everyones}; a reload is refused until that is mended")).hint(hint);
        }
        Some(Severity::Error) => {
            report.error(key, everyones).hint(hint);
            return None;
        }
    }
    match Secret::new(text.as_bytes()) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let diagnostic = report.error(node.span, format!("the password cannot be used: {error}"));
            if let Some(hint) = files::without_password(&error) {
                diagnostic.hint(hint);
            }
            None
        }
    }
}

/// `password_file: /path`.
pub(super) fn file(node: &Node, key: Span, report: &mut Report) -> Option<KeyPlace> {
    value::absolute_path(node, key, report).map(KeyPlace::File)
}

/// `password_credential: name`: what `LoadCredential=name:…` of the systemd unit provides.
pub(super) fn credential(node: &Node, key: Span, report: &mut Report) -> Option<KeyPlace> {
    const WHAT: &str = "the name of a systemd credential";
    let name = value::text(node, key, WHAT, report)?;
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        expected(node, key, WHAT, report).hint("the name that stands before the colon of `LoadCredential=`");
        return None;
    }
    Some(KeyPlace::Credential(name.to_owned()))
}
