//! What ROLE and INFO say of a server, and whether it is what it should be.

use std::fmt;
use std::net::IpAddr;

use super::resp::RespReply;
use crate::check::kinds::redis::{RedisCheck, WantedRole};
use crate::check::limit::Answer;
use crate::check::quoted::quoted;
use crate::check::words;
use crate::config::read::target::is_host;

/// The line of `INFO replication` that a replica has: how long ago its master said something, in seconds; -1 without a link.
const LAST_IO: &str = "master_last_io_seconds_ago:";

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerRole {
    Master { replicas: usize },
    Replica { master: String, link: MasterLink },
    Sentinel,
}

/// The link of a replica to its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MasterLink {
    Up,
    /// The data is being copied.
    Sync,
    /// In the words of the server.
    Down(String),
}

impl ServerRole {
    /// `["master", offset, replicas]`, `["slave", host, port, state, offset]`, `["sentinel", names]`.
    pub(super) fn read(reply: &RespReply) -> Option<Self> {
        let RespReply::Array(parts) = reply else { return None };
        match parts.as_slice() {
            [RespReply::Bulk(role), RespReply::Integer(_), RespReply::Array(replicas)]
                if role == b"master" =>
            {
                Some(Self::Master { replicas: replicas.len() })
            }
            [
                RespReply::Bulk(role),
                RespReply::Bulk(host),
                RespReply::Integer(port),
                RespReply::Bulk(state),
                ..,
            ] if role == b"slave" => {
                let link = match state.as_slice() {
                    b"connected" => MasterLink::Up,
                    b"sync" => MasterLink::Sync,
                    b"none" | b"connect" | b"connecting" | b"handshake" => {
                        MasterLink::Down(String::from_utf8_lossy(state).into_owned())
                    }
                    other => MasterLink::Down(quoted(other)),
                };
                Some(Self::Replica { master: named(host, *port), link })
            }
            [RespReply::Bulk(role), ..] if role == b"sentinel" => Some(Self::Sentinel),
            _ => None,
        }
    }
}

/// `host:port`; quoted where that can be neither an address nor a name.
fn named(host: &[u8], port: i64) -> String {
    match std::str::from_utf8(host) {
        Ok(host) if matches!(host.parse(), Ok(IpAddr::V6(_))) => format!("[{host}]:{port}"),
        Ok(host) if is_host(host) => format!("{host}:{port}"),
        Ok(_) | Err(_) => format!("{}, port {port}", quoted(host)),
    }
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master { replicas: 0 } => f.write_str("master without replicas"),
            Self::Master { replicas: 1 } => f.write_str("master with 1 replica"),
            Self::Master { replicas } => write!(f, "master with {replicas} replicas"),
            Self::Replica { master, link } => {
                let link = match link {
                    MasterLink::Up => "up",
                    MasterLink::Sync | MasterLink::Down(_) => "down",
                };
                write!(f, "replica of {master}, link {link}")
            }
            Self::Sentinel => f.write_str("sentinel"),
        }
    }
}

/// Whether the server is what the check wants.
pub(super) fn judge(check: &RedisCheck, role: &ServerRole, info: Option<&[u8]>) -> Answer {
    match (check.role, role) {
        (None, _)
        | (Some(WantedRole::Master), ServerRole::Master { .. })
        | (Some(WantedRole::Replica), ServerRole::Replica { .. }) => {}
        (Some(WantedRole::Master), ServerRole::Replica { .. } | ServerRole::Sentinel) => {
            return Err(format!("{role}, wanted a master"));
        }
        (Some(WantedRole::Replica), ServerRole::Master { .. } | ServerRole::Sentinel) => {
            return Err(format!("{role}, wanted a replica"));
        }
    }
    let ServerRole::Replica { master, link } = role else { return Ok(format!("PONG, {role}")) };
    match link {
        MasterLink::Sync if check.replication => {
            return Err(format!("the data of the master {master} is still being copied (sync)"));
        }
        MasterLink::Down(state) if check.replication => {
            return Err(format!("the link to the master {master} is down ({state})"));
        }
        MasterLink::Up | MasterLink::Sync | MasterLink::Down(_) => {}
    }
    let Some(most) = check.max_lag else { return Ok(format!("PONG, {role}")) };
    let seconds = last_io(info.unwrap_or_default()).ok_or("INFO does not say when the master was heard")?;
    let Ok(seconds) = u64::try_from(seconds) else {
        return Err(format!("the link to the master {master} is down"));
    };
    // It counts whole seconds.
    if seconds > most.as_secs() {
        let most = words::duration(most);
        return Err(format!("nothing heard from the master {master} for {seconds} s, wanted {most} at most"));
    }
    Ok(format!("PONG, {role}, heard from it {seconds} s ago"))
}

fn last_io(info: &[u8]) -> Option<i64> {
    let lines = info.split(|byte| *byte == b'\n');
    let value = lines.filter_map(|line| line.strip_prefix(LAST_IO.as_bytes())).next()?;
    std::str::from_utf8(value).ok()?.trim_end().parse().ok()
}
