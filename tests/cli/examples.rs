//! Every configuration that people start from is one that loads, without as much as a warning.

use std::path::Path;

use vipcast::config;

#[test]
fn every_example_loads_without_a_warning() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut loaded = 0;
    for entry in std::fs::read_dir(directory).expect("examples can be listed") {
        let path = entry.expect("examples can be listed").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let found = config::load(&path).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert!(found.warnings.is_empty(), "{}", found.warnings);
        assert!(!found.config.services.is_empty(), "{} announces nothing", path.display());
        loaded += 1;
    }
    assert!(loaded >= 3, "only {loaded} examples were found");
}
