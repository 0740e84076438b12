//! A container engine in a network namespace of the lab, with mounts, processes and names of its own.
//!
//! Its bridges, packet filter rules, mounts and containers exist only in there, and end with its first process. Its files are
//! in the directory of the lab. Only its cgroups are this machine's: they are below one with the name of the namespace, which
//! the lab removes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use vipcast_lab::{Host, Lab, Process};

use crate::docker::images::PROGRAM;
use crate::{SOON, root};

/// Starts the engine as the child of a first process, which reaps the containers' helpers. `$1` is the engine's directory, `$2`
/// the cgroup.
const START: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
dockerd --data-root "$1/data" --exec-root /run/docker --host "unix://$1/docker.sock" --pidfile /run/docker.pid \
    --cgroup-parent "/$2" --log-level warn
"#;

/// The directories of Debian's programs first: the engine, its client and docker-compose are of one version.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin";

/// An engine that answers. Dropping it kills it with all of its containers.
pub(crate) struct Engine {
    host: Host,
    process: Process,
    directory: PathBuf,
}

impl Engine {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let host = lab.host("engine")?;
        let directory = lab.directory().join("engine");
        std::fs::create_dir(&directory).context("cannot make a directory for the engine")?;
        let mut command = host.command("unshare");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", START, "engine"]).arg(&directory).arg(host.namespace()).env("PATH", PATH);
        let process = host.spawn("dockerd", command)?;
        let overrides = format!("services:\n  node-a: {PROGRAM}\n  node-b: {PROGRAM}\n");
        std::fs::write(directory.join("overrides.yml"), overrides).context("cannot write the overrides")?;
        let engine = Self { host, process, directory };
        lab.until("the engine to answer", SOON, || {
            ensure!(engine.process.is_running(), "it has ended: {}", engine.process.log());
            engine.docker(&["version"])
        })?;
        Ok(engine)
    }

    /// Runs a command of the engine's client.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String> {
        self.run(self.command("docker").args(arguments))
    }

    /// Runs a command of docker-compose on `docker-compose.yml`, and tells what it said.
    pub(crate) fn compose(&self, arguments: &[&str]) -> Result<String> {
        self.run(self.composition().args(arguments))
    }

    /// Starts a command of docker-compose.
    pub(crate) fn spawn(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = self.composition();
        command.args(arguments);
        self.host.spawn(name, command)
    }

    /// Makes an image of a tar file.
    pub(crate) fn import(&self, tar: &Path, name: &str) -> Result<()> {
        self.docker(&["import", &tar.to_string_lossy(), name]).map(drop)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    fn composition(&self) -> Command {
        let mut command = self.command("docker-compose");
        command.args(["--project-name", "vipcast", "--file"]).arg(root().join("docker-compose.yml"));
        command.arg("--file").arg(self.directory.join("overrides.yml"));
        command.arg("--project-directory").arg(root());
        command.env("COMPOSE_DOCKER_CLI_BUILD", "1");
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(program);
        command
            .env("PATH", PATH)
            .env("DOCKER_HOST", format!("unix://{}/docker.sock", self.directory.display()));
        // Only BuildKit leaves out the stages that an image does not need.
        command.envs([("DOCKER_BUILDKIT", "1"), ("BUILDKIT_PROGRESS", "plain")]);
        // Neither settings nor certificates of the one who runs the test.
        command.env("HOME", &self.directory).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        command
    }

    fn run(&self, command: &mut Command) -> Result<String> {
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
        Ok(said)
    }
}
