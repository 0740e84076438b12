//! `host`, `source_address` and `source_interface` of a check, which may be `vip`.

use std::net::IpAddr;

use vipcast_node::model::Via;

use super::ANY_VIP;
use crate::check::kind::Reach;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::host;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, value};

/// Stands for each VIP of the service.
const VIP: &str = "vip";

/// `host`, `source_address` and `source_interface` of a check.
#[derive(Debug)]
pub(crate) struct Way {
    host: Field<Which<String>>,
    source: Field<Which<IpAddr>>,
    interface: Field<String>,
}

/// A value, or the VIP that the check is made for.
#[derive(Debug, Clone)]
enum Which<T> {
    Given(T),
    Vip,
}

impl Way {
    pub(crate) fn read(table: &mut Table<'_>, report: &mut Report) -> Self {
        Self {
            host: table.field("host", report, |node, key, report| which(node, key, report, host)),
            source: table.field("source_address", report, |node, key, report| {
                which(node, key, report, value::address)
            }),
            interface: table.field("source_interface", report, value::interface),
        }
    }

    /// Whether there has to be one check for each VIP.
    pub(crate) fn is_of_each_vip(&self) -> bool {
        matches!(self.host.set().map(|host| &host.value), Some(Which::Vip))
            || matches!(self.source.set().map(|source| &source.value), Some(Which::Vip))
    }

    /// The host to ask instead of that of the kind, for the check of `vip`.
    pub(crate) fn host(&self, vip: IpAddr) -> Option<String> {
        self.host.set().map(|host| match &host.value {
            Which::Given(host) => host.clone(),
            Which::Vip => vip.to_string(),
        })
    }

    /// The source of the probe. An error if `kind` asks no host, or if the families of both ends differ.
    pub(crate) fn via(
        self,
        asked: Option<Reach<'_>>,
        vip: Option<IpAddr>,
        report: &mut Report,
    ) -> Option<Via> {
        let useless = match asked {
            Some(Reach::Local) => Some(("is for checks that ask over the network", "")),
            Some(Reach::Socket) => {
                Some(("is for checks over the network, and this asks a unix socket", ", or `unix`"))
            }
            Some(Reach::Network(_)) | None => None,
        };
        if let Some((why, or)) = useless {
            let given = [
                ("host", self.host.set().map(|field| field.span)),
                ("source_address", self.source.set().map(|field| field.span)),
                ("source_interface", self.interface.set().map(|field| field.span)),
            ];
            for (key, span) in given {
                let Some(span) = span else { continue };
                report.error(span, format!("`{key}` {why}")).hint(format!("remove `{key}`{or}"));
            }
        }
        let are_known = vip.is_some() || !self.is_of_each_vip();
        let vip = vip.unwrap_or(ANY_VIP);
        let asked = self.host(vip).and_then(|host| host.parse::<IpAddr>().ok()).filter(|_| are_known);
        let place = self.source.set().map(|source| source.span);
        let source = self.source.map(|source| match source {
            Which::Given(address) => address,
            Which::Vip => vip,
        });
        let source = source.optional()?;
        if let (Some(source), Some(asked), Some(place)) = (source, asked, place)
            && asked.is_ipv4() != source.is_ipv4()
        {
            let word = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
            report
                .error(
                    place,
                    format!("{asked} is asked over {}, and this is for {}", word(asked), word(source)),
                )
                .hint("give each family a check, and VIPs a service, of its own");
            return None;
        }
        Some(Via { source, interface: self.interface.optional()? })
    }
}

/// The word `vip`, or the value that `read` returns.
fn which<T>(
    node: &Node,
    key: Span,
    report: &mut Report,
    read: fn(&Node, Span, &mut Report) -> Option<T>,
) -> Option<Which<T>> {
    match &node.value {
        Value::Scalar(text) if text.eq_ignore_ascii_case(VIP) => Some(Which::Vip),
        Value::Scalar(_) | Value::Null | Value::List(_) | Value::Map(_) => {
            read(node, key, report).map(Which::Given)
        }
    }
}
