//! The needed part of a compose file. Other keys are only for the container engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use serde::Deserialize;

use crate::root;

#[derive(Debug, Deserialize)]
pub(crate) struct Compose {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) networks: BTreeMap<String, Network>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) hostname: Option<String>,
    build: Build,
    entrypoint: Option<String>,
    command: Option<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    pub(crate) sysctls: BTreeMap<String, u32>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    network_mode: Option<String>,
    #[serde(default)]
    pub(crate) networks: BTreeMap<String, Place>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Build {
    Context(PathBuf),
    File { context: PathBuf, dockerfile: PathBuf },
}

/// The address of a service in a network.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    pub(crate) ipv4_address: std::net::Ipv4Addr,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Network {
    ipam: Ipam,
}

#[derive(Debug, Deserialize)]
struct Ipam {
    config: Vec<Subnet>,
}

#[derive(Debug, Deserialize)]
struct Subnet {
    subnet: IpNet,
}

impl Compose {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_yaml::from_str(&text).map_err(|error| anyhow!("cannot understand {}: {error}", path.display()))
    }
}

impl Service {
    /// The service whose network namespace it shares.
    pub(crate) fn shares(&self) -> Result<Option<&str>> {
        self.network_mode
            .as_deref()
            .map(|mode| {
                mode.strip_prefix("service:").with_context(|| format!("network_mode {mode} is not played"))
            })
            .transpose()
    }

    /// Where each mount comes from, and where it goes.
    pub(crate) fn mounts(&self) -> Result<Vec<(PathBuf, PathBuf)>> {
        let parse = |volume: &String| match volume.split(':').collect::<Vec<_>>()[..] {
            [source, target] | [source, target, "ro"] => Ok((root().join(source), PathBuf::from(target))),
            _ => bail!("the volume {volume} is not understood"),
        };
        self.volumes.iter().map(parse).collect()
    }

    /// The script that it starts, as it is called outside of its container.
    pub(crate) fn script(&self) -> Result<PathBuf> {
        let inside =
            self.entrypoint.as_ref().or(self.command.as_ref()).context("it starts nothing of ours")?;
        let mounted = self.mounts()?.into_iter().find_map(|(source, target)| {
            Path::new(inside).strip_prefix(target).ok().map(|file| source.join(file))
        });
        mounted.with_context(|| format!("{inside} is not mounted"))
    }

    pub(crate) fn dockerfile(&self) -> PathBuf {
        match &self.build {
            Build::Context(context) => root().join(context).join("Dockerfile"),
            Build::File { context, dockerfile } => root().join(context).join(dockerfile),
        }
    }
}

impl Network {
    /// The length of its subnet.
    pub(crate) fn prefix_len(&self) -> Result<u8> {
        Ok(self.ipam.config.first().context("a network has no subnet")?.subnet.prefix_len())
    }
}
