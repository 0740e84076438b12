//! Validation of arguments. A mistake that is visible without the daemon is a usage error (exit code 2).

use std::time::Duration;

use ipnet::IpNet;
use vipcast_node::names::ServiceName;

use crate::config;
use crate::control::api::LONGEST_WORDS;
use crate::control::routes::parse_vip;
use crate::doctor::finding::Id;

/// A VIP, as an address or a prefix.
pub(super) fn vip(text: &str) -> Result<IpNet, String> {
    parse_vip(text).map_err(|refused| match refused.hint {
        Some(hint) => format!("{}; {hint}", refused.error),
        None => refused.error,
    })
}

/// The name of a service, configured or not.
pub(super) fn service(text: &str) -> Result<ServiceName, config::NameError> {
    config::parse_service_name(text)
}

/// The name of a peer, configured or not.
pub(super) fn peer(text: &str) -> Result<String, config::NameError> {
    config::parse_service_name(text).map(|name| name.to_string())
}

/// The service behind `check --probe`; operators easily write the file there instead.
pub(super) fn probed_service(text: &str) -> Result<ServiceName, String> {
    service(text).map_err(|error| match text.contains('/') {
        true => format!("{error}; the file comes first: check {text} --probe"),
        false => error.to_string(),
    })
}

/// The id of a finding.
pub(super) fn finding(text: &str) -> Result<Id, String> {
    Id::named(text).ok_or_else(|| "there is no such finding; docs/doctor.md lists them".to_owned())
}

/// A duration that is not zero.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match config::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be greater than zero".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// A reason for a drain or for the log.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=LONGEST_WORDS => Ok(text.to_owned()),
        length => Err(format!(
            "it has {length} characters, and {LONGEST_WORDS} are allowed; shorten it, or give the number of a ticket"
        )),
    }
}
