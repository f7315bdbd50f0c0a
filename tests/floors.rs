//! Imports go one way: a module imports from lower floors only, and each outside crate has its doors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, the lowest first. Modules of one floor don't know each other, unless they stand in one group.
const FLOORS: &[(&str, &[&str])] = &[
    ("ground", &["error", "clock", "secret", "ids", "sheet", "fields", "text", "owner", "vital"]),
    ("model", &["chat", "complete", "embed", "work", "catalog", "credential", "config", "rights", "runaway"]),
    ("faces and store", &["dialect", "provider", "store"]),
    ("doors", &["auth", "upstream"]),
    (
        "stages",
        &[
            "accounts",
            "audit",
            "breaker",
            "export",
            "limits",
            "policy",
            "quarantine",
            "queue",
            "routing",
            "tokens",
            "usage",
        ],
    ),
    ("gateway", &["gateway"]),
    ("edge", &["http", "control"]),
    ("roof", &["cli", "app", "files", "server", "telemetry", "upkeep", "main", "lib"]),
];

/// Words of the model may speak of each other, and so may the parts of the roof; `error` knows no other ground.
const MAY_KNOW_EACH_OTHER: &[&str] = &["model", "roof", "ground"];

/// Crates that only these modules may name.
const DOORS: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("awc", &["upstream"]),
    ("actix_web", &["http", "server", "telemetry", "cli"]),
    ("actix_governor", &["http"]),
    ("jiff", &["clock"]),
    ("tracing_actix_web", &["http", "server", "telemetry"]),
];

fn floor_of(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` stands on no floor: add it to FLOORS"))
}

/// What is wrong in a tree of sources, a line each.
fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources(root) {
        let relative = file.strip_prefix(root).unwrap();
        let module =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            let place = format!("{}:{}", relative.display(), number + 1);
            if line.contains("super::") {
                found.push(format!("{place}: `super::` outside tests"));
            }
            for other in named(line, "crate::") {
                if other != module && FLOORS.iter().any(|(_, modules)| modules.contains(&other.as_str())) {
                    found.extend(wrong_way(&module, &other).map(|wrong| format!("{place}: {wrong}")));
                }
            }
            for (outside, doors) in DOORS {
                let names = line.contains(&format!("{outside}::")) && !line.contains(&format!("_{outside}::"));
                // The first word of a test attribute is not an import.
                if names && !doors.contains(&module.as_str()) && !line.trim_start().starts_with("#[") {
                    found.push(format!("{place}: `{outside}` may only be named in {doors:?}"));
                }
            }
        }
    }
    found
}

fn wrong_way(module: &str, other: &str) -> Option<String> {
    let (mine, its) = (floor_of(module), floor_of(other));
    if its > mine {
        return Some(format!("`{module}` imports `{other}` from a higher floor"));
    }
    if its == mine && !MAY_KNOW_EACH_OTHER.contains(&FLOORS[mine].0) {
        return Some(format!("`{module}` imports its neighbour `{other}`"));
    }
    None
}

/// First words after `prefix`, in `crate::a::b` and in `use crate::{a, b::c}`.
fn named(line: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        let word =
            |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars().chain([',']) {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth <= 0 => {
                            names.push(word(&item));
                            item.clear();
                            continue;
                        }
                        _ => {}
                    }
                    item.push(c);
                }
            }
        }
    }
    names
}

/// The sources of the product; `tests.rs` beside them are none.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn imports_go_downstairs_only() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn each_kind_of_violation_is_seen() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/floors/bad"));

    let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in found {
        let (file, wrong) = line.split_once(": ").unwrap();
        by_file.entry(file.split(':').next().unwrap().to_owned()).or_default().push(wrong.to_owned());
    }
    let expected = [
        ("chat.rs", vec!["`chat` imports `gateway` from a higher floor"]),
        (
            "limits.rs",
            vec![
                "`limits` imports its neighbour `queue`",
                "`limits` imports its neighbour `audit`",
                "`super::` outside tests",
            ],
        ),
        (
            "policy.rs",
            vec![
                "`diesel` may only be named in [\"store\"]",
                "`actix_web` may only be named in [\"http\", \"server\", \"telemetry\", \"cli\"]",
            ],
        ),
    ];
    let seen: Vec<(&str, Vec<&str>)> =
        by_file.iter().map(|(file, wrong)| (file.as_str(), wrong.iter().map(String::as_str).collect())).collect();
    assert_eq!(seen, expected);
}
