//! There and back between two forms of the state: the last program that knew only version 1, and this one. `tests/before`
//! builds the former.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Lab, RouterKind};

use super::versions::put;
use super::{REPLACEABLE, Site, ask, upgrade};
use crate::node::VIPCAST;

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::upgrade_from_a_program_of_form_1_and_back_is_seen_by_nobody";
    let needs = run(&["--check"]).and_then(|_| Lab::available_with(&[RouterKind::Frr]));
    vec![vipcast_lab::trial(name, needs, move || Lab::run(name, there_and_back))]
}

/// Runs `tests/before`; what it prints, or why it cannot.
fn run(arguments: &[&str]) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/before");
    let output =
        Command::new(script).args(arguments).output().map_err(|error| format!("{script}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn there_and_back(lab: &Lab) -> Result<()> {
    let old = PathBuf::from(run(&[]).map_err(anyhow::Error::msg)?);
    let new = PathBuf::from(&*VIPCAST);
    // It begins as the old program.
    let released = format!("{}={}", crate::node::RELEASE, old.display());
    let wrapper = [&["env", Box::leak(released.into_boxed_str())], REPLACEABLE].concat();
    let site = Site::by(wrapper.leak(), lab, RouterKind::Frr, "", "", "")?;
    ensure!(site.forms()? == [1], "{:?}", site.forms());
    let before = site.before()?;
    site.under_traffic(|| {
        // From 1 to 2, in 2, back to 1, and the same again: each way of writing and of reading.
        for (next, forms, older) in
            [(&new, &[1, 2][..], false), (&new, &[1, 2], false), (&old, &[1], true), (&old, &[1], false)]
                .repeat(3)
        {
            put(&site, next)?;
            let (code, said) = ask(&site.node, &["upgrade", "--dry-run"])?;
            ensure!(code == Some(0) && said.contains("form 1 of the state") == older, "{code:?}: {said}");
            let upgraded = upgrade(&site.node)?;
            println!("{} paused {:?}", next.display(), upgraded.pause);
            ensure!(upgraded.said.contains("form 1 of the state") == older, "{}", upgraded.said);
            ensure!(site.forms()? == forms, "{:?}", site.forms());
            site.ensure_untouched(&before)?;
        }
        Ok(())
    })
}

impl Site<'_> {
    /// The forms that the program knows which runs.
    fn forms(&self) -> Result<Vec<u64>> {
        let program = format!("/proc/{}/exe", self.node.process.pid());
        forms(Path::new(&program))
    }
}

fn forms(program: &Path) -> Result<Vec<u64>> {
    let said = Command::new(program).args(["version", "--json"]).output()?;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).context("version --json")?;
    let forms = said["hands_over"].as_array().context("no forms")?;
    Ok(forms.iter().filter_map(serde_json::Value::as_u64).collect())
}
