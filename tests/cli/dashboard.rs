//! The dashboard for Grafana: each query names metrics and labels that the daemon has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vipcast::metrics::{FAMILIES, Kind};

use super::root;

/// Labels of Prometheus itself.
const TARGET: [&str; 2] = ["instance", "job"];
/// Families without a panel: they say little over time, or the same as another.
const LEFT_OUT: [&str; 8] = [
    "process_start_time_seconds",
    "vipcast_peer_sessions_total",
    "vipcast_bfd_detection_seconds",
    "vipcast_check_settled",
    "vipcast_events_file_written_total",
    "vipcast_events_file_behind",
    "vipcast_hook_retries_total",
    "vipcast_hook_duration_seconds",
];

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("packaging/grafana/vipcast.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// All queries of the dashboard.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    let queries =
        targets.chain(annotations).map(|target| target["expr"].as_str().expect("a query").to_owned());
    let node = &dashboard["templating"]["list"][1]["query"]["query"];
    queries.chain([node.as_str().expect("the query of the nodes").to_owned()]).collect()
}

/// The names of series, each with its labels.
fn series() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut series = BTreeMap::new();
    for family in FAMILIES {
        let labels: BTreeSet<_> = family.labels.iter().copied().collect();
        let name = family.name;
        match family.kind {
            Kind::Gauge => drop(series.insert(name.to_owned(), labels)),
            Kind::Counter => drop(series.insert(format!("{name}_total"), labels)),
            Kind::Histogram => {
                series.insert(format!("{name}_bucket"), labels.iter().copied().chain(["le"]).collect());
                series.insert(format!("{name}_sum"), labels.clone());
                series.insert(format!("{name}_count"), labels);
            }
        }
    }
    series
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The series in a query, each with the labels that select it; and the labels of all `by` and `on`.
fn parsed(query: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let names = |list: &str| -> Vec<String> {
        list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let (mut found, mut by) = (Vec::new(), Vec::new());
    let mut rest = query;
    while let Some(begin) = rest.find(is_name) {
        let end = rest[begin..].find(|c| !is_name(c)).map_or(rest.len(), |end| begin + end);
        let word = &rest[begin..end];
        rest = &rest[end..];
        if word.starts_with("vipcast_") || word.starts_with("process_") {
            let mut labels = Vec::new();
            if let Some(inner) = rest.strip_prefix('{') {
                let (selectors, after) = inner.split_once('}').expect("a closed selector");
                // A value may have commas, but no quotes.
                for (at, part) in selectors.split('"').enumerate().filter(|(at, _)| at % 2 == 0) {
                    let _unquoted = at;
                    labels.extend(names(part.trim_end_matches(['=', '~', '!'])));
                }
                rest = after;
            }
            found.push((word.to_owned(), labels));
        } else if let Some(list) =
            rest.trim_start().strip_prefix('(').filter(|_| ["by", "on"].contains(&word))
        {
            let (list, after) = list.split_once(')').expect("a closed list");
            by.extend(names(list));
            rest = after;
        }
    }
    (found, by)
}

/// The fault of a query, if it has one.
fn fault(query: &str, series: &BTreeMap<String, BTreeSet<&'static str>>) -> Option<String> {
    let (found, by) = parsed(query);
    let mut all: BTreeSet<&str> = TARGET.into_iter().collect();
    for (name, labels) in &found {
        let Some(known) = series.get(name) else { return Some(format!("there is no {name}")) };
        let has = |label: &&String| !known.contains(label.as_str()) && !TARGET.contains(&label.as_str());
        if let Some(label) = labels.iter().find(has) {
            return Some(format!("{name} has no label {label}"));
        }
        all.extend(known);
    }
    by.iter()
        .find(|label| !all.contains(label.as_str()))
        .map(|label| format!("no series has the label {label}"))
}

#[test]
fn every_query_of_the_dashboard_names_metrics_and_labels_that_exist() {
    let (dashboard, series) = (dashboard(), series());
    for query in queries(&dashboard) {
        assert!(!parsed(&query).0.is_empty(), "it asks for nothing: {query}");
        assert_eq!(fault(&query, &series), None, "{query}");
    }
    // The legends name labels that the query keeps.
    for target in dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .flat_map(|panel| panel["targets"].as_array())
        .flatten()
    {
        let (query, legend) =
            (target["expr"].as_str().expect("a query"), target["legendFormat"].as_str().expect("a legend"));
        let (found, by) = parsed(query);
        for label in legend.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0)) {
            let kept = if by.is_empty() {
                found.iter().any(|(name, _)| series[name].contains(label))
            } else {
                by.iter().any(|by| by == label)
            };
            assert!(kept || by.is_empty() && label == "instance", "{label} in the legend of {query}");
        }
    }
    for (wrong, why) in [
        ("vipcast_nonesuch", "there is no vipcast_nonesuch"),
        ("vipcast_events", "there is no vipcast_events"),
        (r#"vipcast_peer_up{check="a, b", peer="c"}"#, "vipcast_peer_up has no label check"),
        ("sum by (le) (vipcast_peer_up)", "no series has the label le"),
    ] {
        assert_eq!(fault(wrong, &series).as_deref(), Some(why));
    }
}

#[test]
fn the_dashboard_shows_every_metric_of_interest() {
    let queries = queries(&dashboard());
    let used: BTreeSet<String> =
        queries.iter().flat_map(|query| parsed(query).0).map(|(name, _)| name).collect();
    let is_used = |name: &str| {
        [name, &format!("{name}_bucket"), &format!("{name}_total")].iter().any(|name| used.contains(*name))
    };
    let of_interest = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !LEFT_OUT.iter().any(|left| left.trim_end_matches("_total") == *name));
    let missing: Vec<&str> = of_interest.filter(|name| !is_used(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert_eq!(dashboard["id"], Value::Null, "the id of a dashboard belongs to one Grafana");
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(variables, ["datasource", "node"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is another panel's");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{title} is outside");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} lies over another panel");
            }
        }
    }
}

/// promtool knows the language; Grafana's variables are filled in.
#[test]
fn promtool_understands_every_query() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("skipped: promtool is missing");
        return;
    }
    let filled = |query: String| query.replace("$__rate_interval", "5m").replace("$node", ".*");
    let rules: Vec<Value> =
        (queries(&dashboard()).into_iter().filter(|query| !query.starts_with("label_values")).enumerate())
            .map(|(at, query)| serde_json::json!({"record": format!("query_{at}"), "expr": filled(query)}))
            .collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard.rules.yaml");
    fs::write(&file, serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string())
        .expect("a file");
    let checked =
        Command::new("promtool").args(["check", "rules"]).arg(&file).output().expect("promtool runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
