//! The scenarios in `scenarios/*.txt`, each with its trace, `*.trace`. `SIM_BLESS=1` writes the traces anew.

use std::fs;
use std::path::{Path, PathBuf};

use vipcast_sim::scenario::Scenario;

#[test]
fn every_scenario_goes_as_it_is_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    files.sort();
    assert!(!files.is_empty(), "there is no scenario in {}", directory.display());
    let wrong: Vec<String> = files.iter().filter_map(|file| run(file).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn run(file: &Path) -> Result<(), String> {
    let named = |error: String| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let scenario: Scenario = text.parse().map_err(named)?;
    let trace = scenario.run().map_err(named)?;
    let golden = file.with_extension("trace");
    if std::env::var_os("SIM_BLESS").is_some() {
        return fs::write(&golden, &trace).map_err(|error| named(error.to_string()));
    }
    let written = fs::read_to_string(&golden).unwrap_or_default();
    let differs = written.lines().zip(trace.lines()).find(|(written, is)| written != is);
    match differs {
        Some((written, is)) => Err(named(format!("written: {written}\nnow:     {is}"))),
        None if written.lines().count() != trace.lines().count() => {
            Err(named("the trace has another length".into()))
        }
        None => Ok(()),
    }
}
