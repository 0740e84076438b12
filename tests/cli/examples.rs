//! Every configuration that people start from is one that loads.

use std::path::Path;

use vipcast::config;

#[test]
fn every_example_loads() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut loaded = 0;
    for entry in std::fs::read_dir(directory).expect("examples can be listed") {
        let path = entry.expect("examples can be listed").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let found = config::load(&path).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        for warning in &found.warnings {
            // The programs of the examples are not on every machine.
            assert!(warning.message.contains(" cannot be run: "), "{}", found.warnings);
        }
        assert!(!found.config.services.is_empty(), "{} announces nothing", path.display());
        loaded += 1;
    }
    assert!(loaded >= 3, "only {loaded} examples were found");
}
