//! What stands beside the metrics: the dashboard, the alerts and their page name metrics that are there, and all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lan_gateway::http::label_values;
use lan_gateway::metrics::{Metrics, MetricsLook, ProcessUse};
use serde_json::Value;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

/// Each metric with its type.
fn metrics() -> BTreeMap<String, String> {
    let metrics = Metrics::new(&label_values(vec!["local".to_owned()])).unwrap();
    // Those without a series are not written.
    metrics.routes.answered(None, Some(200));
    let look = MetricsLook {
        rows_behind: Some([("usage", 0), ("words", 0)]),
        process: Some(ProcessUse::default()),
        ..MetricsLook::default()
    };
    let text = metrics.text(&look).unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The metrics that a text names. A histogram's series have endings.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("lan_gateway_") || word.starts_with("process_"));
    let plain = |word: &str| {
        let endings = ["_bucket", "_sum", "_count"];
        endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_are_there() {
    let known: BTreeSet<String> = metrics().into_keys().collect();

    for (what, used) in [
        ("the dashboard", named(&expressions().join("\n"))),
        ("the alerts", named(&text("deploy/prometheus-rules.yml"))),
        ("the tests of the alerts", named(&text("tests/monitoring/rules.yml"))),
    ] {
        assert!(used.len() > 3, "{what}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{what} names what no metric is called: {unknown:?}");
    }
}

#[test]
fn the_dashboard_takes_its_data_source_from_a_variable() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana-dashboard.json")).unwrap();

    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(panel["targets"].as_array().unwrap().iter().all(|one| one["datasource"]["uid"] == "${datasource}"));
    }
    let all = dashboard.to_string();
    assert!(!all.contains("http://") && !all.contains("https://"), "it loads nothing from elsewhere");
}

#[test]
fn the_page_lists_every_metric_with_its_type() {
    let page = text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.split('`').next()?.to_owned();
        Some((name, cells.next()?.trim().to_owned()))
    });

    assert_eq!(rows.collect::<BTreeMap<_, _>>(), metrics());
}

/// Runs promtool, where it is. Returns what it complains about.
fn promtool(words: &[&str], on: &Path) -> Option<String> {
    let ran = Command::new("promtool").args(words).arg(on).output().ok()?;
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (!ran.status.success() || said.contains("FAILED")).then_some(said)
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should() {
    assert_eq!(promtool(&["check", "rules"], &file("deploy/prometheus-rules.yml")), None);
    assert_eq!(promtool(&["test", "rules"], &file("tests/monitoring/rules.yml")), None);
}

#[test]
fn promtool_can_read_every_expression_of_the_dashboard() {
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (number, expression) in expressions().iter().enumerate() {
        let plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$job", ".*");
        rules += &format!("      - record: panel_{number}\n        expr: '{plain}'\n");
    }
    let written = tempfile::NamedTempFile::new().unwrap();
    fs::write(written.path(), rules).unwrap();

    assert_eq!(promtool(&["check", "rules"], written.path()), None);
}

#[test]
fn every_alert_says_what_to_do() {
    let rules = text("deploy/prometheus-rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();

    assert!(alerts.len() >= 8);
    for alert in alerts {
        for part in ["expr:", "severity:", "summary:", "description:"] {
            assert!(alert.contains(part), "no {part} in {alert}");
        }
        assert!(alert.contains("for:") || alert.contains("increase("), "{alert}");
    }
}
