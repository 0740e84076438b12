//! `tcp:` checks: somebody accepts the connection.

use super::asking::Asking;
use super::limit::Answer;
use crate::config::model::TcpCheck;

#[cfg(test)]
mod tests;

/// Passes when somebody accepts the connection, which is closed at once.
pub(super) async fn probe(check: &TcpCheck, asking: Asking<'_>) -> Answer {
    asking.connect(&check.target).await.map(|_| "connected".into())
}
