//! Not yet.
use std::net::IpAddr;

use anyhow::{Result, bail};

use crate::host::Host;
use crate::router::instance::{Instance, delegate_to_instance};
use crate::router::{Notification, Router, RouterConfig, RouterKind, Routes};

#[derive(Debug)]
pub(crate) struct OpenBgpd {
    instance: Instance,
}

impl OpenBgpd {
    pub(crate) fn new(host: &Host, config: &RouterConfig) -> Result<Self> {
        Ok(Self { instance: Instance::new(RouterKind::OpenBgpd, host, config)? })
    }
}

impl Router for OpenBgpd {
    delegate_to_instance!();
    fn state(&self, _: IpAddr) -> Result<String> {
        bail!("not yet")
    }
    fn routes(&self) -> Result<Routes> {
        bail!("not yet")
    }
    fn received_notification(&self, _: IpAddr) -> Result<Option<Notification>> {
        bail!("not yet")
    }
    fn refresh(&self, _: IpAddr) -> Result<()> {
        bail!("not yet")
    }
    fn clear(&self, _: IpAddr) -> Result<()> {
        bail!("not yet")
    }
    fn shut(&self, _: IpAddr, _: &str) -> Result<()> {
        bail!("not yet")
    }
    fn unshut(&self, _: IpAddr) -> Result<()> {
        bail!("not yet")
    }
    fn cli(&self, _: &str) -> Result<String> {
        bail!("not yet")
    }
    fn start(&self) -> Result<()> {
        bail!("not yet")
    }
    fn dump(&self) -> String {
        String::new()
    }
}
