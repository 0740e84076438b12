//! The names of peers, checks and services.

use vipcast_node::names::ServiceName;

use crate::config::diagnostic::Report;
use crate::config::read::short;
use crate::config::read::tree::Entry;

/// Whether a map key can be the name of a peer, check or service; reports it if not.
pub(crate) fn name(entry: &Entry, what: &str, report: &mut Report) -> bool {
    let name = entry.key.as_str();
    let message = match check_name(name) {
        Ok(()) => return true,
        Err(NameError::Empty) => format!("the name of a {what} is empty"),
        Err(NameError::TooLong) => {
            format!("the name of this {what} is longer than {LONGEST_NAME} characters")
        }
        Err(NameError::Odd) => format!("`{}` cannot be the name of a {what}", short(name)),
    };
    report.error(entry.key_span, message).hint("a name has no blanks and no `/`, and 1 to 64 characters");
    false
}

/// The name of a service as it could stand in a configuration.
///
/// # Errors
/// None can have that name.
pub fn parse_service_name(text: &str) -> Result<ServiceName, NameError> {
    check_name(text).map(|()| text.into())
}

/// In characters.
const LONGEST_NAME: usize = 64;

/// Why a text cannot be the name of a peer, check or service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name has 1 to {LONGEST_NAME} characters")]
    Empty,
    /// More than 64 characters.
    #[error("a name has 1 to {LONGEST_NAME} characters")]
    TooLong,
    /// Characters that would not show in a list, or that stand for something else in a path.
    #[error("a name has no blanks and no `/`")]
    Odd,
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.chars().count() > LONGEST_NAME {
        Err(NameError::TooLong)
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        Err(NameError::Odd)
    } else {
        Ok(())
    }
}
