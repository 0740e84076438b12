use std::fmt::Debug;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// What a program reads today it reads tomorrow: the file is understood, and said again byte for byte.
fn is_said_as_in<T: Serialize + DeserializeOwned + Debug>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/api/golden").join(name);
    let text = fs::read_to_string(path).unwrap();
    let value: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = serde_json::to_string_pretty(&value).unwrap() + "\n";
    assert!(said == text, "{name} is said differently:\n{said}");
    value
}

#[test]
fn every_answer_and_request_is_said_as_ever() {
    is_said_as_in::<Status>("status.json");
    is_said_as_in::<Status>("idle-status.json");
    is_said_as_in::<Explanation>("explanation.json");
    is_said_as_in::<Explanation>("bare-explanation.json");
    is_said_as_in::<Done>("done.json");
    is_said_as_in::<Done>("done-with-a-warning.json");
    is_said_as_in::<Refusal>("refusal.json");
    is_said_as_in::<Refusal>("bare-refusal.json");
    is_said_as_in::<DrainRequest>("drain-request.json");
    is_said_as_in::<ServicesRequest>("services-request.json");
    is_said_as_in::<ServicesRequest>("bare-services-request.json");
}
