//! The pages: every link between them has a target, also its heading, and the site has every page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use regex_lite::Regex;

use super::packaging::tree;
use super::root;

/// Pages by their paths from the root, without those that are parts of another page.
fn pages() -> BTreeMap<String, String> {
    let paths = tree().into_iter().filter(|path| path.ends_with(".md") && !path.starts_with("src/"));
    paths
        .map(|path| (fs::read_to_string(root().join(&path)).expect("a page"), path))
        .map(|(text, path)| (path, text))
        .collect()
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The anchor of a heading, as web sites of repositories make it.
fn anchor(heading: &str) -> String {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("an expression");
    let words = link.replace_all(heading, "$1").to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The anchors of a page; a repeated heading gets a number.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, line) in prose(text) {
        let level = line.chars().take_while(|c| *c == '#').count();
        let Some(heading) = line[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level)) else {
            continue;
        };
        let plain = anchor(heading.trim());
        let numbered = (1..).map(|number| format!("{plain}-{number}"));
        let first_free = std::iter::once(plain.clone()).chain(numbered).find(|name| !found.contains(name));
        found.extend(first_free);
    }
    found
}

/// `a/b/../c` without the detour; `None` for a path that leaves the tree.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !plain.pop() {
                    return None;
                }
            }
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// What is wrong with a link of a page.
fn fault(pages: &BTreeMap<String, String>, page: &str, link: &str) -> Option<String> {
    let (path, wanted) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let place = Path::new(page).parent().unwrap_or(Path::new(""));
    let target = if path.is_empty() { Some(page.into()) } else { plain(&place.join(path)) };
    let Some(target) = target else { return Some("it leads out of the tree".into()) };
    if !root().join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    let wanted = wanted?;
    let Some(text) = pages.get(&target.display().to_string()) else {
        return Some("its target is no page".into());
    };
    (!anchors(text).contains(wanted)).then(|| format!("{} has no heading #{wanted}", target.display()))
}

/// The links in a page, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let code = Regex::new("`[^`]*`").expect("an expression");
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("an expression");
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = code.replace_all(line, "");
        found.extend(link.captures_iter(&line).map(|captures| (number, captures[1].to_owned())));
    }
    found
}

fn is_elsewhere(link: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

#[test]
fn no_link_between_pages_is_dead() {
    let pages = pages();
    let mut faults = Vec::new();
    let mut seen = 0;
    for (page, text) in &pages {
        for (line, link) in links(text).into_iter().filter(|(_, link)| !is_elsewhere(link)) {
            seen += 1;
            faults.extend(fault(&pages, page, &link).map(|fault| format!("{page}:{line}: {link}: {fault}")));
        }
    }
    assert!(seen > 150, "only {seen} links were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A path in back quotes is a promise, too.
#[test]
fn every_file_that_a_page_names_is_there() {
    let path = Regex::new(r"`((?:docs|packaging|tests|src|machine|node|bgp|vrrp|examples)/[a-z0-9_./-]+)`")
        .expect("an expression");
    let mut faults = Vec::new();
    let mut seen = 0;
    for (page, text) in pages().iter().filter(|(page, _)| *page != "CHANGELOG.md") {
        for (line, text) in prose(text) {
            for captures in path.captures_iter(text) {
                seen += 1;
                if !root().join(&captures[1]).exists() {
                    faults.push(format!("{page}:{line}: there is no {}", &captures[1]));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} paths were found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The table of contents has each page of `docs/` once, and the site links to no page outside of it.
#[test]
fn the_site_has_every_page_once() {
    let pages = pages();
    let contents = links(&pages["docs/SUMMARY.md"]);
    let mut listed: Vec<String> = contents.into_iter().map(|(_, link)| format!("docs/{link}")).collect();
    listed.sort();
    let there: Vec<String> = pages
        .keys()
        .filter(|page| page.starts_with("docs/") && *page != "docs/SUMMARY.md")
        .cloned()
        .collect();
    assert_eq!(listed, there);
    for (page, text) in pages.iter().filter(|(page, _)| page.starts_with("docs/")) {
        let depth = page.matches('/').count() - 1;
        let out = "../".repeat(depth + 1);
        for (line, link) in links(text) {
            assert!(!link.starts_with(&out), "{page}:{line}: {link} is not on the site");
        }
    }
}

/// Every alert names its runbook, which is the section with its name.
#[test]
fn every_alert_has_a_runbook() {
    let alerts = fs::read_to_string(root().join("packaging/prometheus/alerts.yaml")).expect("the alerts");
    let sections = anchors(&pages()["docs/operations.md"]);
    let values = |key: &str| -> Vec<String> {
        let lines = alerts.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
        lines.map(|value| value.trim().trim_matches('"').to_owned()).collect()
    };
    let names = values("alert:");
    let wanted: Vec<String> =
        names.iter().map(|name| format!("docs/operations.md#{}", name.to_lowercase())).collect();
    assert!(names.len() >= 9, "{names:?}");
    assert_eq!(values("runbook:"), wanted);
    for name in names {
        assert!(sections.contains(&name.to_lowercase()), "docs/operations.md has no section {name}");
    }
}

#[test]
fn headings_have_the_anchors_that_the_repository_s_web_site_gives_them() {
    assert_eq!(anchor("`listen`, `control`, `log`, `shutdown`"), "listen-control-log-shutdown");
    assert_eq!(anchor("Slow, and failing now and then"), "slow-and-failing-now-and-then");
    assert_eq!(anchor("Of [a link](x.md#y) and GRACEFUL_SHUTDOWN"), "of-a-link-and-graceful_shutdown");
    let text = "# A\n```\n# No heading\n```\n## B\n## B\n";
    assert_eq!(anchors(text), ["a", "b", "b-1"].map(str::to_owned).into());
    let pages = BTreeMap::from([("docs/config.md".to_owned(), text.to_owned())]);
    for (link, wanted) in [
        ("#b-1", None),
        ("#c", Some("docs/config.md has no heading #c")),
        ("nowhere.md", Some("there is no docs/nowhere.md")),
        ("../../x", Some("it leads out of the tree")),
        ("../Cargo.toml#a", Some("its target is no page")),
    ] {
        let found = fault(&pages, "docs/config.md", link);
        assert_eq!(found.as_deref(), wanted, "{link}");
    }
}
